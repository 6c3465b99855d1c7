"""What a container is to have, and how what it has differs."""

from __future__ import annotations

import attrs
import pytest

from crirm.daemon.enforcer.drift import Value, Wanted, differences, formula_in_use, wanted_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import UNADJUSTED, Adjustment, Before, State
from crirm.model.resources import LinuxResources
from crirm.model.workload import ContainerKey, ContainerState, Workload
from crirm.system.cgroup import Reading
from crirm.system.cgroup_cpu import Quota, WeightFormula
from crirm.system.cgroup_find import Place
from tests.unit.daemon.enforcing import ONLINE, POD, container, node

C = ContainerKey("c")
PLACE = Place(POD.cgroup_parent, "id-c")


def adjusted(state: State, adjustment: Adjustment) -> State:
    return attrs.evolve(state, adjustments={C: adjustment})


def test_a_container_is_to_have_what_was_decided_and_else_what_the_kubelet_asked_for() -> None:
    state = adjusted(node(container("c")), Adjustment(CPUSet.of(3), NodeSet.of(1), 2))
    expected = Wanted(PLACE, CPUSet.of(3), NodeSet.of(1), 2, Quota(20_000, 100_000))
    assert wanted_of(state, C) == expected
    assert wanted_of(node(container("c")), C) == Wanted(PLACE, CPUSet.of(0, 1), None, 512, Quota(20_000, 100_000))


def test_who_has_cpus_to_itself_is_to_have_no_quota() -> None:
    want = wanted_of(adjusted(node(container("c")), Adjustment(CPUSet.of(3), cpu_quota_us=-1)), C)
    assert want is not None
    assert want.quota == Quota(None, 100_000)
    (found,) = differences(want, Reading(cpus=CPUSet.of(3), quota=Quota(20_000, 100_000)))
    assert str(found) == "CPU limit 20000 us in 100000 us instead of no limit"


@pytest.mark.parametrize(
    ("resources", "shares", "quota"),
    [
        pytest.param(LinuxResources(), None, None, id="nothing is known"),
        pytest.param(LinuxResources(cpu_quota_us=-1), None, Quota(None), id="no limit was asked for"),
        pytest.param(LinuxResources(2, 5000), 2, Quota(5000, 100_000), id="the period has a default"),
    ],
)
def test_what_the_kubelet_did_not_say_is_not_compared(
    resources: LinuxResources, shares: int | None, quota: Quota | None
) -> None:
    want = wanted_of(node(container("c", resources=resources)), C)
    assert want is not None
    assert (want.shares, want.quota) == (shares, quota)


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(node(), id="not known"),
        pytest.param(node(container("c", ContainerState.CREATING, id=None)), id="without a name yet"),
        pytest.param(node(container("c", ContainerState.EXITED)), id="ended"),
        pytest.param(adjusted(node(container("c")), UNADJUSTED), id="left alone by the policy"),
        pytest.param(attrs.evolve(node(container("c")), adjustments={}), id="without a grant"),
        pytest.param(attrs.evolve(node(container("c")), resizing={C: Before(container("c"), None, {}, None)}),
                     id="in the middle of a resize"),
    ],
)  # fmt: skip
def test_a_container_of_which_nothing_can_be_told_is_left_alone(state: State) -> None:
    assert wanted_of(state, C) is None


def test_only_one_that_runs_is_sought_everywhere() -> None:
    for state, search in ((ContainerState.RUNNING, True), (ContainerState.CREATED, False)):
        want = wanted_of(node(container("c", state)), C)
        assert want is not None
        assert want.place.search is search


def test_an_empty_set_means_that_nothing_is_pinned() -> None:
    want = wanted_of(adjusted(node(container("c")), Adjustment(CPUSet(), NodeSet(), 2)), C)
    assert want is not None
    assert (want.cpus, want.mems) == (None, None)


@pytest.mark.parametrize(
    ("wanted", "found", "texts"),
    [
        pytest.param(Wanted(PLACE), ONLINE, [], id="nothing is wanted"),
        pytest.param(Wanted(PLACE, CPUSet.of(1), NodeSet.of(0), 512, Quota(1000)), Reading(), [],
                     id="the host tells nothing"),
        pytest.param(Wanted(PLACE, CPUSet.parse("0-1")), attrs.evolve(ONLINE, cpus=CPUSet.parse("0-1")), [],
                     id="as wanted"),
        pytest.param(Wanted(PLACE, CPUSet.of(1)), attrs.evolve(ONLINE, cpus=CPUSet.parse("0-3")),
                     ["CPUs 0-3 instead of 1"], id="more CPUs"),
        pytest.param(Wanted(PLACE, CPUSet.parse("0-3")), attrs.evolve(ONLINE, cpus=CPUSet.of(1)),
                     ["CPUs 1 instead of 0-3"], id="fewer CPUs"),
        pytest.param(Wanted(PLACE, CPUSet.parse("6-9")), attrs.evolve(ONLINE, cpus=CPUSet.parse("6-7")), [],
                     id="offline CPUs are missing, as they must"),
        pytest.param(Wanted(PLACE, CPUSet.of(9)), attrs.evolve(ONLINE, cpus=CPUSet.parse("0-7")),
                     ["CPUs 0-7 instead of 9"], id="all that is wanted is offline"),
        pytest.param(Wanted(PLACE, mems=NodeSet.of(1)), attrs.evolve(ONLINE, mems=NodeSet.of(0)),
                     ["memory nodes 0 instead of 1"], id="another memory node"),
        pytest.param(Wanted(PLACE, CPUSet.of(1)), attrs.evolve(ONLINE, cpus=CPUSet()),
                     ["CPUs none instead of 1"], id="none at all"),
        pytest.param(Wanted(PLACE, shares=1024), attrs.evolve(ONLINE, shares=2),
                     ["CPU shares 2 instead of 1024"], id="other shares"),
        pytest.param(Wanted(PLACE, shares=1024), attrs.evolve(ONLINE, weight=39), [], id="weight by the old formula"),
        pytest.param(Wanted(PLACE, shares=1024), attrs.evolve(ONLINE, weight=100), [], id="weight by the new formula"),
        pytest.param(Wanted(PLACE, shares=1024), attrs.evolve(ONLINE, weight=40),
                     ["CPU weight 40 instead of 39 or 100"], id="weight by neither"),
        pytest.param(Wanted(PLACE, quota=Quota(20_000)), attrs.evolve(ONLINE, quota=Quota(None)),
                     ["CPU limit no limit instead of 20000 us in 100000 us"], id="limit lifted"),
        pytest.param(Wanted(PLACE, CPUSet.of(1), NodeSet.of(1)),
                     attrs.evolve(ONLINE, cpus=CPUSet.of(2), mems=NodeSet.of(0)),
                     ["CPUs 2 instead of 1", "memory nodes 0 instead of 1"], id="two things at once"),
    ],
)  # fmt: skip
def test_differences(wanted: Wanted, found: Reading, texts: list[str]) -> None:
    assert [str(difference) for difference in differences(wanted, found)] == texts


def test_a_difference_says_of_what() -> None:
    (found,) = differences(Wanted(PLACE, shares=1024), attrs.evolve(ONLINE, weight=40))
    assert found.value is Value.WEIGHT


@pytest.mark.parametrize(
    ("shares", "weight", "formula"),
    [
        pytest.param(1024, 39, WeightFormula.LINEAR, id="old"),
        pytest.param(1024, 100, WeightFormula.QUADRATIC, id="new"),
        pytest.param(2, 1, None, id="both give the same"),
        pytest.param(1024, 50, None, id="neither"),
        pytest.param(1024, None, None, id="no weight, on v1"),
        pytest.param(None, 39, None, id="no shares to compare with"),
    ],
)
def test_the_formula_shows_in_the_weight(shares: int | None, weight: int | None, formula: WeightFormula | None) -> None:
    assert formula_in_use(Wanted(PLACE, shares=shares), attrs.evolve(ONLINE, weight=weight)) is formula


def test_an_empty_node_has_no_containers() -> None:
    assert node().workload == Workload({POD.id: POD})
