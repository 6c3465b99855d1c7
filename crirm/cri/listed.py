"""Lists of containers and pods, read without messages, since a list of 1500 would take seconds.

Only the required fields are read: most users of a list need ids and states, which saves 17 us per item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from crirm.cri import numbers
from crirm.cri.message import Message
from crirm.cri.wire import WireType, short_bounds
from crirm.model.annotations import kept
from crirm.model.qos import QoSClass
from crirm.model.workload import ContainerId, ContainerState, Pod, PodId

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATES: Final = {
    numbers.ContainerState.CONTAINER_CREATED: ContainerState.CREATED,
    numbers.ContainerState.CONTAINER_RUNNING: ContainerState.RUNNING,
    numbers.ContainerState.CONTAINER_EXITED: ContainerState.EXITED,
}  # all others, known or not, count as created: they hold what they were given
_CONTAINERS: Final = numbers.ListContainersResponse.containers
_ID: Final = numbers.Container.id
_POD: Final = numbers.Container.pod_sandbox_id
_METADATA: Final = numbers.Container.metadata
_STATE: Final = numbers.Container.state
_CREATED_AT: Final = numbers.Container.created_at
_LABELS: Final = numbers.Container.labels
_ANNOTATIONS: Final = numbers.Container.annotations
_NAME: Final = numbers.ContainerMetadata.name
_ATTEMPT: Final = numbers.ContainerMetadata.attempt
_ID_TAG: Final = _ID << 3 | WireType.BYTES
_STATE_TAG: Final = _STATE << 3 | WireType.VARINT


@attrs.frozen
class Listed:
    """One item of a ListContainersResponse."""

    id: ContainerId
    pod: PodId
    name: str
    attempt: int
    state: ContainerState
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    created_at_ns: int


@attrs.frozen
class Seen:
    """The same, as far as most users need it.

    Args:
        id: of the container.
        state: of the container.
        item: the bytes of the whole item.
    """

    id: ContainerId
    state: ContainerState
    item: bytes = attrs.field(repr=False)

    @property
    def whole(self) -> Listed:
        """The whole item.

        Raises:
            MalformedError: it is malformed.
        """
        item = Message(self.item)
        metadata = item.message(_METADATA)
        return Listed(
            id=ContainerId(item.text(_ID)),
            pod=PodId(item.text(_POD)),
            name=metadata.text(_NAME),
            attempt=metadata.number(_ATTEMPT),
            state=_state(item.number(_STATE)),
            labels=item.mapping(_LABELS),
            annotations=kept(item.mapping(_ANNOTATIONS)),
            created_at_ns=item.number(_CREATED_AT),
        )


def _state(value: int) -> ContainerState:
    return _STATES.get(value, ContainerState.CREATED)


def seen_containers(answer: bytes) -> list[Seen]:
    """Read ids and states of a ListContainersResponse.

    Raises:
        MalformedError: it is malformed.
    """
    return [_seen(item) for item in Message(answer).raws(_CONTAINERS)]


def listed_containers(answer: bytes) -> list[Listed]:
    """Read all of a ListContainersResponse.

    Raises:
        MalformedError: it is malformed.
    """
    return [seen.whole for seen in seen_containers(answer)]


def _seen(item: bytes) -> Seen:
    found = _in_order(item)
    if found is None:
        message = Message(item)
        return Seen(ContainerId(message.text(_ID)), _state(message.number(_STATE)), item)
    return Seen(ContainerId(found[0]), _state(found[1]), item)


def _in_order(item: bytes) -> tuple[str, int] | None:
    """Return id and state of an *item* whose fields are in numerical order, as encoders write them.

    Returns:
        None if they are not, or the item is unusual in another way.
    """
    size = len(item)
    bounds = short_bounds(item, 0) if size and item[0] == _ID_TAG else None
    if bounds is None:
        return None
    position, state = bounds[1], 0
    while position < size and item[position] < _STATE_TAG:
        if item[position] == _ID_TAG or (skipped := short_bounds(item, position)) is None:
            return None
        position = skipped[1]
    if position + 1 < size and item[position] == _STATE_TAG:
        state, position = item[position + 1], position + 2
        if state >= 0x80 or (position < size and item[position] <= _STATE_TAG):
            return None
    return item[bounds[0] : bounds[1]].decode("utf-8", "replace"), state


def listed_pods(answer: bytes) -> list[Pod]:
    """Read a ListPodSandboxResponse; it does not tell cgroups, so the QoS class is still open (BestEffort)."""
    items = Message(answer).messages(numbers.ListPodSandboxResponse.items)
    return [_listed_pod(item, numbers.PodSandbox) for item in items]


def pod_status(answer: bytes) -> Pod:
    """Read the pod of a PodSandboxStatusResponse, as from a list; only the verbose info tells its cgroup."""
    return _listed_pod(Message(answer).message(numbers.PodSandboxStatusResponse.status), numbers.PodSandboxStatus)


def _listed_pod(item: Message, cls: type[numbers.PodSandbox | numbers.PodSandboxStatus]) -> Pod:
    metadata = item.message(cls.metadata)
    return Pod(
        id=PodId(item.text(cls.id)),
        uid=metadata.text(numbers.PodSandboxMetadata.uid),
        name=metadata.text(numbers.PodSandboxMetadata.name),
        namespace=metadata.text(numbers.PodSandboxMetadata.namespace),
        qos=QoSClass.BEST_EFFORT,
        labels=item.mapping(cls.labels),
        annotations=kept(item.mapping(cls.annotations)),
    )
