"""The codec of a grpclib server whose handlers take and return bytes: no encoding."""

from __future__ import annotations

from typing import Any

from grpclib.encoding.base import CodecBase


class BytesCodec(CodecBase):
    """Passes bytes through, so that a reply can be encoded once and sent often, or need not be protobuf."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002 - grpclib's interface
        """Return *message*, which is bytes."""
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:  # noqa: ARG002 - grpclib's interface
        """Return *data*."""
        return data
