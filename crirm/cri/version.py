"""The Version call, which identifies a runtime."""

from __future__ import annotations

from typing import Final

import attrs

from crirm.cri import numbers
from crirm.cri.message import Message, edited

# Accepted by every known runtime; the field is the kubelet's own version, which none of them reads.
_CLIENT_VERSION: Final = "0.1.0"
_NAME: Final = numbers.VersionResponse.runtime_name
_VERSION: Final = numbers.VersionResponse.runtime_version


@attrs.frozen
class RuntimeVersion:
    """The identity of a runtime."""

    name: str  # containerd, cri-o
    version: str


def encode_version_request() -> bytes:
    """Return an encoded VersionRequest."""
    return edited(b"", (), {numbers.VersionRequest.version: _CLIENT_VERSION})


def decode_version(message: bytes) -> RuntimeVersion:
    """Read an encoded VersionResponse.

    Raises:
        ValueError: the bytes are malformed, or name no runtime.
    """
    try:
        told = Message(message)
        name, version = told.raw(_NAME).decode(), told.raw(_VERSION).decode()
    except ValueError as error:  # includes MalformedError and invalid UTF-8
        raise ValueError(f"invalid VersionResponse: {error}") from error
    if not name:
        raise ValueError("VersionResponse without runtime_name")
    return RuntimeVersion(name, version)
