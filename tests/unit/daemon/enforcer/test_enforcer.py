"""The enforcer against an in-memory kernel, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from crirm.daemon.enforcer.enforcer import Enforcer, Pace
from crirm.daemon.settings import Mode
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import Adjustment, State, UpdateContainer
from crirm.model.workload import ContainerId, ContainerKey, ContainerState
from crirm.system.cgroup import Reading, Write
from crirm.system.cgroup_cpu import WeightFormula
from crirm.system.cgroup_files import CgroupError, Trouble
from tests.unit.daemon.enforcing import ONLINE, POD, FakeKernel, container, having, node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from structlog.typing import EventDict
    from trio.testing import MockClock

C = ContainerKey("c")
PACE = Pace(round_s=30, beat_s=1, soon_s=0.1, settle_s=1, first_pause_s=5, last_pause_s=40, forget_s=300)


class Node:
    """A state that tests replace, an enforcer over it, and what it has told the runtime."""

    def __init__(self, state: State, kernel: FakeKernel, mode: Mode = Mode.REPAIR) -> None:
        self.state = state
        self.kernel = kernel
        self.told: list[UpdateContainer] = []
        self.enforcer = Enforcer(
            lambda: self.state, kernel, self.told.append, mode=mode, pace=PACE, wall_clock=lambda: 1000.0
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Node]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.enforcer.run)
            yield self
            nursery.cancel_scope.cancel()

    def count(self, key: ContainerKey = C) -> int:
        drift = self.enforcer.drift.get(key)
        return 0 if drift is None else drift.count


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with capture_logs() as records:
        yield records


def warnings(records: list[EventDict]) -> list[str]:
    return [record["event"] for record in records if record["log_level"] == "warning"]


async def test_what_is_as_decided_is_looked_at_and_left_alone(logs: list[EventDict], autojump_clock: MockClock) -> None:
    async with Node(node(container("c")), FakeKernel(c=having("0-1"))).running() as it:
        await trio.sleep(95)
        assert it.kernel.reads == [["id-c"]] * 3
        assert (it.kernel.writes, it.told, dict(it.enforcer.drift), logs) == ([], [], {}, [])


async def test_drift_is_found_within_a_round_reported_and_repaired(
    logs: list[EventDict], autojump_clock: MockClock
) -> None:
    async with Node(node(container("c")), FakeKernel(c=having("0-7"))).running() as it:
        await trio.sleep(PACE.round_s + PACE.settle_s + 1)
        assert it.kernel.writes == [("id-c", Write(cpus=CPUSet.parse("0-1")))]
        assert it.kernel.readings["id-c"] == having("0-1")
        drift = it.enforcer.drift[C]
        assert (str(drift), drift.present, drift.count, drift.repairs, drift.since_s) == (
            "CPUs 0-7 instead of 0-1", False, 1, 1, 1000.0,
        )  # fmt: skip
        assert it.told == [UpdateContainer(C, ContainerId("id-c"), it.state.adjustments[C])]
    assert [(record["event"], record["container"]) for record in logs] == [
        ("cgroup drifted from its assignment", "shop/web/c"),
        ("cgroup repaired", "shop/web/c"),
    ]


async def test_one_that_is_asked_about_is_looked_at_soon(autojump_clock: MockClock) -> None:
    async with Node(node(container("c"), container("d")), FakeKernel(c=having("2"), d=having("2"))).running() as it:
        it.enforcer.look_at(C)
        it.enforcer.look_at(ContainerKey("d"))
        it.enforcer.look_at(C)
        await trio.sleep(0.2)
        assert it.kernel.reads == [["id-c", "id-d"]]
        await trio.sleep(1)
        assert sorted(name for name, _ in it.kernel.writes) == ["id-c", "id-d"]


async def test_a_call_on_its_way_is_no_drift(logs: list[EventDict], autojump_clock: MockClock) -> None:
    """The runtime gets there between the first look and the second."""
    async with Node(node(container("c"), c="4"), FakeKernel(c=having("0-1"))).running() as it:
        it.enforcer.look_at(C)
        await trio.sleep(0.5)
        it.kernel.drifts("c", "4")
        await trio.sleep(60)
        assert (it.kernel.writes, it.count(), logs) == ([], 0, [])


async def test_nothing_is_compared_while_the_runtime_is_being_told(
    logs: list[EventDict], autojump_clock: MockClock
) -> None:
    async with Node(node(container("c"), c="4"), FakeKernel(c=having("0-1"))).running() as it:
        it.enforcer.in_flight = lambda key: key == C
        it.enforcer.look_at(C)
        await trio.sleep(100)
        assert (it.kernel.reads, logs) == ([], [])
        it.enforcer.in_flight = lambda _: False
        await trio.sleep(35)
        assert it.count() == 1


async def test_each_new_decision_has_its_time_to_get_there(autojump_clock: MockClock) -> None:
    async with Node(node(container("c"), c="1"), FakeKernel(c=having("0"))).running() as it:
        for cpu in "234":
            it.enforcer.look_at(C)
            await trio.sleep(0.8)
            it.state = node(container("c"), c=cpu)
        await trio.sleep(0.5)
        assert it.kernel.writes == []
        await trio.sleep(30)
        assert it.kernel.writes == [("id-c", Write(cpus=CPUSet.of(4)))]


async def test_a_decision_made_during_a_look_is_not_held_against_what_was_seen(autojump_clock: MockClock) -> None:
    kernel = FakeKernel(c=having("0-1"))
    kernel.read_takes_s = 5
    async with Node(node(container("c")), kernel).running() as it:
        it.enforcer.look_at(C)
        await trio.sleep(1)
        it.state = node(container("c"), c="5")
        it.kernel.drifts("c", "5")
        await trio.sleep(60)
        assert (it.kernel.writes, it.count()) == ([], 0)


async def test_a_decision_made_during_a_repair_is_enforced_at_once(autojump_clock: MockClock) -> None:
    kernel = FakeKernel(c=having("7"))
    kernel.write_takes_s = 2
    async with Node(node(container("c")), kernel).running() as it:
        it.enforcer.look_at(C)
        await trio.sleep(2)
        it.state = node(container("c"), c="5")
        it.kernel.drifts("c", "5")
        await trio.sleep(6)
        assert [change.cpus for _, change in it.kernel.writes] == [CPUSet.parse("0-1"), CPUSet.of(5)]
        assert it.kernel.readings["id-c"] == having("5")
        assert len(it.told) == 1, "the runtime is told only what still holds"


async def test_a_container_that_ends_is_no_error(logs: list[EventDict], autojump_clock: MockClock) -> None:
    kernel = FakeKernel(c=having("7"), d=having("0-1"))
    async with Node(node(container("c"), container("d")), kernel).running() as it:
        it.enforcer.look_at(C)
        await trio.sleep(0.5)
        kernel.readings["id-c"] = None
        await trio.sleep(60)
        it.state = node()
        await trio.sleep(60)
        assert (kernel.writes, dict(it.enforcer.drift), logs) == ([], {}, [])


async def test_one_that_ends_during_its_repair_is_no_error(logs: list[EventDict], autojump_clock: MockClock) -> None:
    kernel = FakeKernel(c=having("7"))
    kernel.before_write = kernel.readings.clear
    async with Node(node(container("c")), kernel).running() as it:
        await trio.sleep(60)
        assert dict(it.enforcer.drift) == {}
    assert [record["event"] for record in logs] == ["cgroup drifted from its assignment"]


async def test_a_drift_is_forgotten_with_its_container(autojump_clock: MockClock) -> None:
    async with Node(node(container("c")), FakeKernel(c=having("7"))).running() as it:
        await trio.sleep(35)
        assert it.count() == 1
        it.state = node()
        assert dict(it.enforcer.drift) == {}
        await trio.sleep(35)
        it.state = node(container("c"))
        assert dict(it.enforcer.drift) == {}


async def test_reporting_changes_nothing(logs: list[EventDict], autojump_clock: MockClock) -> None:
    async with Node(node(container("c")), FakeKernel(c=having("7")), Mode.REPORT).running() as it:
        await trio.sleep(200)
        assert (it.kernel.writes, it.told) == ([], [])
        assert (it.enforcer.drift[C].present, it.count()) == (True, 1)
        it.kernel.drifts("c", "0-1")
        await trio.sleep(30)
        assert (it.enforcer.drift[C].present, it.count()) == (False, 1)
    assert warnings(logs) == ["cgroup drifted from its assignment"]


async def test_off_looks_at_nothing_and_can_be_left_and_entered(autojump_clock: MockClock) -> None:
    async with Node(node(container("c")), FakeKernel(c=having("7")), Mode.OFF).running() as it:
        await trio.sleep(100)
        assert it.kernel.reads == []
        it.enforcer.mode = Mode.REPORT
        await trio.sleep(40)
        assert it.count() == 1
        it.enforcer.mode = Mode.OFF
        await trio.sleep(40)
        assert dict(it.enforcer.drift) == {}


async def test_somebody_who_writes_again_and_again_is_reported_once_and_not_fought(
    logs: list[EventDict], autojump_clock: MockClock
) -> None:
    times_s: list[float] = []

    kernel = FakeKernel(c=having("0-7"))

    def fight() -> None:
        times_s.append(trio.current_time())
        kernel.drifts("c", "0-7")

    kernel.after_write = fight
    async with Node(node(container("c")), kernel).running() as it:
        await trio.sleep(400)
        assert (len(it.told), it.count()) == (len(times_s), len(times_s) + 1), "one is there, and waits its time"
    pauses_s = [round(later - earlier) for earlier, later in pairwise(times_s)]
    assert pauses_s[:4] == [5, 10, 20, 40]
    assert set(pauses_s[4:]) == {40}
    assert warnings(logs) == [
        "cgroup drifted from its assignment",
        "cgroup keeps drifting: something else writes to it, such as kubelet's CPU manager or systemd",
    ]


async def test_after_a_long_quiet_a_drift_is_news_again(logs: list[EventDict], autojump_clock: MockClock) -> None:
    async with Node(node(container("c")), FakeKernel(c=having("7"))).running() as it:
        await trio.sleep(35)
        assert it.count() == 1
        await trio.sleep(PACE.forget_s + PACE.round_s)
        assert it.count() == 0
        it.kernel.drifts("c", "6")
        await trio.sleep(35)
        assert it.count() == 1
    assert warnings(logs) == ["cgroup drifted from its assignment"] * 2


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        pytest.param(Trouble.LIMITED_ABOVE, False, id="a cgroup above limits the runtime as well"),
        pytest.param(Trouble.NOT_PERMITTED, True, id="the runtime may do what crirm may not"),
    ],
)
async def test_what_cannot_be_repaired_is_said_once_and_tried_again(
    logs: list[EventDict], tmp_path: Path, trouble: Trouble, told: bool, autojump_clock: MockClock
) -> None:
    kernel = FakeKernel(c=having("7"))
    kernel.refusal = CgroupError(trouble, tmp_path, "0-1", "is not to be had")
    async with Node(node(container("c")), kernel).running() as it:
        await trio.sleep(100)
        drift = it.enforcer.drift[C]
        assert (drift.present, drift.count, drift.repairs) == (True, 1, 0)
        assert drift.trouble == f"{tmp_path}: is not to be had"
        assert 3 <= len(kernel.writes) <= 6
        assert len(it.told) == (len(kernel.writes) if told else 0)
        kernel.refusal = None
        await trio.sleep(45)
        drift = it.enforcer.drift[C]
        assert (drift.present, drift.repairs, drift.trouble) == (False, 1, "")
    assert [record["event"] for record in logs] == [
        "cgroup drifted from its assignment",
        "cannot repair cgroup",
        "cgroup repaired",
    ]


async def test_an_unreadable_cgroup_is_said_once(
    logs: list[EventDict], tmp_path: Path, autojump_clock: MockClock
) -> None:
    error = CgroupError(Trouble.UNREADABLE, tmp_path / "cpuset.cpus", "", "cannot be read")
    kernel = FakeKernel(c=error, d=error, e=having("7"))
    async with Node(node(*(container(name) for name in "cde")), kernel).running():
        await trio.sleep(100)
    assert sorted(warnings(logs)) == [
        "cannot read a cgroup; drift in it is not detected",
        "cgroup drifted from its assignment",
    ]
    assert [name for name, _ in kernel.writes] == ["id-e"]


@pytest.mark.parametrize(
    ("state", "parent", "said"),
    [
        pytest.param(ContainerState.RUNNING, POD.cgroup_parent, 1, id="one that runs must have a cgroup"),
        pytest.param(ContainerState.RUNNING, "", 0, id="not one that has no cgroup parent, as those of no kubelet"),
        pytest.param(ContainerState.CREATED, POD.cgroup_parent, 0, id="one that has not started need not"),
    ],
)
async def test_looking_in_the_wrong_place_is_noticed(
    logs: list[EventDict], state: ContainerState, parent: str, said: int, autojump_clock: MockClock
) -> None:
    known = node(container("c", state))
    pods = {POD.id: attrs.evolve(POD, cgroup_parent=parent)}
    known = attrs.evolve(known, workload=attrs.evolve(known.workload, pods=pods))
    async with Node(known, FakeKernel()).running():
        await trio.sleep(400)
    assert (
        warnings(logs) == ["found no cgroup of any running container; check that the host's cgroups are mounted"] * said
    )


async def test_a_weight_is_restored_by_the_formula_that_the_runtime_uses(autojump_clock: MockClock) -> None:
    right = attrs.evolve(ONLINE, cpus=CPUSet.parse("0-1"), weight=20)
    wrong = attrs.evolve(right, weight=1)
    async with Node(node(container("c"), container("d")), FakeKernel(c=right, d=wrong)).running() as it:
        await trio.sleep(40)
        assert it.kernel.writes[0] == ("id-d", Write(shares=512, formula=WeightFormula.LINEAR))


async def test_without_somebody_to_tell_the_repair_does_without(autojump_clock: MockClock) -> None:
    it = Node(node(container("c")), FakeKernel(c=having("7")))
    it.enforcer.tell = None
    async with it.running():
        await trio.sleep(40)
        assert it.enforcer.drift[C].repairs == 1


async def test_containers_that_the_policy_leaves_alone_are_not_even_read(autojump_clock: MockClock) -> None:
    state = attrs.evolve(node(container("c")), adjustments={C: Adjustment()})
    async with Node(state, FakeKernel(c=having("7"))).running() as it:
        await trio.sleep(100)
        assert it.kernel.reads == []


@pytest.mark.parametrize("wait_s", [0.0, 0.7, 1.5, 2.9])
async def test_a_glance_has_drift_repaired_within_five_seconds(wait_s: float, autojump_clock: MockClock) -> None:
    kernel = FakeKernel(**{f"c{number}": having("0-1") for number in range(5)})
    kernel.glances = True
    async with Node(node(*map(container, kernel.readings_by_name())), kernel).running() as it:
        await trio.sleep(PACE.round_s + 1 + wait_s)
        kernel.drifts("c3", "0-7")
        await trio.sleep(5)
        assert it.kernel.writes == [("id-c3", Write(cpus=CPUSet.parse("0-1")))]
        assert it.count(ContainerKey("c3")) == 1


async def test_nobody_glances_where_nothing_is_enforced(autojump_clock: MockClock) -> None:
    kernel = FakeKernel(c=having("0-7"))
    kernel.glances = True
    async with Node(node(container("c")), kernel, Mode.OFF).running() as it:
        it.kernel.seen["id-c"] = None
        await trio.sleep(60)
        assert it.kernel.reads == []


async def test_one_that_was_just_started_is_repaired_at_once_and_its_cpus_are_agreed_on(
    autojump_clock: MockClock,
) -> None:
    agreed: list[tuple[ContainerKey, str]] = []
    async with Node(node(container("c")), FakeKernel(c=having("0-7"))).running() as it:
        it.enforcer.agreed = lambda key, cpus: agreed.append((key, str(cpus)))
        it.enforcer.look_at(C, at_once=True)
        await trio.testing.wait_all_tasks_blocked()
        assert it.kernel.readings["id-c"] == having("0-1")
        assert (trio.current_time(), agreed) == (0.0, [(C, "0-1")])


async def test_where_the_host_does_not_tell_the_cpus_nothing_is_agreed_on(autojump_clock: MockClock) -> None:
    agreed: list[ContainerKey] = []
    async with Node(node(container("c")), FakeKernel(c=attrs.evolve(having("0"), cpus=None))).running() as it:
        it.enforcer.agreed = lambda key, _cpus: agreed.append(key)
        it.enforcer.look_at(C, at_once=True)
        await trio.sleep(1)
        assert it.kernel.reads
        assert agreed == []


def staying() -> Reading:
    """Return a reading of cgroup v1, where memory stays when the runtime changes the nodes."""
    return attrs.evolve(having("0-1"), follows=False)


def with_mems(state: State) -> State:
    given = Adjustment(cpus=CPUSet.parse("0-1"), mems=NodeSet.of(0))
    return attrs.evolve(state, adjustments={C: given}, told={C: given})


async def test_on_v1_memory_is_made_to_follow_once_and_that_is_no_drift(
    logs: list[EventDict], autojump_clock: MockClock
) -> None:
    async with Node(with_mems(node(container("c"))), FakeKernel(c=staying())).running() as it:
        await trio.sleep(100)
        assert it.kernel.writes == [("id-c", Write(follow=True))]
        assert (it.count(), it.told) == (0, [])
    assert warnings(logs) == []


@pytest.mark.parametrize(
    ("state", "mode"),
    [
        pytest.param(with_mems(node(container("c"))), Mode.REPORT, id="crirm writes nothing"),
        pytest.param(node(container("c")), Mode.REPAIR, id="crirm assigns no memory nodes"),
    ],
)
async def test_on_v1_memory_stays_where(state: State, mode: Mode, autojump_clock: MockClock) -> None:
    async with Node(state, FakeKernel(c=staying()), mode).running() as it:
        await trio.sleep(100)
        assert it.kernel.writes == []


async def test_memory_that_cannot_be_made_to_follow_is_said_once(
    logs: list[EventDict], autojump_clock: MockClock, tmp_path: Path
) -> None:
    kernel = FakeKernel(c=staying())
    kernel.refusal = CgroupError(Trouble.REFUSED, tmp_path / "cpuset.memory_migrate", "1", "Permission denied")
    async with Node(with_mems(node(container("c"))), kernel).running():
        await trio.sleep(100)
    assert warnings(logs) == ["memory does not follow when the nodes of a container change"]
