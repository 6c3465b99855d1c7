"""What is written down about events and decisions."""

from __future__ import annotations

from crirm.daemon.state.journal import entries
from crirm.model.events import (
    ContainerExited,
    ContainerRemoved,
    ResizeDone,
    Synchronised,
)
from crirm.model.workload import ContainerId, ContainerKey, ContainerState
from crirm.policy.activation import plan
from crirm.system.journal_file import read_journal
from crirm.system.store import Entry
from tests.unit.daemon.lives import Process
from tests.unit.policy.counting import Counting
from tests.unit.policy.nodes import node, waiting_for_the_budget
from tests.unit.policy.test_pipeline import cpus, pod, resize, wanted


def test_looking_at_the_lists_is_written_down_only_where_it_brings_something(first: Process) -> None:
    first.persistence._waiting.clear()
    workload = first.engine.state.workload
    first.engine.apply(Synchronised(tuple(workload.pods.values()), ()))
    assert list(first.persistence._waiting) == []
    found = wanted("s", 1000, id=ContainerId("id-s"), state=ContainerState.RUNNING)
    first.engine.apply(Synchronised(tuple(workload.pods.values()), (found,)))
    first.engine.apply(ResizeDone(found.key))
    first.engine.apply(Synchronised(tuple(workload.pods.values()), ()))
    described = [(entry.kind, entry.container, entry.outcome) for entry in first.persistence._waiting]
    assert described == [
        ("synchronised", "s", "found, CPUs 0"),
        ("resized", "s", ""),
        ("synchronised", "s", "removed"),
    ]
    assert isinstance(first.persistence._waiting[0], Entry)
    first.kill()


def test_pods_that_come_and_go_in_the_lists_are_written_down(first: Process) -> None:
    first.persistence._waiting.clear()
    first.engine.apply(Synchronised((pod("p2"),), ()))
    described = [(entry.kind, entry.pod, entry.outcome) for entry in first.persistence._waiting]
    assert described == [("synchronised", "default/p2", "found"), ("synchronised", "default/p1", "removed")]
    first.kill()


def test_entries_say_under_which_configuration_on_which_machine_and_which_cpus(home: str, first: Process) -> None:
    key = first.run("a", 1000)
    first.engine.apply(resize(key, 3000))
    first.engine.apply(ContainerRemoved(key))
    first.end()
    second = Process(home)
    second.end()
    entries = [entry for _, entry in read_journal(home)]
    assert [(entry.kind, entry.generation, entry.machine, entry.cpus) for entry in entries] == [
        ("crirm started", 1, "0123456789ab", ""),
        ("pod added", 1, "0123456789ab", ""),
        ("requested", 1, "0123456789ab", "0"),
        ("created", 1, "0123456789ab", ""),
        ("started", 1, "0123456789ab", ""),
        ("resize requested", 1, "0123456789ab", "1-2"),
        ("removed", 1, "0123456789ab", "0-2"),
        ("crirm started", 2, "0123456789ab", ""),
    ]


def test_a_configuration_that_is_taken_into_use_is_written_down(home: str, first: Process) -> None:
    kept, moved = first.run("a", 1000), first.run("b", 2000)
    engine, policy = first.engine, Counting(8, name="another")
    change = plan(policy, {kept: "0", moved: "5-6"}, engine.state, cpus("0-7"))
    engine.activate(policy, change)
    first.end()
    told = [(e.kind, e.generation, e.container, e.cpus, e.outcome) for _, e in read_journal(home) if e.generation == 2]
    assert told == [
        ("configured", 2, "", "1-2,5-6", "policy another, containers changed: 1, without room: 0"),
        ("configured", 2, "b", "1-2,5-6", "CPUs 1-2 -> CPUs 5-6: the configuration changed"),
    ]
    second = Process(home, policy)
    assert second.engine.state.adjustments == {kept: cpus("0"), moved: cpus("5-6")}
    second.kill()


def test_a_start_names_the_policy_in_full(home: str) -> None:
    process = Process(home, Counting(8, name="topology-aware"))
    process.end()
    (entry,) = [entry for _, entry in read_journal(home)]
    assert entry.outcome.startswith("policy topology-aware, machine 0123456789ab; ")


def test_a_container_that_is_moved_has_an_entry_with_the_cause() -> None:
    one = node()
    for name, cpu in (("a", 3000), ("b", 2000), ("x", 2000)):
        one.run(name, cpu)
    before = one.state
    decision = one.end("b")
    ended, moved = entries(5.0, ContainerExited(ContainerKey("b")), before, decision)
    assert (ended.kind, ended.key) == ("exited", "b")
    assert (moved.kind, moved.pod, moved.key) == ("moved", "default/x", "x")
    assert moved.outcome.startswith(f"CPUs {before.adjustments[ContainerKey('x')].cpus} -> {one.cpus('x')}: all of it")
    assert "now that default/b/c has ended" in moved.outcome


def test_one_that_waited_for_the_budget_has_such_an_entry_too() -> None:
    one, event = waiting_for_the_budget()
    before, waits = one.state, event.key
    decision = one.do(event)
    assert one.nodes(waits) == 1
    assert [(entry.kind, entry.key) for entry in entries(5.0, event, before, decision)][-1] == ("moved", "y")
