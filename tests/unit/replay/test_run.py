"""A trace replays to the very decisions that were made, and elsewhere to what the core decides there."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

from crirm.errors import CrirmError
from crirm.hosts.synthetic import HostSpec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.events import (
    ContainerRemoved,
    PodAdded,
    PodStopped,
    ResizeDone,
    ResizeFailed,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
)
from crirm.model.quantity import MilliCPU
from crirm.model.resources import LinuxResources
from crirm.model.workload import ContainerKey, PodId, TopologyHint
from crirm.policy.api import Choice, Constraints, CPUConstraint
from crirm.policy.registry import POLICIES
from crirm.policy.topology_aware.policy import TopologyAware
from crirm.replay.decisions import canonical, decision_record, state_record
from crirm.replay.records import start_of
from crirm.replay.report import Observer, read_report, report_record
from crirm.replay.run import Replay
from crirm.replay.trace import Header, TraceReader, TraceWriter
from tests.unit.policy.test_policies import STEP_S, PolicyMachine
from tests.unit.replay.scenes import AWARE, BEGIN_S, STATIC, Replayed, Scene, container, pod, replayed, web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.model.decision import Decision
    from crirm.model.events import Event

ELSEWHERE = topology_of(HostSpec(packages=1, cores=3, threads=1))


class RecordingMachine(PolicyMachine):
    """Whatever happens is recorded, from some moment on; the recording is checked in the end."""

    writer: TraceWriter | None = None
    checked = False

    def begin(self) -> None:
        choice = Choice(self.kind.name, self.constraints, self.options)
        start = start_of(self.policy, self.state, {})
        header = Header("0", 0.0, self.topology, choice, start)
        self.writer = TraceWriter(header)
        self.lines = [self.writer.first()]
        self.decided: list[str] = []

    @initialize(begin_at=st.integers(0, 12))
    def choose(self, begin_at: int) -> None:
        self.begin_at = begin_at

    def do(self, event: Event) -> Decision:
        if self.writer is None and len(self.journal) >= self.begin_at:
            self.begin()
        before = self.state
        decision = super().do(event)
        if self.writer is not None and not self.checked:
            line = self.writer.entry(STEP_S * (len(self.journal) - 1), event, before, decision)
            if line:
                self.lines.append(line)
                self.decided.append(canonical(decision_record(decision)))
        return decision

    def teardown(self) -> None:
        if self.writer is not None:
            self.checked = True
            self.check_replay()
            self.check_elsewhere()
        super().teardown()

    def check_replay(self) -> None:
        reader = TraceReader.open(line.encode() for line in self.lines)
        replay = Replay(reader.header)
        assert replay.exact
        start, *steps = replay.steps(reader.entries())
        assert start.squeezed == {}
        assert [canonical(decision_record(step.decision)) for step in steps] == self.decided
        assert all(step.as_made for step in steps)
        assert self.state == replay.state

    def check_elsewhere(self) -> None:
        """What comes out elsewhere is sound, and can be reported."""
        for name in POLICIES:
            choice = Choice(name, Constraints(reserved=CPUConstraint(millicpu=MilliCPU(1000))))
            reader = TraceReader.open(line.encode() for line in self.lines)
            replay = Replay(reader.header, ELSEWHERE, choice)
            observer = Observer(replay)
            for step in observer.observe(replay.steps(reader.entries())):
                assert not step.fault, step
            report = observer.report(reader.notes)
            assert report == read_report(report_record(report))
            assert report.end.containers == report.count("runs")


SETTINGS = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("name", POLICIES)
def test_any_sequence_replays_to_the_same_decisions(name: str) -> None:
    class Machine(RecordingMachine):
        kind = POLICIES[name]

    run_state_machine_as_test(Machine, settings=SETTINGS)


def outcomes(found: Replayed) -> dict[str, str]:
    return {one.name.rpartition("/")[2]: one.state for one in found.report.outcomes}


def test_a_refused_container_stays_away_though_the_runtime_lists_it() -> None:
    scene = web()
    scene.tell(Synchronised((pod(),), scene.listed("a", "b", "s")))
    found = replayed(scene.text, "1p.2c.1t mem=8Gi")
    assert outcomes(found) == {"a": "refused", "b": "refused", "s": "runs", "t": "ended", "big": "refused"}
    assert found.report.end.containers == 1


def test_what_was_refused_then_and_fits_here_is_placed_until_its_pod_ends() -> None:
    scene = web()
    for host, state in (("2p.8c.1t mem=8Gi", "runs"), ("", "refused")):
        found = replayed(scene.text, host)
        assert outcomes(found)["big"] == state
        noted = any("refused in the recording but placed here" in note for note in found.report.notes)
        assert noted == (state == "runs")
    scene.tell(PodStopped(PodId("p")))
    assert outcomes(replayed(scene.text, "2p.8c.1t mem=8Gi"))["big"] == "ended"


def test_what_ran_at_the_start_is_kept_there_and_placed_anew_elsewhere() -> None:
    scene = Scene()
    scene.tell(PodAdded(pod()))
    for name in ("a", "b", "c"):
        scene.run(container(name, 1))
    scene.tell(ContainerRemoved(ContainerKey("b")))
    own = dict(scene.policy.exclusive(scene.state.policy))
    scene.record()
    found = replayed(scene.text)
    assert found.replay.policy.exclusive(found.replay.state.policy) == own
    assert [one.changes for one in found.report.outcomes] == [0, 0]
    assert found.report.notes == ("the trace has no end: it is still being written, or crirm was killed",)
    found = replayed(scene.text, "1p.1c.2t")
    assert [(refusal.what, refusal.name) for refusal in found.report.refusals] == [
        ("at the start", "default/p/c"),
    ]
    assert "the 2 containers at the start were placed again" in found.report.notes


def test_hints_count_only_on_the_machine_that_they_speak_of() -> None:
    scene = Scene().record()
    scene.tell(PodAdded(pod()))
    scene.run(container("a", 0.5, hints=(TopologyHint("/sys/x", nodes=NodeSet.of(0)),)))
    assert [one.pool for one in replayed(scene.text).report.outcomes] == ["socket #0"]
    found = replayed(scene.text, "2p.5c.1t")
    assert [one.pool for one in found.report.outcomes] == ["socket #1"], "which has more shared CPUs"
    assert any("topology hints were ignored 1 times" in note for note in found.report.notes)
    assert not found.report.same_machine


COLD = {
    "memory-type.cri-resource-manager.intel.com": "mixed",
    "cold-start.cri-resource-manager.intel.com": "duration: 2s",
}


def test_timers_run_out_elsewhere_as_they_were_started_there() -> None:
    scene = Scene("2p.4c.1t mem=8Gi pmem=2x32Gi").record()
    scene.tell(PodAdded(pod(annotations=COLD)))
    scene.run(container("a", 0.5, 1))
    assert scene.state.timers, "it starts cold"
    for _ in range(4):
        scene.tell(PodAdded(pod("q")))
    scene.tell(TimerExpired(ContainerKey("a"), Timer.COLD_START))
    for host, expired_after in (("", 9), ("2p.5c.1t mem=8Gi pmem=2x32Gi", 6)):
        found = replayed(scene.text, host)
        moments = [step.at_s - BEGIN_S for step in found.steps if isinstance(step.event, TimerExpired)]
        assert moments == [expired_after]
        assert found.report.outcomes[0].mems == "1,3", "all its kinds of memory"
    assert replayed(scene.text, "1p.5c.1t").report.outcomes[0].mems == "0", "no slow memory, no cold start"


def test_a_configuration_of_its_own_holds_throughout() -> None:
    scene = web()
    scene.reconfigure(STATIC)
    scene.run(container("late", 1))
    found = replayed(scene.text)
    assert found.report.policy.startswith("static")
    assert found.report.not_as_made == 0
    assert state_record(scene.policy, scene.state) == state_record(found.replay.policy, found.replay.state)
    elsewhere = replayed(scene.text, "2p.8c.1t mem=8Gi")
    assert elsewhere.report.policy.startswith("static"), "the trace's change is followed on another machine"
    assert elsewhere.report.end.containers == 6
    own = replayed(scene.text, choice=AWARE)
    assert own.report.policy.startswith("topology-aware")
    assert any("configuration changes in the trace were ignored" in note for note in own.report.notes)


def test_requirements_that_change_from_outside_change_in_a_replay_too() -> None:
    scene = web()
    scene.readjust("s", 1.5)
    found = replayed(scene.text)
    assert found.report.not_as_made == 0
    assert found.replay.state.workload.containers[ContainerKey("s")].requirements.cpu_request == 1500
    assert state_record(scene.policy, scene.state) == state_record(found.replay.policy, found.replay.state)
    elsewhere = replayed(scene.text, "2p.8c.1t mem=8Gi")
    assert elsewhere.replay.state.workload.containers[ContainerKey("s")].requirements.cpu_request == 1500


def test_the_way_back_from_a_configuration_leads_to_what_was_before() -> None:
    scene = web()
    policy, grants = scene.policy, scene.policy.save(scene.state.policy)
    scene.reconfigure(STATIC)
    scene.reconfigure(AWARE, policy, grants)
    found = replayed(scene.text)
    assert found.report.not_as_made == 0
    assert state_record(policy, scene.state) == state_record(found.replay.policy, found.replay.state)


def test_decisions_that_are_not_as_they_were_made_are_counted() -> None:
    scene = web()
    lines = [line.replace('"decided":"', '"decided":"0') for line in scene.lines[-2:]]
    found = replayed("".join([*scene.lines[:-2], *lines]))
    assert found.report.not_as_made == 2
    assert any("2 decisions differ from the recording, first in line" in note for note in found.report.notes)


def test_a_policy_that_fails_is_reported_and_the_replay_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = web()
    monkeypatch.setattr(TopologyAware, "started", lambda *_: 1 / 0)
    found = replayed(scene.text)
    assert found.report.events == len(scene.lines) - 1
    assert any("this is a bug in crirm: ZeroDivisionError" in note for note in found.report.notes)


def test_a_machine_that_the_policy_does_not_fit_is_refused() -> None:
    choice = attrs.evolve(AWARE, constraints=Constraints(reserved=CPUConstraint(cpus=CPUSet.of(40))))
    with pytest.raises(CrirmError, match="this machine has no CPUs 40"):
        replayed(web().text, "1p.4c.1t", choice)


def test_a_repair_that_fails_is_not_tried_again_before_anything_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = web()
    scene.now_s += 30 * 24 * 3600
    scene.tell(PodAdded(pod("q")), PodAdded(pod("r")))
    monkeypatch.setattr(TopologyAware, "allocate", lambda *_: 1 / 0)
    found = replayed(scene.text, "2p.8c.1t", attrs.evolve(AWARE, fail_open=True))
    tries = [step for step in found.steps if isinstance(step.event, TimerExpired)]
    assert 0 < len(tries) <= 2 * 5
    assert set(found.replay.state.degraded) == {"a", "b", "s", "t", "big"}


JUNK: tuple[object, ...] = (None, -1, 0, "x", "", [], {}, True, 1.5, "0-99", 10**30, [1], {"a": 1}, "4-5", "p", "a")


def places(document: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of everything in *document* but the machine."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        if key != "topology":
            yield (*path, key)
            yield from places(value, (*path, key))


def busy() -> Scene:
    scene = Scene()
    scene.tell(PodAdded(pod()))
    scene.run(container("a", 2, 1))
    scene.record()
    scene.run(container("s", 0.5, 1))
    scene.reconfigure(STATIC)
    scene.tell(Synchronised((pod("n"),), ()))
    return scene


@settings(max_examples=100)
@given(line=st.integers(0, len(busy().lines) - 1), place=st.integers(0, 10_000), junk=st.sampled_from(JUNK))
def test_whatever_is_wrong_in_a_trace_it_is_refused_or_replayed(line: int, place: int, junk: object) -> None:
    lines = busy().lines
    document = json.loads(lines[line])
    paths = list(places(document))
    *way, last = paths[place % len(paths)]
    target: Any = document
    for key in way:
        target = target[key]
    target[last] = junk
    lines[line] = json.dumps(document) + "\n"
    for host in ("", "1p.3c.1t mem=8Gi"):
        with suppress(CrirmError):
            replayed("".join(lines), host)


@pytest.mark.parametrize("last", [ResizeDone, ResizeFailed])
def test_what_is_under_way_when_a_trace_begins_goes_on_in_a_replay(last: type[ResizeDone | ResizeFailed]) -> None:
    scene = Scene("2p.4c.1t mem=8Gi pmem=2x32Gi")
    scene.tell(PodAdded(pod(annotations=COLD)))
    scene.run(container("a", 2, 1))
    scene.tell(ResizeRequested(ContainerKey("a"), LinuxResources(), container("a", 3, 1).requirements))
    assert scene.state.timers
    assert scene.state.resizing
    scene.record()
    text = scene.text
    assert replayed(text).replay.state == scene.state
    scene.tell(last(ContainerKey("a")))
    found = replayed(scene.text)
    assert found.report.not_as_made == 0
    assert found.replay.state == scene.state
    assert found.report.outcomes[0].own == ("4-6" if last is ResizeDone else "4-5")


def test_a_resize_of_another_configuration_is_undone_as_far_as_possible() -> None:
    scene = Scene()
    scene.tell(PodAdded(pod()))
    scene.run(container("a", 2, 1))
    scene.tell(ResizeRequested(ContainerKey("a"), LinuxResources(), container("a", 3, 1).requirements))
    scene.reconfigure(STATIC)
    scene.record().tell(ResizeFailed(ContainerKey("a")))
    found = replayed(scene.text)
    assert found.report.not_as_made == 0
    assert found.replay.state == scene.state
    assert len(CPUSet.parse(found.report.outcomes[0].own)) == 2
