"""A transport that sends everything written in one turn of the event loop with one system call.

grpclib writes headers, message and trailers of an answer apart; on the machines this was measured on a system call
costs more than encoding all three.
"""

from __future__ import annotations

from typing import Any

from crirm.rpc import bridge

AT_ONCE_BYTES = 1 << 16
"""From here on what is gathered is sent at once, so that the transport's own limits hold writers back."""


class GatheredTransport:
    """Wraps an asyncio transport; has what grpclib uses of one."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._gathered = bytearray()
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.abort = transport.abort

    def write(self, data: bytes) -> None:
        """Send *data* soon, in order."""
        if not self._gathered:
            bridge.loop().call_soon(self._send)
        self._gathered += data
        if len(self._gathered) >= AT_ONCE_BYTES:
            self._send()

    def close(self) -> None:
        """Send pending data, then close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            if not self._transport.is_closing():
                self._transport.write(gathered)
