"""The Version call: how a runtime says what it is."""

from __future__ import annotations

import attrs

from crirm.cri.message import Message, edited

# What every known runtime has answered to; the field is the kubelet's own version, which none of them reads.
_CLIENT_VERSION = "0.1.0"
# Fields of VersionRequest and VersionResponse; the first call of every daemon must not wait for generated code.
_VERSION = 1
_RUNTIME_NAME, _RUNTIME_VERSION = 2, 3


@attrs.frozen
class RuntimeVersion:
    """What a runtime says of itself."""

    name: str  # containerd, cri-o
    version: str


def encode_version_request() -> bytes:
    """Return an encoded VersionRequest."""
    return edited(b"", (), {_VERSION: _CLIENT_VERSION})


def decode_version(message: bytes) -> RuntimeVersion:
    """Read an encoded VersionResponse.

    Raises:
        ValueError: the bytes are none, or name no runtime.
    """
    try:
        response = Message(message)
        name, version = response.raw(_RUNTIME_NAME).decode(), response.raw(_RUNTIME_VERSION).decode()
    except ValueError as error:
        raise ValueError(f"no VersionResponse: {error}") from error
    if not name:
        raise ValueError("a VersionResponse without runtime_name")
    return RuntimeVersion(name, version)
