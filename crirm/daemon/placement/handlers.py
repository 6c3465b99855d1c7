"""Which calls are held, and their handlers; see ``rpc.calls``. Others pass; some are observed, see ``observers``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from crirm.daemon.placement import creation, resize, start, status

if TYPE_CHECKING:
    from crirm.daemon.placement.node_api import Node
    from crirm.rpc.calls import Handler

_HANDLERS: Final = {
    creation.METHOD: creation.create_container,
    resize.METHOD: resize.update_container_resources,
    start.METHOD: start.start_container,
    status.METHOD: status.container_status,
}


def handler(node: Node, method: str) -> Handler | None:
    """Return the handler of a new call of the RuntimeService's *method*; None if it passes.

    A start is held only while updates are unconfirmed, since otherwise nothing can be in its way.
    """
    handle = _HANDLERS.get(method)
    if handle is None or (method == start.METHOD and node.settled):
        return None
    return partial(handle, node)
