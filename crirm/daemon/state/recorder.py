"""Traces of a running node: every event with its decision, for ``crirm replay``.

An event is put in a queue; a thread formats and writes it. Nothing waits for that, and a write error ends the trace,
never the node. A trace with a gap would be worthless, so it also ends if the disk is too slow, and at its maximum size.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import attrs
import trio

from crirm import __version__
from crirm.daemon.placement.ladder import Listener
from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.model.decision import Decision

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from crirm.daemon.placement.engine import Engine
    from crirm.model.decision import State
    from crirm.model.events import Event
    from crirm.model.topology import Topology
    from crirm.model.workload import ContainerKey
    from crirm.policy.activation import Plan
    from crirm.policy.api import Choice, Policy
    from crirm.replay.trace import TraceWriter

log = get_logger("policy")

LIMIT_BYTES: Final = 256 << 20
"""About a month of a busy node."""
WAITING: Final = 20_000  # events while the disk is blocked
GATHER_S: Final = 0.2  # events within this time are written together; kill -9 loses that much
LAST_S: Final = 3.0  # for the last write at the end
ASIDE: Final = ".before"
FILE_MODE: Final = 0o600
_FIRST_BYTES: Final = b'{"trace":"crirm"'

STOPPED: Final = "stopped on request"
MACHINE: Final = "machine changed; recording continues in a new trace"
ENDED: Final = "crirm stopped, or no longer places containers"
BROKEN: Final = "write error"
FULL: Final = "trace reached its maximum size"
TOO_SLOW: Final = "events arrived faster than they could be written"


class RecordingError(CrirmError):
    """A trace cannot be started or stopped."""


@attrs.frozen
class _Moment:
    """A complete snapshot of one moment."""

    at_s: float
    policy: Policy
    choice: Choice
    state: State


@attrs.frozen
class _Happened:
    at_s: float
    event: Event
    before: State
    decision: Decision

    def line(self, writer: TraceWriter) -> str:
        return writer.entry(self.at_s, self.event, self.before, self.decision)


@attrs.frozen
class _Activated:
    moment: _Moment
    decision: Decision

    @property
    def at_s(self) -> float:
        return self.moment.at_s

    def line(self, writer: TraceWriter) -> str:
        from crirm.replay.records import start_of  # noqa: PLC0415  # most daemons record nothing
        from crirm.replay.trace import Reconfigured  # noqa: PLC0415

        start = start_of(self.moment.policy, self.moment.state, {})
        return writer.reconfigured(self.moment.at_s, Reconfigured(self.moment.choice, start), self.decision)


@attrs.frozen
class _Ended:
    at_s: float
    words: str

    def line(self, writer: TraceWriter) -> str:
        return writer.end(self.at_s, self.words)


@attrs.define
class _Trace:
    """An active trace; everything but `waiting` and `over` belongs to the writing thread."""

    path: str
    file: IO[bytes]
    topology: Topology
    begin: _Moment
    pools: Mapping[ContainerKey, str]
    limit_bytes: int
    waiting: deque[_Happened | _Activated | _Ended] = attrs.field(factory=deque)
    over: trio.Event = attrs.field(factory=trio.Event)
    ending: str = ""
    size_bytes: int = 0
    _writer: TraceWriter | None = None

    def write(self) -> str:
        """Write the queued items; return the reason if the trace ends with them.

        Raises:
            OSError: they cannot be written.
        """
        writer, lines = self._writer, list[bytes]()
        if writer is None:
            writer = self._writer = self._make_writer()
            lines.append(writer.first().encode())
        size, end = self.size_bytes + sum(map(len, lines)), ""
        for _ in range(len(self.waiting)):
            item = self.waiting.popleft()
            line = item.line(writer).encode()
            if isinstance(item, _Ended):
                end = item.words
            elif size + len(line) > self.limit_bytes:
                line, end = writer.end(item.at_s, FULL).encode(), FULL
            lines.append(line)
            size += len(line)
            if end:
                break
        self.file.write(b"".join(lines))
        self.file.flush()
        self.size_bytes = size
        return end

    def _make_writer(self) -> TraceWriter:
        from crirm.replay.records import start_of  # noqa: PLC0415  # most daemons record nothing
        from crirm.replay.trace import Header, TraceWriter  # noqa: PLC0415

        begin = self.begin
        start = start_of(begin.policy, begin.state, self.pools)
        return TraceWriter(Header(__version__, begin.at_s, self.topology, begin.choice, start))


class Recorder(Listener):
    """Records an engine's decisions while a trace is active.

    Args:
        engine: decides.
        topology: the machine.
        clock: wall-clock seconds.
        limit_bytes: maximum size of a trace.
    """

    def __init__(
        self,
        engine: Engine,
        topology: Topology,
        clock: Callable[[], float] = time.time,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._engine = engine
        self._topology = topology
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._trace: _Trace | None = None
        self._changed = trio.Event()

    @property
    def file(self) -> str:
        """The file of the active trace; empty: none."""
        return self._trace.path if self._trace is not None else ""

    async def start(self, path: str) -> None:
        """Start a trace in the file *path*; an existing trace is renamed.

        Raises:
            RecordingError: one is active already, or the file cannot be created.
        """
        self._refuse_second()
        file = await trio.to_thread.run_sync(open_trace, path)
        try:
            self._refuse_second()
        except RecordingError:
            file.close()
            raise
        trails = self._engine.trails
        pools = {key: trails[key].trail.chosen for key in self._engine.state.workload.containers if key in trails}
        self._trace = _Trace(path, file, self._topology, self._now(), pools, self._limit_bytes)
        self._changed.set()
        log.info("recording events and decisions", file=path)

    async def stop(self) -> str:
        """Stop the trace, and return its file once all of it is written.

        Raises:
            RecordingError: none is active.
        """
        trace = self._trace
        if trace is None:
            raise RecordingError("no recording is active; start one with `crirm record start FILE`")
        self._end(STOPPED)
        await trace.over.wait()
        return trace.path

    def leave_machine(self, topology: Topology) -> Callable[[], Awaitable[None]] | None:
        """Stop an active trace, since a trace is about one machine; later ones are about *topology*.

        Returns:
            a function that starts the next trace; None if nothing was recorded.
        """
        trace, self._topology = self._trace, topology
        if trace is None or trace.ending:
            return None
        self._end(MACHINE)

        async def go_on() -> None:
            await trace.over.wait()
            await self.start(trace.path)

        return go_on

    async def run(self) -> None:
        """Write events until cancelled, then the remaining ones."""
        try:
            while True:
                await self._changed.wait()
                self._changed = trio.Event()
                await self._write()
                await trio.sleep(GATHER_S)
        finally:
            with trio.move_on_after(LAST_S, shield=True):
                self._end(ENDED)
                await self._write(last=True)

    def _refuse_second(self) -> None:
        if self._trace is not None:
            raise RecordingError(f"{self.file}: already recording to this file; stop it with `crirm record stop`")

    def _now(self) -> _Moment:
        return _Moment(self._clock(), self._engine.policy, self._engine.choice, self._engine.state)

    def decided(self, event: Event, before: State, decision: Decision) -> None:
        """Record a decision."""
        if self._trace is not None:
            self._put(self._trace, _Happened(self._clock(), event, before, decision))

    def activated(self, before: State, plan: Plan) -> None:  # noqa: ARG002 - the interface
        """Record a new configuration."""
        if self._trace is not None:
            self._put(
                self._trace, _Activated(self._now(), Decision(plan.state, effects=plan.effects, trails=plan.trails))
            )

    def _end(self, words: str) -> None:
        if self._trace is not None:
            self._put(self._trace, _Ended(self._clock(), words))

    def _put(self, trace: _Trace, item: _Happened | _Activated | _Ended) -> None:
        if trace.ending:
            return
        if len(trace.waiting) >= WAITING:
            item = _Ended(self._clock(), TOO_SLOW)
        if isinstance(item, _Ended):
            trace.ending = item.words
        trace.waiting.append(item)
        self._changed.set()

    async def _write(self, *, last: bool = False) -> None:
        trace = self._trace
        if trace is None:
            return
        try:
            end = await trio.to_thread.run_sync(trace.write, abandon_on_cancel=last)
        except OSError as error:
            _tell_broken(trace, error)
            end = BROKEN
        except Exception:  # a trace must never stop the node
            log.exception("could not record an event; this is a bug in crirm", file=trace.path)
            end = BROKEN
        if end:
            (log.info if end in {STOPPED, ENDED, MACHINE} else log.warning)(
                "recording ended", file=trace.path, reason=end, bytes=trace.size_bytes
            )
            self._trace = None
            await trio.to_thread.run_sync(_close, trace, abandon_on_cancel=last)
            trace.over.set()


def _tell_broken(trace: _Trace, error: OSError) -> None:
    log.error("cannot write the trace; recording stopped", file=trace.path, reason=error.strerror)


def _close(trace: _Trace) -> None:
    try:
        trace.file.close()
    except OSError as error:
        log.warning("could not close the trace; its last bytes may be missing", file=trace.path, reason=error.strerror)


def open_trace(path: str) -> IO[bytes]:
    """Create the file *path*, for this user only; an existing trace is renamed.

    Raises:
        RecordingError: the path is not absolute, another file exists there, or it cannot be created.
    """
    if not path.startswith("/"):
        raise RecordingError(f"{path}: not an absolute path; write the full path")
    try:
        if os.path.lexists(path):
            _set_aside(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, FILE_MODE), "wb")
    except OSError as error:
        raise RecordingError(f"{path}: cannot create a trace: {error.strerror}") from error


def _set_aside(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        first = file.read(len(_FIRST_BYTES)) if regular else b""
    if not regular or first not in {b"", _FIRST_BYTES}:
        raise RecordingError(f"{path}: file exists and is not a trace; choose another name")
    Path(path).replace(path + ASIDE)
