"""What a container runtime says of itself."""

from __future__ import annotations

import attrs


@attrs.frozen
class RuntimeInfo:
    """The answer of a runtime's ``Version``, and what it was seen to serve."""

    name: str | None  # "containerd", "cri-o"; None: only its image service was asked, which does not say
    version: str | None  # as the runtime writes it, for example "v2.1.4"
    api_versions: tuple[str, ...]  # of "v1" and "v1alpha2", the newest first
