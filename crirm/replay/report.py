"""What one replay comes to, as one value that can be kept as JSON and compared with another."""

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
"""What has become of a container."""


class ReportError(CrirmError):
    """A file holds no report."""


@attrs.frozen
class Outcome:
    """What has become of one container.

    Args:
        key: crirm's name of it.
        name: for people.
        qos: class of its pod.
        cpu_millicpu: its request, in thousandths of a CPU.
        memory_bytes: what it was promised.
        state: ``runs``, ``ended`` or ``refused``.
        pool: where it is, or was last.
        cpus: on which it runs, or ran last; None for "wherever the kubelet said".
        own: those of them that it has to itself.
        mems: NUMA nodes whose memory it may use; None likewise.
        far: those of them that are not near its CPUs.
        cpu_shares: its weight; None likewise.
        cpu_quota_us: its CPU time per period; None likewise.
        changes: how often others have changed what it has.
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
        machine: in words.
        machine_digest: by which machines are told apart.
        same_machine: whether it is that of the trace.
        policy: in words.
        same_policy: whether it is set up as in the trace.
        not_as_made: how many decisions are not what the trace says they were; None elsewhere than there.
        updates: how often running containers were brought to something else.
        outcomes: containers, in the order in which they came.
        refusals: in order.
        fullest: when the containers that held a grant asked for the most CPU.
        end: when the trace ends.
        notes: what one should know.
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
        """Return how many containers have come to *state*."""
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
            yield f"the {at_start} containers of the start were placed anew"
        if replay.hints_left_out:
            yield (
                f"topology hints were left out {replay.hints_left_out} times: they name CPUs and nodes of the machine "
                "of the trace"
            )
        if replay.changes_left_out:
            yield (
                f"{replay.changes_left_out} changes of the configuration in the trace were left out, since this replay "
                "has a configuration of its own"
            )
        if self._stories.fit_here:
            names = _listed(self._stories.fit_here)
            yield f"refused then but placed here, and kept until asked for again or the pod ends: {names}"
        if self._not_as_made:
            yield (
                f"{len(self._not_as_made)} decisions are not what they were, the first in line {self._not_as_made[0]}: "
                "this crirm decides otherwise than the one that recorded the trace"
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
    """Return what a machine is, in a line."""
    parts = {"package": len(topology.packages), "NUMA node": len(topology.nodes), "CPU": len(topology.online)}
    return ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in parts.items())


def policy_text(choice: Choice) -> str:
    """Return which policy it is and how it is set up, in a line."""
    parts = [choice.name]
    for name, constraint in (("available", choice.constraints.available), ("reserved", choice.constraints.reserved)):
        if constraint != CPUConstraint():
            parts.append(f"{name} {_constraint_text(constraint)}")
    for field in attrs.fields(type(choice.options)) if choice.options is not None else ():
        value = getattr(choice.options, field.name)
        if value != field.default:
            parts.append(f"{field.metadata.get('key', field.name)} {to_record(value)}")
    return ", ".join([*parts, "overflow allowed"] if choice.overflow else parts)


def _constraint_text(constraint: CPUConstraint) -> str:
    if constraint.cpus is not None:
        return f"CPUs {constraint.cpus}"
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
        raise ReportError(f"the report is of format {version!r:.40}, not {FORMAT}; make it again with this crirm")
    try:
        return from_record(Report, record)
    except RecordError as error:
        raise ReportError("this is no report; `crirm replay TRACE --json` makes one") from error
