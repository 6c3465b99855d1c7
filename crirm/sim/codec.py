"""The codec of status details: no encoding, as for messages (``rpc.bytes_codec``)."""

from __future__ import annotations

from typing import Any

from grpclib.encoding.base import StatusDetailsCodecBase


class BytesDetailsCodec(StatusDetailsCodecBase):
    """Passes the content of ``grpc-status-details-bin`` through."""

    def encode(self, status: Any, message: str | None, details: Any) -> bytes:  # noqa: ARG002 - grpclib's interface
        """Return *details*, which is bytes."""
        return bytes(details)

    def decode(self, status: Any, message: str | None, data: bytes) -> Any:  # noqa: ARG002 - grpclib's interface
        """Return *data*."""
        return data
