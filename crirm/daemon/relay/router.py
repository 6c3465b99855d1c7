"""Which runtime a call goes to, under which name, and what is said when it cannot go anywhere."""

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
# Streams that go on until one side goes away: they cannot be waited for when crirm stops.
ENDLESS_METHODS = frozenset({"GetContainerEvents"})


class TakesPart(Protocol):
    """The half of the daemon that decides, as far as the router needs it."""

    def handler(self, method: str) -> Handler | None:
        """Return who decides about a call of the RuntimeService's *method* that begins now; None when nobody does."""

    def observer(self, method: str) -> CallTap | None:
        """Return who takes note of such a call, which passes; None when nobody does."""


@attrs.define
class Relay:
    """The router of calls.

    Args:
        runtime: where everything goes that is not an image call.
        images: where image calls go; None when they are not served.
        deciding: returns who decides right now; None when nothing is placed.
    """

    runtime: Link
    images: Link | None
    deciding: Callable[[], TakesPart | None] = lambda: None

    def route(self, path: bytes) -> Route | Refusal:
        """Decide about a call by its *path*; see ``rpc.server.Served``."""
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
        """Tell whether somebody reads how calls went."""
        return log.debug_on

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
    """Tell whether the call of *path* never ends by itself."""
    return split(path.decode("ascii", "replace")).method in ENDLESS_METHODS
