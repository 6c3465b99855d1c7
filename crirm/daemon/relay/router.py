"""The route of a call: its runtime and path, or the refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
from grpclib.const import Status

from crirm.cri.methods import IMAGE_SERVICE, PACKAGES, RUNTIME_SERVICE, bridged, split
from crirm.logs import get_logger
from crirm.rpc.calls import Refusal
from crirm.rpc.server import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.daemon.relay.link import Link
    from crirm.rpc.calls import Handler
    from crirm.rpc.client import Pool
    from crirm.rpc.tap import CallTap, Outcome

log = get_logger("relay")

IMAGES_NOT_SERVED = Refusal(
    Status.UNIMPLEMENTED,
    "crirm does not serve images (--image-socket -); point the kubelet's image endpoint at the runtime",
)
# Streams without an end of their own: crirm does not wait for them when it stops.
ENDLESS_METHODS = frozenset({"GetContainerEvents"})


class TakesPart(Protocol):
    """The deciding half of the daemon, as far as the router needs it."""

    def handler(self, method: str) -> Handler | None:
        """Return the handler of a new call of the RuntimeService's *method*; None if it is not held."""

    def observer(self, method: str) -> CallTap | None:
        """Return the observer of such a call; None if it is not observed."""


@attrs.define
class Relay:
    """The router of calls.

    Args:
        runtime: for everything but image calls.
        images: for image calls; None if they are not served.
        deciding: returns the deciding node; None while nothing is placed.
    """

    runtime: Link
    images: Link | None
    deciding: Callable[[], TakesPart | None] = lambda: None

    def route(self, path: bytes) -> Route | Refusal:
        """Return the route of a call by its *path*; see ``rpc.server.Served``."""
        link = self.images if split(path.decode("ascii", "replace")).service == IMAGE_SERVICE else self.runtime
        if link is None:
            return IMAGES_NOT_SERVED
        if link.info is None:
            link.kick()
            return Refusal(
                Status.UNAVAILABLE,
                f"container runtime at {link.pool.socket_path} is not reachable; crirm keeps trying",
            )
        name = split(path.decode("ascii", "replace"))
        bridged_path = self._bridged(path, link.info.api_versions)
        node = self.deciding()
        if node is None or name.service != RUNTIME_SERVICE or name.package not in PACKAGES:
            return Route(link.pool, bridged_path)
        handler = node.handler(name.method)
        observer = node.observer(name.method) if handler is None else None
        return Route(link.pool, bridged_path, handler, observer)

    def reachable(self) -> Pool | None:
        """Return the pool of the runtime, None while it is away."""
        return self.runtime.pool if self.runtime.info is not None else None

    def tells(self) -> bool:
        """Whether ends of calls are logged."""
        return log.debug_on

    def _bridged(self, path: bytes, api_versions: tuple[str, ...]) -> bytes:
        """Return *path* in a CRI version that the runtime supports; other services' paths are unchanged."""
        text = path.decode("ascii", "replace")
        package = split(text).package
        if package not in PACKAGES or package.removeprefix("runtime.") in api_versions:
            return path
        return bridged(text, f"runtime.{api_versions[0]}").encode()

    def finished(self, path: bytes, outcome: Outcome) -> None:
        """Log the end of a call, if ``relay`` is debugged."""
        if not log.debug_on:
            return
        log.debug(
            "call ended",
            method=path.decode("ascii", "replace"),
            status=Status(outcome.status).name if outcome.status in _CODES else outcome.status,
            message=outcome.message,
            before_ms=round(outcome.latency.before_s * 1e3, 3),
            runtime_ms=round(outcome.latency.runtime_s * 1e3, 3),
            after_ms=round(outcome.latency.after_s * 1e3, 3),
        )


_CODES = frozenset(s.value for s in Status)


def is_endless(path: bytes) -> bool:
    """Whether the call of *path* never ends by itself."""
    return split(path.decode("ascii", "replace")).method in ENDLESS_METHODS
