"""The format of a trace: lines of JSON, told apart by their fields.

==========================================  =========================================================================
fields                                      meaning
==========================================  =========================================================================
trace, format, crirm, at_s, topology,       the first line: format and version of crirm, wall-clock time, machine,
choice, start                               policy and how it is set up, and all that was there
at, event, …, decided, refused              an event, seconds after the first line, with a digest of the decision, and
                                            the reason where the event's request was turned down
at, choice, start, decided                  another configuration, and all that was there after it was in force
at, end                                     the last line of a trace that was ended on purpose, and why it was
==========================================  =========================================================================

Lists of the runtime name what the trace has described before by id (pods) or by key and state (containers). Looks at
the runtime that brought nothing new are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Self

import attrs

from crirm.errors import CrirmError
from crirm.model.decision import Decision, State
from crirm.model.events import (
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    Event,
    PodAdded,
    Synchronised,
)
from crirm.model.record_json import RecordError, from_record, to_record
from crirm.model.topology import Topology
from crirm.model.topology_json import from_json, to_json
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.api import Choice, Json
from crirm.replay.decisions import digest
from crirm.replay.records import (
    Start,
    bare_container,
    bare_pod,
    choice_record,
    event_record,
    read_choice,
    read_event,
    read_start,
    start_record,
)

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
MAGIC: Final = "crirm"
FORMAT: Final = 1
LATEST_S: Final = 1e11  # some year that calendars can still tell
MAX_LINE_BYTES: Final = 64 << 20  # the header of a node with 10,000 containers has a tenth of that


class TraceError(CrirmError):
    """A file is not a trace, or not one that this crirm can read; str() begins with the number of the line."""


@attrs.frozen
class Header:
    """What a trace starts from.

    Args:
        crirm: the version that recorded it.
        at_s: seconds of wall-clock time at which it begins.
        topology: the machine.
        choice: the policy and how it was set up.
        start: what was there.
    """

    crirm: str
    at_s: float
    topology: Topology
    choice: Choice
    start: Start


@attrs.frozen
class Reconfigured:
    """The node was given another configuration, or its containers other requirements from outside.

    Args:
        choice: the policy and how it is set up from now on.
        start: all that was known and decided after that.
    """

    choice: Choice
    start: Start


@attrs.frozen
class Recorded:
    """One thing that happened.

    Args:
        line: its number in the file.
        at_s: seconds of wall-clock time.
        event: what.
        decided: digest of the decision then.
        refused: reason of the refusal then; empty where nothing was refused.
    """

    line: int
    at_s: float
    event: Event | Reconfigured
    decided: str = ""
    refused: str = ""


@attrs.define
class TraceWriter:
    """Makes the lines of one trace."""

    header: Header
    _pods: dict[PodId, Pod] = attrs.field(factory=dict, init=False)
    _containers: dict[ContainerKey, Container] = attrs.field(factory=dict, init=False)

    def first(self) -> str:
        """Return the header line."""
        header, workload = self.header, self.header.start.workload
        self._pods, self._containers = dict(workload.pods), dict(workload.containers)
        return _line(
            {
                "trace": MAGIC,
                "format": FORMAT,
                "crirm": header.crirm,
                "at_s": header.at_s,
                "topology": to_json(header.topology),
                "choice": choice_record(header.choice),
                "start": start_record(header.start),
            }
        )

    def entry(self, at_s: float, event: Event, before: State, decision: Decision) -> str:
        """Return the line of an event; empty where it is a look that brought nothing new."""
        if isinstance(event, Synchronised | ContainerExited | ContainerRemoved) and _brought_nothing(before, decision):
            return ""
        record = self._synchronised(event) if isinstance(event, Synchronised) else event_record(event)
        match event:
            case PodAdded(pod):
                self._pods[pod.id] = bare_pod(pod)
            case ContainerRequested(container):
                self._containers[container.key] = bare_container(container)
        refused = {"refused": decision.refusal.reason.name} if decision.refusal is not None else {}
        return _line({"at": self._since(at_s), **record, "decided": digest(decision), **refused})

    def reconfigured(self, at_s: float, change: Reconfigured, decision: Decision) -> str:
        """Return the line of a change of the configuration."""
        record = {"choice": choice_record(change.choice), "start": start_record(change.start)}
        return _line({"at": self._since(at_s), **record, "decided": digest(decision)})

    def end(self, at_s: float, words: str) -> str:
        """Return the last line; *words* say why it ends."""
        return _line({"at": self._since(at_s), "end": words})

    def _since(self, at_s: float) -> float:
        return round(at_s - self.header.at_s, 6)

    def _synchronised(self, event: Synchronised) -> dict[str, Any]:
        pods = [bare_pod(pod) for pod in event.pods]
        containers = [bare_container(container) for container in event.containers]
        record = {
            "event": Synchronised.__name__,
            "pods": [pod.id if self._pods.get(pod.id) == pod else to_record(pod) for pod in pods],
            "containers": [self._listed(container) for container in containers],
            **({"touched": sorted(event.touched)} if event.touched else {}),
        }
        self._pods = {pod.id: pod for pod in pods}
        self._containers = {container.key: container for container in containers}
        return record

    def _listed(self, container: Container) -> Json:
        known = self._containers.get(container.key)
        if known is not None and attrs.evolve(known, state=container.state) == container:
            return [container.key, container.state.value]
        return to_record(container)


def _brought_nothing(before: State, decision: Decision) -> bool:
    return not decision.effects and decision.state == before


def _line(record: Mapping[str, Any]) -> str:
    # In pieces: the C encoder would keep the daemon's other threads out for as long as a large line takes.
    return "".join(_ENCODER.iterencode(record)) + "\n"


@attrs.define
class TraceReader:
    """Reads one trace, line by line.

    Args:
        header: its first line.
        notes: what one should know of how it ends; complete when all entries were read.
    """

    header: Header
    notes: list[str]
    _lines: Iterator[bytes]
    _pods: dict[PodId, Pod]
    _containers: dict[ContainerKey, Container]

    @classmethod
    def open(cls, lines: Iterable[bytes]) -> Self:
        """Read the header.

        Args:
            lines: of the file, each with its end; a longer one than `MAX_LINE_BYTES` may be cut there.

        Raises:
            TraceError: it is no trace, or one that this crirm cannot read.
        """
        rest = iter(lines)
        header = _header(next(rest, b""))
        workload = header.start.workload
        return cls(header, [], rest, dict(workload.pods), dict(workload.containers))

    def entries(self) -> Iterator[Recorded]:
        """Yield what happened; a torn last line, as ``kill -9`` leaves behind, is left out with a note.

        Raises:
            TraceError: a line cannot be read.
        """
        for number, line in enumerate(self._lines, 2):
            if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                self.notes.append(
                    f"line {number}, the last one, is incomplete and ignored: crirm ended while writing it"
                )
                return
            record = _parsed(number, line)
            if "end" in record:
                self.notes.append(f"the trace is complete: {record['end']}")
                return
            try:
                yield self._entry(number, record)
            except (RecordError, KeyError, TypeError, ValueError) as error:
                raise TraceError(f"line {number}: not an event: {error!s:.200}") from error
        self.notes.append("the trace has no end: it is still being written, or crirm was killed")

    def _entry(self, number: int, record: dict[str, Json]) -> Recorded:
        at_s = self.header.at_s + _moment_s(record.pop("at"))
        decided, refused = str(record.pop("decided")), str(record.pop("refused", ""))
        if "choice" in record:
            change = Reconfigured(read_choice(record["choice"]), read_start(record["start"]))
            return Recorded(number, at_s, change, decided)
        is_list = record["event"] == Synchronised.__name__
        event = self._synchronised(record) if is_list else read_event(record)
        match event:
            case PodAdded(pod):
                self._pods[pod.id] = pod
            case ContainerRequested(container):
                self._containers[container.key] = container
        return Recorded(number, at_s, event, decided, refused)

    def _synchronised(self, record: Mapping[str, Json]) -> Synchronised:
        pods = tuple(
            self._pods[PodId(one)] if isinstance(one, str) else from_record(Pod, one) for one in record["pods"]
        )
        containers = tuple(self._listed(one) for one in record["containers"])
        self._pods = {pod.id: pod for pod in pods}
        self._containers = {container.key: container for container in containers}
        return Synchronised(pods, containers, frozenset(map(str, record.get("touched", ()))))

    def _listed(self, record: Json) -> Container:
        if not isinstance(record, list):
            return from_record(Container, record)
        key, state = record
        return attrs.evolve(self._containers[key], state=ContainerState(state))


def _header(line: bytes) -> Header:
    if not line:
        raise TraceError("line 1: the file is empty")
    record = _parsed(1, line)
    if record.get("trace") != MAGIC:
        raise TraceError("line 1: not a trace of crirm; `crirm serve --record FILE` records one")
    if record.get("format") != FORMAT:
        version = f"it was recorded by crirm {record.get('crirm', 'unknown')!s:.40}"
        raise TraceError(f"line 1: unsupported trace format {record.get('format')!r:.40}, expected {FORMAT}; {version}")
    try:
        return Header(
            crirm=str(record["crirm"]),
            at_s=_moment_s(record["at_s"]),
            topology=from_json(record["topology"]),
            choice=read_choice(record["choice"]),
            start=read_start(record["start"]),
        )
    except (CrirmError, KeyError, TypeError, ValueError) as error:
        raise TraceError(f"line 1: unreadable header: {error!s:.300}") from error


def _moment_s(value: Json) -> float:
    if type(value) not in {int, float} or not abs(value) < LATEST_S:
        raise RecordError(f"not a time: {value!r:.40}")
    return float(value)


def _parsed(number: int, line: bytes) -> dict[str, Json]:
    if len(line) >= MAX_LINE_BYTES:
        raise TraceError(f"line {number}: is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        what = "not a trace of crirm, or an incomplete one" if number == 1 else "the trace is damaged"
        raise TraceError(f"line {number}: {what}: not JSON") from error
    if not isinstance(record, dict):
        raise TraceError(f"line {number}: not a JSON object; not a trace of crirm")
    return record
