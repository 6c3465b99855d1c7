"""StartContainer: held until the container's CPUs are clear of others, if necessary."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from crirm.cri import slice as cri
from crirm.cri.message import MalformedError
from crirm.cri.reading import read
from crirm.daemon.placement.answers import noted, succeeded
from crirm.model.events import ContainerStarted
from crirm.model.workload import ContainerState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.daemon.placement.node_api import Node
    from crirm.model.workload import ContainerKey
    from crirm.rpc.calls import Answer, HeldCall

METHOD: Final = "StartContainer"


@attrs.frozen
class Starting:
    """The container that is being started.

    Args:
        id: as in the request, None if unreadable.
        key: of the container; None: not placed, since it was created bypassing crirm or had exited.
    """

    id: str | None
    key: ContainerKey | None


UNKNOWN: Final = Starting(None, None)


async def start_container(node: Node, call: HeldCall) -> None:
    """Forward the call when the runtime has confirmed what was taken from others, or is too slow."""
    one = who_starts(node, call.message)
    if one.key is not None:
        await node.clear(one.key)
    with _starting(node, one.key):
        answer = await call.forward(call.message)
        noted(METHOD, partial(note_start, node, one), answer)


@contextmanager
def _starting(node: Node, key: ContainerKey | None) -> Iterator[None]:
    """Hold back updates of the container while the block starts it."""
    if key is None:
        yield
        return
    node.begin_start(key)
    try:
        yield
    finally:
        node.started(key)


def who_starts(node: Node, message: bytes) -> Starting:
    """Return the container of a StartContainerRequest; the runtime refuses a malformed one itself."""
    try:
        id_ = read(cri.StartContainerRequest, message).container_id
    except MalformedError:
        return UNKNOWN
    key = node.intake.key_of(id_)
    known = node.engine.state.workload.containers.get(key) if key else None
    return Starting(id_, None if known is None or known.state is ContainerState.EXITED else key)


def note_start(node: Node, one: Starting, answer: Answer) -> None:
    """Note that it runs."""
    if not answer.certain or (one.key is None and succeeded(answer)):
        node.intake.doubt()
    key = node.intake.key_of(one.id) if one.id else None
    if key is not None and succeeded(answer):
        node.engine.apply(ContainerStarted(key))
