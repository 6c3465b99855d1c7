"""Traces of a node that runs: every event with what was decided about it, for ``crirm replay``.

Taking note of an event is putting it in a queue; a thread turns queues into lines and writes them. Nothing waits for
that, and what cannot be written ends the trace, never the node. A trace with a hole would be worth nothing, so it ends
as well when the disk is too slow, and when it has become as large as it may.
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
WAITING: Final = 20_000  # events while the disk takes none
GATHER_S: Final = 0.2  # what happens meanwhile is written together; kill -9 loses that much
LAST_S: Final = 3.0  # for what is left at the end
ASIDE: Final = ".before"
FILE_MODE: Final = 0o600
_FIRST_BYTES: Final = b'{"trace":"crirm"'

STOPPED: Final = "recording was stopped"
MACHINE: Final = "the machine has changed; another trace begins with what it is now"
ENDED: Final = "crirm has ended, or places nothing any more"
BROKEN: Final = "it cannot be written"
FULL: Final = "the file has reached the greatest size that a trace may have"
TOO_SLOW: Final = "events came faster than the disk took them"


class RecordingError(CrirmError):
    """A trace cannot be begun or ended."""


@attrs.frozen
class _Moment:
    """All that is needed to tell what was there at one moment."""

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
    """A trace that is being written; everything but `waiting` and `over` belongs to whichever thread writes."""

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
        """Write what is waiting; return why the trace ends with that, if it does.

        Raises:
            OSError: the disk does not take them.
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
    """Records what an engine decides, while somebody wants that.

    Args:
        engine: decides.
        topology: the machine.
        clock: wall-clock seconds.
        limit_bytes: how large a trace may become.
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
        """The trace that is being written; empty: none is."""
        return self._trace.path if self._trace is not None else ""

    async def start(self, path: str) -> None:
        """Begin a trace in the file *path*; a trace that is there already is set aside.

        Raises:
            RecordingError: there is one under way, or the file cannot be made.
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
        """End the trace, and return its file once all of it is written.

        Raises:
            RecordingError: there is none.
        """
        trace = self._trace
        if trace is None:
            raise RecordingError("nothing is being recorded; `crirm record start FILE` begins a trace")
        self._end(STOPPED)
        await trace.over.wait()
        return trace.path

    def leave_machine(self, topology: Topology) -> Callable[[], Awaitable[None]] | None:
        """End the trace, if there is one, since a trace is about one machine; later ones are about *topology*.

        Returns:
            what begins another in its place; None where nothing was recorded.
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
        """Write until cancelled, and then what is left."""
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
            raise RecordingError(f"{self.file}: is being recorded already; `crirm record stop` ends that")

    def _now(self) -> _Moment:
        return _Moment(self._clock(), self._engine.policy, self._engine.choice, self._engine.state)

    def decided(self, event: Event, before: State, decision: Decision) -> None:
        """Record a decision."""
        if self._trace is not None:
            self._put(self._trace, _Happened(self._clock(), event, before, decision))

    def activated(self, before: State, plan: Plan) -> None:  # noqa: ARG002 - the interface
        """Record another configuration."""
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
        except Exception:  # a trace is never worth the node
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
    log.error("cannot write the trace; it ends here", file=trace.path, reason=error.strerror)


def _close(trace: _Trace) -> None:
    try:
        trace.file.close()
    except OSError as error:
        log.warning("last bytes of the trace may be missing", file=trace.path, reason=error.strerror)


def open_trace(path: str) -> IO[bytes]:
    """Make the file *path*, for our own user only; a trace that is there already is set aside.

    Raises:
        RecordingError: it is not an absolute path, there is another file, or none can be made.
    """
    if not path.startswith("/"):
        raise RecordingError(f"{path}: the daemon has no directory of its own; write the whole path")
    try:
        if os.path.lexists(path):
            _set_aside(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, FILE_MODE), "wb")
    except OSError as error:
        raise RecordingError(f"{path}: a trace cannot be made here: {error.strerror}") from error


def _set_aside(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        first = file.read(len(_FIRST_BYTES)) if regular else b""
    if not regular or first not in {b"", _FIRST_BYTES}:
        raise RecordingError(f"{path}: there is a file that is no trace; name another")
    Path(path).replace(path + ASIDE)
