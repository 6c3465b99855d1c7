"""Two HTTP/2 connections spliced into one: a caller's frames pass to the runtime unchanged, and back.

A state machine without I/O: bytes of either side go in (`caller`, `runtime`), bytes for either side come out
(`to_caller`, `to_runtime`), and `Calls` is asked about each new call. Stream numbers are the same on both sides, and so
are settings, windows and back-pressure: the two peers negotiate them with each other. crirm does four things:

*Header blocks of the caller* are decoded, since somebody has to decide where each call goes, and written anew as plain
literals. That leaves no table to keep in step, so a call can be kept from the runtime. Blocks of the runtime pass as
they are; they are decoded beside that for the status of calls. What crirm itself says to the caller are literals too.

*Calls kept* from the runtime (held, refused) share the caller's connection with those that pass. The runtime
never sees the bytes of their requests, so crirm gives the caller its window back for them. And it never sees those of
their replies, which use up the caller's window for the connection: crirm keeps that much of the next WINDOW_UPDATE to
itself, and keeps DATA of the runtime back that would not fit (``caller_window``).

*Pings of the caller* are answered here. A caller sends one to measure the connection when it gets a reply; grpc-go
servers close a connection that pings them while they reply nothing, and of the replies to kept calls they know nothing.

*A header block is one piece* (RFC 9113 section 4.3): nothing of crirm's goes between its frames.

The rules, in ``caller_frames`` and ``runtime_frames``:

    frame          of the caller                       of the runtime
    HEADERS        begins a call: asks `Calls`         passes; read for the status
    CONTINUATION   more of a block                     passes; likewise
    DATA           passes; kept calls: handed over     passes while the caller has window, else waits
    RST_STREAM     passes; kept calls: handed over     passes; ends the call
    WINDOW_UPDATE  passes less the debt; kept: noted   passes
    SETTINGS       passes; frames stay at 16 KiB       passes; likewise; ACK: see `caller_settings`
    PING           answered here; ACK passes           passes
    GOAWAY         passes                              passes, with no kept call left out; ends unseen calls
    PRIORITY       dropped: deprecated, no effect      dropped
    PUSH_PROMISE   error                               error: gRPC pushes nothing
    others         dropped: extensions are per hop     dropped

What a caller may make crirm hold is bounded: half a frame by 16 KiB, since neither side is told that the other takes
larger ones; half a header block by `frame_reader.MAX_BLOCK_BYTES`; DATA of the runtime that waits by the debt; what
waits of replies to kept calls by the caller's ``budget``. What brings no call forward is counted (``floods``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.rpc.caller_frames import CallerFrames
from crirm.rpc.runtime_frames import RuntimeFrames
from crirm.rpc.splice_state import SpliceState

if TYPE_CHECKING:
    from crirm.rpc.splice_state import Calls


class Splice(SpliceState):
    """See the module.

    Args:
        calls: decides about calls.
    """

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self.caller = CallerFrames(self)
        self.runtime = RuntimeFrames(self)
