"""Exited containers, read from relayed replies.

The kubelet asks for a list of all containers every second, and one of 1500 takes `Message` some 80 ms. So only what can
matter is decoded: items of containers that are believed running, and of these only those that contain the bytes of
"exited" at all. Malformed data is skipped: these replies are for the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from crirm.cri import numbers
from crirm.cri.message import MalformedError, Message, edited
from crirm.cri.wire import Malformed, WireType, walk

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

EXITED: Final = numbers.ContainerState.CONTAINER_EXITED
_ID: Final = numbers.Container.id
_ID_START: Final = bytes(
    (_ID << 3 | WireType.BYTES,)
)  # encoders that write fields in numerical order begin an item with its id


@attrs.frozen
class _Shape:
    """Where the replies of a method contain containers.

    Args:
        items: the field of the containers, repeated or not.
        state: the field of an item with the state.
    """

    items: int
    state: int

    @property
    def exited(self) -> bytes:
        """Bytes that occur in every exited item."""
        return bytes((self.state << 3 | WireType.VARINT, EXITED))


_SHAPES: Final = {
    "ListContainers": _Shape(numbers.ListContainersResponse.containers, numbers.Container.state),
    "StreamContainers": _Shape(numbers.StreamContainersResponse.containers, numbers.Container.state),
    "ContainerStatus": _Shape(numbers.ContainerStatusResponse.status, numbers.ContainerStatus.state),
    "PodSandboxStatus": _Shape(numbers.PodSandboxStatusResponse.containers_statuses, numbers.ContainerStatus.state),
    "GetContainerEvents": _Shape(numbers.ContainerEventResponse.containers_statuses, numbers.ContainerStatus.state),
}
TELLING: Final = frozenset(_SHAPES)
"""Methods of the RuntimeService whose replies contain states of containers."""
LIST_EXITED: Final = edited(
    b"",
    (numbers.ListContainersRequest.filter, numbers.ContainerFilter.state),
    {numbers.ContainerStateValue.state: EXITED},
)
"""A ListContainersRequest for exited containers: a filter by state."""


def ended_in(method: str, answer: bytes, wanted: Container[bytes]) -> Iterator[bytes | None]:
    """Yield the id, out of *wanted*, of each container that *answer* says has exited, and None for each other item.

    Args:
        method: one of `TELLING`.
        answer: one whole message; malformed data ends the iteration.
        wanted: ids of containers; others cost almost nothing.
    """
    shape = _SHAPES[method]
    exited = shape.exited
    if exited not in answer:
        return
    for field in walk(answer):
        if isinstance(field, Malformed):
            return
        item = field.value
        if field.number != shape.items or not isinstance(item, bytes):
            continue
        yield _ended(item, shape, wanted) if _id(item) in wanted and exited in item else None


def _id(item: bytes) -> bytes:
    """Return the id with which *item* begins; empty if it begins with something else."""
    return item[2 : 2 + item[1]] if item[:1] == _ID_START and len(item) > 1 else b""


def _ended(item: bytes, shape: _Shape, wanted: Container[bytes]) -> bytes | None:
    """Return the id of *item* if it has exited, from a complete decoding."""
    try:
        message = Message(item)
        container = message.raw(_ID)
        return container if message.number(shape.state) == EXITED and container in wanted else None
    except MalformedError:
        return None
