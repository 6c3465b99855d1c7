"""The identity and initial content of the embedded runtime."""

from __future__ import annotations

import enum

import attrs

from crirm import __version__

V1 = "runtime.v1"
V1ALPHA2 = "runtime.v1alpha2"


class Api(enum.Enum):
    """Which versions of CRI are served."""

    V1 = "v1"
    V1ALPHA2 = "v1alpha2"
    BOTH = "both"

    @property
    def packages(self) -> tuple[str, ...]:
        """The protobuf packages that are served."""
        return {Api.V1: (V1,), Api.V1ALPHA2: (V1ALPHA2,), Api.BOTH: (V1, V1ALPHA2)}[self]


@attrs.frozen
class SimSettings:
    """All of it has a default that suits a test.

    Attributes:
        runtime_name: in the answer to Version; crirm's gate lets names pass that start with ``crirm-sim``. Empty for
            one that tells what kind of runtime it is.
        one_event_channel: whether each event goes to one subscriber only, as in containerd 1.7.
        stream_chunk: how many items one message of a ``Stream*`` answer holds, at least 1.
        pods, containers_per_pod: made before the first call, the containers running.
        annotation_bytes: size of an annotation that each of those containers has; 0 for none.
    """

    runtime_name: str = ""
    runtime_version: str = __version__
    api: Api = Api.BOTH
    one_event_channel: bool = False
    stream_chunk: int = 50
    pods: int = 0
    containers_per_pod: int = 1
    annotation_bytes: int = 0

    @property
    def name(self) -> str:
        """What Version calls it; crirm subscribes to events only where the name promises them to everybody."""
        return self.runtime_name or ("crirm-sim-one-channel" if self.one_event_channel else "crirm-sim")
