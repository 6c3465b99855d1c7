"""One container asked for more than once."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from crirm.model.cpuset import CPUSet
from crirm.model.decision import UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    CreateFailed,
    Event,
    PodAdded,
    PodRemoved,
    PodStopped,
)
from crirm.model.refusal import RefusalReason
from crirm.model.workload import ContainerId, ContainerKey, ContainerState, PodId
from crirm.policy.creation import asked_before
from tests.unit.policy.test_pipeline import Playbook, cpus, pod, wanted

KEY = ContainerKey("a")
ASKED, FAILED = ContainerRequested(wanted("a", 2000)), CreateFailed(KEY)


def created(name: str = "id-a") -> ContainerCreated:
    return ContainerCreated(KEY, ContainerId(name))


@pytest.fixture
def book() -> Playbook:
    playbook = Playbook()
    playbook.tell(PodAdded(pod("p1")))
    playbook.tell(PodAdded(pod("p2")))
    return playbook


@pytest.mark.parametrize(
    ("events", "state", "id_"),
    [
        pytest.param([FAILED], ContainerState.CREATING, None, id="the first fails while the second is in flight"),
        pytest.param([FAILED, created()], ContainerState.CREATED, "id-a", id="the second succeeds"),
        pytest.param([created(), FAILED], ContainerState.CREATED, "id-a", id="the first succeeds, the second fails"),
        pytest.param([created(), created()], ContainerState.CREATED, "id-a", id="both are answered with the same id"),
        pytest.param([created("x"), created()], ContainerState.CREATED, "id-a", id="the latest id counts"),
        pytest.param(
            [created(), ASKED, FAILED], ContainerState.CREATED, "id-a", id="one more when it is there already"
        ),
    ],
)
def test_the_grant_stays_with_whichever_succeeds_and_nobody_else_gets_it(
    book: Playbook, events: list[Event], state: ContainerState, id_: str | None
) -> None:
    keeper = book.run("k", 3000, "p2")  # occupies 0-2, goes, and leaves room elsewhere
    book.tell(ASKED)
    book.tell(ContainerRemoved(keeper))
    assert book.tell(ASKED).adjustment == cpus("3-4")
    for event in events:
        book.tell(event)
        other = book.run("o", 4000, "p2")
        assert book.state.policy == {KEY: CPUSet.parse("3-4"), other: CPUSet.parse("0-2,5")}
        book.tell(ContainerRemoved(other))
    container = book.state.workload.containers[KEY]
    assert (state, id_) == (container.state, container.id)


def test_when_all_have_failed_the_grant_is_given_back(book: Playbook) -> None:
    for event in (ASKED, ASKED, ASKED, FAILED, FAILED):
        book.tell(event)
    assert book.state.policy
    book.tell(FAILED)
    assert (book.state.policy, book.state.workload.containers) == ({}, {})


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([ASKED, ASKED], id="while another try was in flight"),
        pytest.param([ASKED, FAILED, ASKED], id="after a try that failed, and may have made it all the same"),
    ],
)
def test_what_was_made_by_an_earlier_try_is_told_what_is_decided_now(book: Playbook, first: list[Event]) -> None:
    for event in first:
        book.tell(event)
    assert book.tell(created()).effects == (UpdateContainer(KEY, ContainerId("id-a"), cpus("0-1")),)
    assert book.state.tries == {}


def test_the_next_try_may_ask_for_more(book: Playbook) -> None:
    book.tell(ASKED)
    assert book.tell(ContainerRequested(wanted("a", 3000))).adjustment == cpus("0-2")
    refusal = book.tell(ContainerRequested(wanted("a", 9000))).refusal
    assert refusal is not None
    assert refusal.reason is RefusalReason.NO_ROOM


@pytest.mark.parametrize("runs", [pytest.param(True, id="that lives"), pytest.param(False, id="that has ended")])
def test_a_runtime_that_hands_out_another_instance_has_one_container(book: Playbook, runs: bool) -> None:
    """CRI-O answers a create of a name that is taken with the id of whoever has it."""
    old = book.run("b", 1000)
    if not runs:
        book.tell(ContainerExited(old))
    book.tell(ASKED)
    book.tell(ContainerCreated(KEY, ContainerId("id-b")))
    (one,) = book.state.workload.containers.values()
    assert (one.id, set(book.state.policy)) == ("id-b", {old if runs else KEY})
    assert book.state.told == book.state.adjustments


def test_an_answer_after_the_end_of_its_pod_brings_nothing_back(book: Playbook) -> None:
    book.tell(ASKED)
    book.tell(PodStopped(PodId("p1")))
    book.tell(created())
    container = book.state.workload.containers[KEY]
    assert (container.state, container.id, book.state.policy) == (ContainerState.EXITED, "id-a", {})
    book.tell(PodRemoved(PodId("p1")))
    assert book.tell(created()).state == book.state
    assert (book.state.workload.containers, book.state.tries) == ({}, {})


def test_a_failure_after_the_end_of_its_pod_leaves_nothing_behind(book: Playbook) -> None:
    for event in (ASKED, PodStopped(PodId("p1")), FAILED):
        book.tell(event)
    assert book.state.workload.containers == {}


@pytest.mark.parametrize(
    ("events", "more", "same"),
    [
        pytest.param([ASKED], {}, True, id="in flight"),
        pytest.param([ASKED, created()], {}, True, id="created"),
        pytest.param([ASKED, ContainerExited(KEY)], {}, False, id="not one that has ended"),
        pytest.param([ASKED], {"attempt": 1}, False, id="not another attempt"),
        pytest.param([ASKED], {"name": "b"}, False, id="not another name"),
        pytest.param([ASKED], {"pod": PodId("p2")}, False, id="not another pod"),
    ],
)
def test_the_same_creation_is_told_by_pod_name_and_attempt(
    book: Playbook, events: list[Event], more: dict[str, Any], same: bool
) -> None:
    for event in events:
        book.tell(event)
    again = attrs.evolve(wanted("new", 2000, name="a"), **more)
    assert (asked_before(book.state.workload, again) == KEY) is same
