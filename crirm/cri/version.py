"""The Version call: how a runtime says what it is."""

from __future__ import annotations

import attrs

from crirm.cri import slice as cri
from crirm.cri.fields import number
from crirm.cri.message import MalformedError, edited
from crirm.cri.reading import read

# What every known runtime has answered to; the field is the kubelet's own version, which none of them reads.
_CLIENT_VERSION = "0.1.0"


@attrs.frozen
class RuntimeVersion:
    """What a runtime says of itself."""

    name: str  # containerd, cri-o
    version: str


def encode_version_request() -> bytes:
    """Return an encoded VersionRequest."""
    return edited(b"", (), {number(cri.VersionRequest, "version"): _CLIENT_VERSION})


def decode_version(message: bytes) -> RuntimeVersion:
    """Read an encoded VersionResponse.

    Raises:
        ValueError: the bytes are none, or name no runtime.
    """
    try:
        response = read(cri.VersionResponse, message)
    except MalformedError as error:
        raise ValueError(f"no VersionResponse: {error}") from error
    if not response.runtime_name:
        raise ValueError("a VersionResponse without runtime_name")
    return RuntimeVersion(response.runtime_name, response.runtime_version)
