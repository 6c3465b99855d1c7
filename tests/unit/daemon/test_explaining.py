"""Why a container has what it has: the questions that the control socket answers, whatever it was that decided."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from click.testing import CliRunner

from crirm.cli import explain
from crirm.daemon.control import explanations, refusals, status
from crirm.daemon.placement.engine import Engine
from crirm.daemon.placement.explained import Explained
from crirm.daemon.state.journal import entries
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.model.decision import Adjustment
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    Event,
    PodAdded,
    PodRemoved,
    ResizeFailed,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
)
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.activation import RECONFIGURED, plan
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.registry import POLICIES
from crirm.policy.static.options import StaticOptions
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.daemon.listeners import hear_decisions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.decision import Decision, State

NS = "cri-resource-manager.intel.com"
CODE = "too-few-exclusive-cpus"
COLD = {f"cold-start.{NS}/pod": "duration: 60s"}


class Node:
    """An engine whose clock goes on by a second with every event, and its journal."""

    def __init__(self, policy: str = "static", spec: str = "8c") -> None:
        options = StaticOptions() if policy == "static" else TopologyAwareOptions()
        constraints = Constraints(reserved=CPUConstraint(cpus=CPUSet.of(0)))
        self.now_s = 100.0
        made = POLICIES[policy].make(topology_of(parse_spec(spec)), constraints, options)
        self.engine = Engine(made, clock=lambda: self.now_s)
        self.recorder: Any = None
        self.state_failure = ""
        self.findings: tuple[str, ...] = ()
        hear_decisions(self.engine, self._write_down)
        self.journal: list[str] = []

    def _write_down(self, event: Event, before: State, decision: Decision) -> None:
        self.journal += [f"{e.kind} {e.pod}/{e.container}: {e.outcome}" for e in entries(0, event, before, decision)]

    def machine_status(self) -> dict[str, Any]:
        return {}

    def drift(self) -> Mapping[ContainerKey, str]:
        return {}

    async def analysed(self, key: ContainerKey) -> dict[str, Any]:
        return {"cgroup": f"/{key}"}

    def tell(self, *events: Event) -> None:
        for event in events:
            self.now_s += 1
            assert self.engine.apply(event).refusal is None

    def run(self, name: str, cpu: int, memory: int = 0, **annotations: str) -> ContainerKey:
        """Run a Guaranteed pod, or a Burstable one where its container wants a part of a CPU."""
        qos = QoSClass.BURSTABLE if cpu % 1000 else QoSClass.GUARANTEED
        self.tell(PodAdded(Pod(PodId(name), name, name, "shop", qos, annotations=annotations)))
        container = wanted(name, cpu, memory)
        self.tell(ContainerRequested(container), ContainerCreated(container.key, ContainerId(f"id-{name}")))
        self.tell(ContainerStarted(container.key))
        return container.key

    def since(self, name: str) -> list[tuple[str, str, str, str]]:
        """What has happened to the only container of a pod after it was placed."""
        (entry,) = explanations(name, self)
        return [(each["what"], each["before"], each["after"], each["why"]) for each in entry["since"]]


def wanted(name: str, cpu: int, memory: int = 0) -> Container:
    amount = Bytes(memory << 30)
    asked = Requirements(MilliCPU(cpu), MilliCPU(cpu), amount, amount or None)
    return Container(ContainerKey(f"k-{name}"), PodId(name), "main", ContainerState.CREATING, asked)


def resize(key: ContainerKey, cpu: int) -> ResizeRequested:
    return ResizeRequested(key, LinuxResources(), Requirements(MilliCPU(cpu), MilliCPU(cpu)))


@pytest.mark.parametrize("policy", ["static", "topology-aware"])
@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(ContainerExited(ContainerKey("k-db")), id="it exits"),
        pytest.param(ContainerRemoved(ContainerKey("k-db")), id="it is removed"),
        pytest.param(PodRemoved(PodId("db")), id="its pod is removed"),
    ],
)
def test_who_gets_cpus_because_another_ends_can_learn_that(policy: str, ending: Event) -> None:
    node = Node(policy)
    node.run("web", 100)
    shared = str(node.engine.state.adjustments[ContainerKey("k-web")].cpus)
    node.run("db", 2000)
    fewer = str(node.engine.state.adjustments[ContainerKey("k-web")].cpus)
    own = node.engine.state.adjustments[ContainerKey("k-db")].cpus
    node.tell(ending)
    assert node.since("web") == [
        ("CPUs", shared, fewer, f"shop/db/main took exclusive CPUs {own}"),
        ("CPUs", fewer, shared, f"shop/db/main released CPUs {own}"),
    ]
    assert f"CPUs {fewer} -> {shared} of 1 container: shop/db/main released CPUs {own}" in node.journal[-1]


def test_a_resize_and_its_undoing_are_told_to_those_whom_they_touch() -> None:
    node = Node()
    node.run("web", 100)
    key = node.run("db", 1000)
    node.tell(resize(key, 3000), ResizeFailed(key))
    causes = [why for *_, why in node.since("web")]
    assert causes == [
        "shop/db/main took exclusive CPUs 1",
        "shop/db/main took exclusive CPUs 2-3",
        "the runtime did not resize shop/db/main",
    ]
    assert node.since("db") == [("CPUs", "1-3", "1", "the runtime did not resize shop/db/main")]


def test_memory_that_is_lifted_and_comes_down_again_is_told() -> None:
    node = Node("topology-aware", "2p.4c mem=4Gi")
    for name in ("a", "b"):
        node.run(name, 1000, 3)
    node.run("wide", 1000, 2)
    lifted = {name: node.since(name) for name in ("a", "b")}
    assert any(what == "memory nodes" and "containers could use more memory" in why for what, _, _, why in lifted["a"])
    node.tell(ContainerRemoved(ContainerKey("k-wide")))
    assert node.since("a")[-1][0] == "memory nodes"
    assert "no longer needs" in node.since("a")[-1][3]


def test_the_end_of_a_cold_start_is_told() -> None:
    node = Node("topology-aware", "4c mem=4Gi pmem=8Gi")
    key = node.run("db", 1000, 1, **COLD)
    node.tell(TimerExpired(key, Timer.COLD_START))
    assert node.since("db") == [("memory nodes", "1", "0-1", "its cold start ended")]


def test_a_container_that_was_found_running_has_a_trail() -> None:
    node = Node()
    pod = Pod(PodId("db"), "db", "db", "shop", QoSClass.GUARANTEED)
    found = attrs.evolve(wanted("db", 2000), state=ContainerState.RUNNING, id=ContainerId("id-db"))
    node.tell(Synchronised((pod,), (found,)))
    (entry,) = explanations("db", node)
    assert entry["trail"]["granted"] == "exclusive CPUs 1-2"


def test_another_configuration_is_a_cause_too() -> None:
    node = Node()
    node.run("web", 100)
    node.run("db", 2000)
    constraints = Constraints(reserved=CPUConstraint(cpus=CPUSet.of(0)), available=CPUConstraint(cpus=CPUSet(range(6))))
    smaller = POLICIES["static"].make(topology_of(parse_spec("8c")), constraints, StaticOptions())
    state, machine = node.engine.state, Adjustment(cpus=CPUSet(range(8)))
    node.engine.activate(smaller, plan(smaller, node.engine.policy.save(state.policy), state, machine))
    assert node.since("web")[-1] == ("CPUs", "0,3-7", "0,3-5", RECONFIGURED)


def test_moves_are_known_again_after_a_restart_as_far_as_trails_tell() -> None:
    node, again = Node(), Node()
    node.run("web", 100)
    node.run("db", 2000)
    again.engine.resume(node.engine.state, node.engine.trails.values())
    assert node.since("web") == again.since("web") != []


def test_a_new_placement_makes_older_moves_history() -> None:
    node = Node()
    web = node.run("web", 100)
    node.run("db", 2000)
    node.tell(resize(web, 200))
    assert node.since("web") == []


def test_what_is_kept_of_moves_is_bounded() -> None:
    node = Node()
    node.run("web", 100)
    for _ in range(20):
        node.tell(ContainerRemoved(node.run("db", 2000)))
    assert len(node.since("web")) == 16


def told(entries_: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(explain, "ask", lambda *_: {"explained": entries_})
    return CliRunner().invoke(explain.command, ["web"], catch_exceptions=False).output


def test_programs_read_numbers_with_units(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    node.run("db", 2000)
    monkeypatch.setattr(explain, "ask", lambda *_: {"explained": explanations("db", node)})
    (entry,) = json.loads(CliRunner().invoke(explain.command, ["db", "--json"], catch_exceptions=False).output)
    assert entry["trail"]["verdicts"][0]["facts"] == {"free_cpus": 7}


def test_people_read_names_and_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    node.run("web", 100)
    node.run("db", 2000)
    web = told(explanations("web", node), monkeypatch)
    (since,) = (line.split() for line in web.splitlines() if "shop/db/main" in line)
    assert since[2:] == ["CPUs", "0-7", "0,3-7", *["shop/db/main", "took", "exclusive", "CPUs", "1-2"]]
    db = told(explanations("db", node), monkeypatch)
    (other,) = (line.split() for line in db.splitlines() if line.startswith("shop/web/main"))
    assert other[:4] == ["shop/web/main", "CPUs", "0-7", "0,3-7"]
    assert isinstance(next(iter(node.engine.trails.values())), Explained)


def test_a_refused_container_is_explained_until_it_is_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    node.tell(PodAdded(Pod(PodId("big"), "big", "big", "shop", QoSClass.GUARANTEED)))
    for _ in range(2):
        node.now_s += 1
        assert node.engine.apply(ContainerRequested(wanted("big", 9000))).refusal is not None
    assert explanations("big", node) == []
    (refused,) = refusals("shop/big", node)
    assert (refused["name"], refused["times"], refused["at_s"]) == ("shop/big/main", 2, 103.0)
    assert (refused["code"], refused["refused"][-25:]) == (CODE, f" [{CODE}]")
    monkeypatch.setattr(explain, "ask", lambda *_: {"explained": [], "refused": [refused]})
    said = CliRunner().invoke(explain.command, ["big"], catch_exceptions=False).output
    assert said.startswith("shop/big/main, refused 2 times, last at ")
    assert "wants 9 exclusive CPUs, but only 7 are free" in said
    assert "\n  would fit  with 2 CPUs fewer\n" in said
    node.tell(ContainerRequested(wanted("big", 2000)))
    assert refusals("big", node) == []
    assert len(explanations("big", node)) == 1


def test_the_status_shows_who_is_refused_as_long_as_its_pod_is_there() -> None:
    node = Node()
    node.tell(PodAdded(Pod(PodId("big"), "big", "big", "shop", QoSClass.GUARANTEED)))
    assert node.engine.apply(ContainerRequested(wanted("big", 9000))).refusal is not None
    assert [(each["name"], each["code"]) for each in status(node)["refused"]] == [("shop/big/main", CODE)]
    node.tell(PodRemoved(PodId("big")))
    assert status(node)["refused"] == []


def test_the_journal_has_the_code_of_a_refusal_and_none_for_anything_else() -> None:
    node = Node()
    node.run("db", 2000)
    event, before = resize(ContainerKey("k-db"), 9000), node.engine.state
    refused = node.engine.decide(event)
    assert [entry.code for entry in entries(0, event, before, refused)] == [CODE]
    event = resize(ContainerKey("k-db"), 3000)
    assert [entry.code for entry in entries(0, event, before, node.engine.decide(event))] == [""]


def test_a_refused_resize_is_explained_beside_the_place_that_is_kept() -> None:
    node = Node()
    key = node.run("db", 2000)
    assert node.engine.apply(resize(key, 9000)).refusal is not None
    assert len(explanations("db", node)) == 1
    assert refusals("db", node)[0]["refused"].startswith("resize: ")
