"""The identity of a container runtime."""

from __future__ import annotations

import attrs


@attrs.frozen
class RuntimeInfo:
    """The answer of a runtime's ``Version``, and the services that it has."""

    name: str | None  # "containerd", "cri-o"; None for an image service, which has no Version
    version: str | None  # as the runtime writes it, for example "v2.1.4"
    api_versions: tuple[str, ...]  # of "v1" and "v1alpha2", the newest first
