"""A trace replays to the very decisions that were made, and elsewhere to what the core decides there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

from crirm.policy.api import Choice, Constraints, CPUConstraint
from crirm.policy.registry import KINDS
from crirm.replay.decisions import canonical, decision_record, state_record
from crirm.replay.records import start_of
from crirm.replay.report import Observer, read_report, report_record
from crirm.replay.run import Replay
from crirm.replay.trace import Header, TraceReader, TraceWriter
from crirm.sim.hosts import HostSpec, topology_of
from tests.unit.policy.test_policies import PolicyMachine

if TYPE_CHECKING:
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
        header = Header("0", 1000.0, self.topology, choice, start)
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
            line = self.writer.entry(1000.0 + len(self.journal) - 1, event, before, decision)
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
        assert state_record(self.policy, self.state) == state_record(replay.policy, replay.state)

    def check_elsewhere(self) -> None:
        """What comes out elsewhere is sound, and can be reported."""
        for name in KINDS:
            choice = Choice(name, Constraints(reserved=CPUConstraint(millicpu=1000)))
            reader = TraceReader.open(line.encode() for line in self.lines)
            replay = Replay(reader.header, ELSEWHERE, choice)
            observer = Observer(replay)
            for step in observer.watch(replay.steps(reader.entries())):
                assert not step.fault, step
            report = observer.report(reader.notes)
            assert report == read_report(report_record(report))
            assert report.end.containers == report.count("runs")


SETTINGS = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("name", KINDS)
def test_any_sequence_replays_to_the_same_decisions(name: str) -> None:
    class Machine(RecordingMachine):
        kind = KINDS[name]

    run_state_machine_as_test(Machine, settings=SETTINGS)
