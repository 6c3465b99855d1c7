"""The text of the message dump: requests, replies and ends of calls, for log and file.

The lines are those of CRI Resource Manager: ``pod Method => (kind) REQUEST message`` and ``pod Method <= (kind) REPLY
message``, a message of several lines as a block below; in the file a request has the time before each line, a reply the
seconds since the call began.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, assert_never

import attrs
from grpclib.const import Status

from crirm.cri.describe import describe
from crirm.cri.dump_rules import Level
from crirm.cri.qualifier import qualifier
from crirm.errors import visible
from crirm.logs import Block
from crirm.logs.render import INDENT
from crirm.rpc.compression import Packed, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crirm.cri.methods import Method

CODES: Final = {status.value: status.name for status in Status}
REQUEST_STAMP: Final = "%Y-%b-%d %H:%M:%S"
STAMP_WIDTH: Final = len("2006-Jan-02 15:04:05.000")
PASSTHROUGH: Final = "passthrough"
INTERCEPTED: Final = "intercepted"
RELAYED: Final = "relayed"
MOST_UNPACKED_BYTES: Final = 16 << 20  # the limit of kubelet and containerd; larger messages are shown compressed
MOST_READ_BYTES: Final = 64 << 10  # of a request, on the event loop: the name is within
LINES_BETWEEN_PAUSES: Final = 30  # about 0.2 ms of work


@attrs.frozen
class MethodDump:
    """How the calls of one method are shown."""

    name: str  # without package and service
    known: Method | None  # None: not in crirm's table of methods
    level: Level
    kind: str  # passthrough, intercepted or relayed


@attrs.define
class CallInfo:
    """One dumped call."""

    plan: MethodDump
    began_s: float  # of the monotonic clock
    request: bytes | None = None  # until `who` has been worked out
    _qualifier: str = attrs.field(default="", init=False)

    def qualifier(self) -> str:
        """Return what the call is about; worked out on first use, so not on the event loop."""
        if self.request is not None:
            request = plain(self.request, MOST_UNPACKED_BYTES)
            self._qualifier = qualifier(self.plan.known, request) if self.plan.known else ""
            self.request = None
        return self._qualifier


@attrs.frozen
class RequestRecord:
    """A request came in."""

    call: CallInfo
    time_s: float  # since 1970
    message: bytes


@attrs.frozen
class Reply:
    """A reply came back, one of many where the method streams."""

    call: CallInfo
    after_s: float
    message: bytes


@attrs.frozen
class End:
    """A call is over."""

    call: CallInfo
    after_s: float
    status: int
    message: str
    replies: int


@attrs.frozen
class LeftOut:
    """The queue was full; this many records are not in the dump."""

    records: int


Record = RequestRecord | Reply | End | LeftOut


@attrs.frozen
class Text:
    """One formatted record."""

    stamp: str  # for the file only
    header: str
    block: Block | None
    failed: bool

    def for_file(self) -> str:
        """Return the complete lines for the dump file."""
        lines = [self.header]
        if self.block:
            lines += [f"{self.block.header}{INDENT}{line}" for line in self.block.text.split("\n")]
        return "".join(f"{self.stamp}{visible(line)}\n" for line in lines)


def needs_worker(record: Record) -> bool:
    """Whether formatting *record* is slow: it needs decoding or decompression, or is too large to find a name in."""
    match record:
        case RequestRecord():
            return True
        case Reply(call) | End(call):
            request = call.request
            if isinstance(record, Reply) and call.plan.level is Level.FULL:
                return True
            return request is not None and (isinstance(request, Packed) or len(request) > MOST_READ_BYTES)
        case LeftOut():
            return False
        case _:
            assert_never(record)


def text(record: Record, *, show_secrets: bool, pause: Callable[[], None]) -> Text | None:
    """Return *record* as text, or None if its level does not show it.

    Args:
        record: what happened.
        show_secrets: do not mask environment values and credentials.
        pause: called repeatedly within a long message.
    """
    match record:
        case LeftOut(records):
            return Text(_stamp(time.time()), f"{records} messages not dumped: they arrived too fast", None, failed=True)
        case RequestRecord(call, time_s, message):
            message = plain(message, MOST_UNPACKED_BYTES)
            body = describe(message, call.plan.known.request if call.plan.known else "", show_secrets=show_secrets)
            return _shown(_stamp(time_s), call, "=>", "REQUEST", _lines(body, pause))
        case Reply(call, after_s, message):
            if call.plan.level is not Level.FULL:
                return _shown(_delay(after_s), call, "<=", "REPLY", [])
            message = plain(message, MOST_UNPACKED_BYTES)
            body = describe(message, call.plan.known.reply if call.plan.known else "", show_secrets=show_secrets)
            return _shown(_delay(after_s), call, "<=", "REPLY", _lines(body, pause))
        case End():
            return _end(record)
        case _:
            assert_never(record)


def _end(end: End) -> Text | None:
    call, stamp = end.call, _delay(end.after_s)
    full = call.plan.level is Level.FULL
    if end.status != Status.OK.value:
        error = f"{CODES.get(end.status, f'code {end.status}')}: {end.message or 'no message'}"
        header = _header(call, "<=", "FAILED" if full else f"FAILED: {error}")
        failed = end.status != Status.UNIMPLEMENTED.value  # kubelets probe for methods of newer runtimes
        return Text(stamp, header, Block(_header(call, "<="), error) if full else None, failed=failed)
    if end.replies != 1 or call.plan.kind == RELAYED:
        return _shown(stamp, call, "<=", f"END, {end.replies} replies", [])
    return None if full else _shown(stamp, call, "<=", "REQUEST", [])


def _shown(stamp: str, call: CallInfo, arrow: str, what: str, lines: list[str]) -> Text:
    if len(lines) == 1:
        return Text(stamp, f"{_header(call, arrow, what)} {lines[0]}", None, failed=False)
    block = Block(_header(call, arrow), "\n".join(lines)) if lines else None
    return Text(stamp, _header(call, arrow, what), block, failed=False)


def _header(call: CallInfo, arrow: str, what: str = "") -> str:
    of = call.qualifier()
    qualified = f"{of} {call.plan.name}" if of else call.plan.name
    return f"{qualified} {arrow} ({call.plan.kind}) {what}" if what else f"{qualified} {arrow}"


def _lines(body: Iterator[str], pause: Callable[[], None]) -> list[str]:
    lines = []
    for line in body:
        lines.append(line)
        if not len(lines) % LINES_BETWEEN_PAUSES:
            pause()
    return lines


def _stamp(time_s: float) -> str:
    return f"[{time.strftime(REQUEST_STAMP, time.localtime(time_s))}.{int(time_s % 1 * 1000):03d}] "


def _delay(after_s: float) -> str:
    return f"[{f'+{after_s:.6f}':>{STAMP_WIDTH}}] "
