"""Which runtime a call goes to, under which name, and what is said when it cannot go anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
from grpclib.const import Status

from crirm.cri.methods import IMAGE_SERVICE, PACKAGES, RUNTIME_SERVICE, bridged, split
from crirm.logs import get_logger
from crirm.rpc.server import Refusal, Route

if TYPE_CHECKING:
    from crirm.daemon.relay.link import Link
    from crirm.rpc.held import Interceptor
    from crirm.rpc.tap import Outcome

log = get_logger("relay")

IMAGES_NOT_SERVED = Refusal(
    Status.UNIMPLEMENTED,
    "crirm does not serve images (--image-socket -); point the kubelet's image endpoint at the runtime",
)
# Streams that go on until one side goes away: they cannot be waited for when crirm stops.
ENDLESS_METHODS = frozenset({"GetContainerEvents"})


class TakesPart(Protocol):
    """The half of the daemon that decides, as far as the router needs it."""

    def participant(self, method: str) -> Interceptor | None:
        """Return who takes part in a call of the RuntimeService's *method*; None when nobody does."""

    def observed(self, method: str, answer: bytes) -> None:
        """Take note of what the runtime answers to a call in which nobody takes part."""


class KnowsWhoTakesPart(Protocol):
    """What knows who decides."""

    @property
    def node(self) -> TakesPart | None:
        """Takes part in calls that matter for placement; None when nothing is placed."""


@attrs.frozen
class Nobody:
    """A daemon that only relays."""

    node: None = None


@attrs.define
class Relay:
    """The router of calls.

    Args:
        runtime: where everything goes that is not an image call.
        images: where image calls go; None when they are not served.
        decider: knows who decides.
    """

    runtime: Link
    images: Link | None
    decider: KnowsWhoTakesPart = Nobody()

    def route(self, path: bytes) -> Route | Refusal:
        """Decide about a call by its *path*; see ``rpc.server.Served``."""
        link = self.images if split(path.decode("ascii", "replace")).service == IMAGE_SERVICE else self.runtime
        if link is None:
            return IMAGES_NOT_SERVED
        if link.info is None:
            link.kick()
            return Refusal(
                Status.UNAVAILABLE,
                f"the container runtime at {link.pool.socket_path} does not answer; crirm goes on trying to reach it",
            )
        bridged_path = self._bridged(path, link.info.api_versions)
        return Route(link.pool, bridged_path, self._participant(path), endless=is_endless(path))

    def _participant(self, path: bytes) -> Interceptor | None:
        node = self.decider.node
        if node is None:
            return None
        name = split(path.decode("ascii", "replace"))
        if name.service != RUNTIME_SERVICE or name.package not in PACKAGES:
            return None
        return node.participant(name.method)

    def _bridged(self, path: bytes, api_versions: tuple[str, ...]) -> bytes:
        """Return *path* in a version of CRI that the runtime has; other services' paths stay as they are."""
        text = path.decode("ascii", "replace")
        package = split(text).package
        if package not in PACKAGES or package.removeprefix("runtime.") in api_versions:
            return path
        return bridged(text, f"runtime.{api_versions[0]}").encode()

    def finished(self, path: bytes, outcome: Outcome) -> None:
        """Log how a call went, for those who debug ``relay``."""
        if not log.debug_on:
            return
        log.debug(
            "call is over",
            method=path.decode("ascii", "replace"),
            status=Status(outcome.status).name if outcome.status in _CODES else outcome.status,
            message=outcome.message,
            before_ms=round(outcome.latency.before_s * 1e3, 3),
            runtime_ms=round(outcome.latency.runtime_s * 1e3, 3),
            after_ms=round(outcome.latency.after_s * 1e3, 3),
        )


_CODES = frozenset(s.value for s in Status)


def is_endless(path: bytes) -> bool:
    """Tell whether the call of *path* never ends by itself."""
    return split(path.decode("ascii", "replace")).method in ENDLESS_METHODS
