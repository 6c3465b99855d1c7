"""The result of a replay, as one value that can be saved as JSON and compared with another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

from crirm.errors import CrirmError
from crirm.model.decision import State
from crirm.model.quantity import MilliCPU
from crirm.model.record_json import RecordError, from_record, to_record
from crirm.model.topology import Topology
from crirm.model.topology_json import digest
from crirm.policy.api import Choice, CPUConstraint, Json, Policy
from crirm.policy.pipeline import HOLDING
from crirm.replay.moments import Moment, far, moment, promised_bytes
from crirm.replay.run import Replay, Step
from crirm.replay.stories import Refusal, Stories, Story

FORMAT: Final = 1
NAMED: Final = 5

RUNS, ENDED, REFUSED = "runs", "ended", "refused"
"""States of a container at the end of a replay."""


class ReportError(CrirmError):
    """A file holds no report."""


@attrs.frozen
class Outcome:
    """The outcome of one container.

    Args:
        key: of the container.
        name: ``namespace/pod/container``.
        qos: class of its pod.
        cpu_millicpu: its request, in thousandths of a CPU.
        memory_bytes: its memory request, or its limit.
        state: ``runs``, ``ended`` or ``refused``.
        pool: its pool, or the last one.
        cpus: its CPUs, or the last ones; None if the policy does not set them.
        own: its exclusive CPUs.
        mems: NUMA nodes whose memory it may use; None likewise.
        far: those of them that are not near its CPUs.
        cpu_shares: its weight; None likewise.
        cpu_quota_us: its CPU time per period; None likewise.
        changes: how often its assignment changed because of others.
    """

    key: str
    name: str
    qos: str
    cpu_millicpu: int
    memory_bytes: int
    state: str
    pool: str
    cpus: str | None
    own: str
    mems: str | None
    far: str
    cpu_shares: int | None
    cpu_quota_us: int | None
    changes: int


@attrs.frozen
class Report:
    """One replay.

    Args:
        format: of this report.
        crirm: the version that recorded the trace.
        from_s: when the trace begins, seconds of wall-clock time.
        to_s: when it ends.
        events: how many were replayed.
        machine: its description.
        machine_digest: by which machines are told apart.
        same_machine: whether it is the machine of the trace.
        policy: its description.
        same_policy: whether policy and options are those of the trace.
        not_as_made: number of decisions that differ from the trace; None for another machine or policy.
        updates: number of updates of running containers.
        outcomes: containers, in the order in which they came.
        refusals: in order.
        fullest: the moment at which containers with a grant requested the most CPU.
        end: when the trace ends.
        notes: remarks.
    """

    format: int
    crirm: str
    from_s: float
    to_s: float
    events: int
    machine: str
    machine_digest: str
    same_machine: bool
    policy: str
    same_policy: bool
    not_as_made: int | None
    updates: int
    outcomes: tuple[Outcome, ...]
    refusals: tuple[Refusal, ...]
    fullest: Moment
    end: Moment
    notes: tuple[str, ...]

    def count(self, state: str) -> int:
        """Return how many containers ended in *state*."""
        return sum(outcome.state == state for outcome in self.outcomes)


@attrs.frozen
class _Load:
    """A state and what was asked for in it."""

    asked: int
    at_s: float
    state: State
    policy: Policy
    choice: Choice


@attrs.define
class Observer:
    """Watches a replay and makes a report of it.

    Args:
        replay: before its first step.
    """

    replay: Replay
    _stories: Stories = attrs.field(init=False)
    _events: int = 0
    _to_s: float = 0.0
    _not_as_made: list[int] = attrs.field(factory=list)
    _faults: list[str] = attrs.field(factory=list)
    _fullest: _Load = attrs.field(init=False)
    _unjudged: object = None

    def __attrs_post_init__(self) -> None:
        self._stories = Stories(self.replay.header.start.pools if self.replay.exact else {})
        self._to_s = self.replay.header.at_s
        self._fullest = self._load(-1)

    def observe(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Yield *steps*, each after it was looked at."""
        for step in steps:
            self._stories.take(step)
            self._events += step.line > 1
            self._to_s = max(self._to_s, step.at_s)
            if step.as_made is False:
                self._not_as_made.append(step.line)
            if step.fault:
                self._faults.append(f"line {step.line}: the policy failed, this is a bug in crirm: {step.fault}")
            self._weigh(step)
            yield step

    def _weigh(self, step: Step) -> None:
        containers = step.decision.state.workload.containers
        if containers is not self._unjudged:
            self._unjudged = containers
            asked = sum(one.requirements.cpu_request for one in containers.values() if one.state in HOLDING)
            if asked > self._fullest.asked:
                self._fullest = attrs.evolve(self._load(asked), at_s=step.at_s)

    def _load(self, asked: int) -> _Load:
        replay = self.replay
        return _Load(asked, self._to_s, replay.state, replay.policy, replay.choice)

    def report(self, notes: Iterable[str]) -> Report:
        """Return the report; *notes* are those on the trace."""
        replay, header = self.replay, self.replay.header
        return Report(
            format=FORMAT,
            crirm=header.crirm,
            from_s=header.at_s,
            to_s=self._to_s,
            events=self._events,
            machine=machine_text(replay.topology),
            machine_digest=digest(replay.topology),
            same_machine=replay.same_machine,
            policy=policy_text(replay.choice),
            same_policy=replay.same_choice,
            not_as_made=len(self._not_as_made) if replay.exact else None,
            updates=self._stories.updates,
            outcomes=tuple(_outcome(replay.topology, story) for story in self._stories.of.values()),
            refusals=tuple(self._stories.refusals),
            fullest=self._moment(self._fullest),
            end=self._moment(self._load(0)),
            notes=(*notes, *self._notes()),
        )

    def _moment(self, load: _Load) -> Moment:
        return moment(self.replay.topology, load.choice, load.policy, load.state, load.at_s)

    def _notes(self) -> Iterator[str]:
        replay, at_start = self.replay, len(self.replay.header.start.workload.containers)
        if not replay.exact and at_start:
            yield f"the {at_start} containers at the start were placed again"
        if replay.hints_left_out:
            yield (
                f"topology hints were ignored {replay.hints_left_out} times: they name CPUs and nodes of the machine "
                "in the trace"
            )
        if replay.changes_left_out:
            yield (
                f"{replay.changes_left_out} configuration changes in the trace were ignored, because this replay "
                "has its own configuration"
            )
        if self._stories.fit_here:
            names = _listed(self._stories.fit_here)
            yield f"refused in the recording but placed here, and kept until requested again or the pod ends: {names}"
        if self._not_as_made:
            yield (
                f"{len(self._not_as_made)} decisions differ from the recording, first in line {self._not_as_made[0]}: "
                "this version of crirm decides differently from the one that recorded the trace"
            )
        yield from self._faults[:NAMED]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _outcome(topology: Topology, story: Story) -> Outcome:
    container, adjustment = story.container, story.adjustment
    state = REFUSED if story.placed_s is None else RUNS if story.held else ENDED
    distant = far(topology, adjustment.cpus, adjustment.mems) if state != REFUSED else ()
    return Outcome(
        key=container.key,
        name=story.name,
        qos=story.pod.qos.value,
        cpu_millicpu=container.requirements.cpu_request,
        memory_bytes=promised_bytes(container),
        state=state,
        pool=story.pool,
        cpus=None if adjustment.cpus is None else str(adjustment.cpus),
        own=str(story.own),
        mems=None if adjustment.mems is None else str(adjustment.mems),
        far=str(distant) if distant else "",
        cpu_shares=adjustment.cpu_shares,
        cpu_quota_us=adjustment.cpu_quota_us,
        changes=story.changes,
    )


def machine_text(topology: Topology) -> str:
    """Return the description of a machine, as one line."""
    parts = {"package": len(topology.packages), "NUMA node": len(topology.nodes), "CPU": len(topology.online)}
    return ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in parts.items())


def policy_text(choice: Choice) -> str:
    """Return the description of a policy and its options, as one line."""
    parts = [choice.name]
    for name, constraint in (("available", choice.constraints.available), ("reserved", choice.constraints.reserved)):
        if constraint != CPUConstraint():
            parts.append(f"{name} {_constraint_text(constraint)}")
    default = None if choice.options is None else type(choice.options)()
    for field in () if default is None else attrs.fields(type(default)):
        value = getattr(choice.options, field.name)
        if value != getattr(default, field.name):
            parts.append(f"{field.metadata.get('key', field.name)} {to_record(value)}")
    return ", ".join([*parts, "overflow allowed"] if choice.overflow else parts)


def _constraint_text(constraint: CPUConstraint) -> str:
    if constraint.cpus is not None:
        return f"CPUs {constraint.cpus}"
    if constraint.excluded is not None:
        return f"all CPUs but {constraint.excluded}"
    return f"{MilliCPU(constraint.millicpu or 0)}m of CPU"


def report_record(report: Report) -> dict[str, Any]:
    """Return *report* as JSON."""
    record: dict[str, Any] = to_record(report)
    return record


def read_report(record: Json) -> Report:
    """Return the report that `report_record` described.

    Raises:
        ReportError: it describes none, or one of another version.
    """
    version = record.get("format") if isinstance(record, dict) else None
    if version is not None and version != FORMAT:
        raise ReportError(
            f"unsupported report format {version!r:.40}, expected {FORMAT}; create it again with this crirm"
        )
    try:
        return from_record(Report, record)
    except RecordError as error:
        raise ReportError("not a report; `crirm replay TRACE --json` creates one") from error
