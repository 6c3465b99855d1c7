"""Observed calls: when one has ended, its request and reply become an event.

An unknown outcome, or unreadable messages, raise doubt: the runtime's lists are read.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from crirm.cri import slice as cri
from crirm.cri.decode import resources_if_there, sandbox_config
from crirm.cri.ended import TELLING
from crirm.cri.message import MalformedError
from crirm.cri.reading import read
from crirm.daemon.placement import start, status
from crirm.daemon.placement.answers import is_gone, noted, succeeded
from crirm.logs import get_logger
from crirm.model.events import ContainerExited, ContainerRemoved, PodAdded, PodRemoved, PodResized, PodStopped
from crirm.rpc.calls import Answer
from crirm.rpc.compression import Packed, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.daemon.placement.node_api import Node
    from crirm.daemon.placement.start import Starting
    from crirm.model.workload import ContainerKey
    from crirm.rpc.tap import CallTap, Outcome

    Note = Callable[[Node, bytes, Answer], None]  # of an answer with status OK or NOT_FOUND

log = get_logger("runtime")
CALLS_WATCHED: Final = 8  # calls at once, of each state-reporting method: a list is buffered until it is whole
MOST_UNPACKED_BYTES: Final = 256 << 10  # decompressed on the event loop in one go: less than a millisecond


# --- the event of each call --------------------------------------------------------------------------------


def _note_run_pod(node: Node, request: bytes, answer: Answer) -> None:
    if succeeded(answer):
        pod = read(cri.RunPodSandboxResponse, answer.message or b"").pod_sandbox_id
        if not pod:
            raise MalformedError("RunPodSandboxResponse without pod_sandbox_id")
        node.engine.apply(PodAdded(sandbox_config(read(cri.RunPodSandboxRequest, request).config, pod)))


def _note_stop_pod(node: Node, request: bytes, answer: Answer) -> None:
    del answer  # it is gone, also if the runtime does not know it
    node.engine.apply(PodStopped(node.intake.pod_of(read(cri.StopPodSandboxRequest, request).pod_sandbox_id)))


def _note_remove_pod(node: Node, request: bytes, answer: Answer) -> None:
    del answer
    node.engine.apply(PodRemoved(node.intake.pod_of(read(cri.RemovePodSandboxRequest, request).pod_sandbox_id)))


def _note_resize_pod(node: Node, request: bytes, answer: Answer) -> None:
    """The kubelet reports the new size of a resized pod; older runtimes have no such call."""
    if succeeded(answer):
        asked = read(cri.UpdatePodSandboxResourcesRequest, request)
        pod, overhead = node.intake.pod_of(asked.pod_sandbox_id), resources_if_there(asked.overhead)
        node.engine.apply(PodResized(pod, overhead, resources_if_there(asked.resources)))


def _note_stop(node: Node, request: bytes, answer: Answer) -> None:
    del answer
    if key := _ended(node, read(cri.StopContainerRequest, request).container_id):
        node.engine.apply(ContainerExited(key))


def _note_remove(node: Node, request: bytes, answer: Answer) -> None:
    del answer
    if key := _ended(node, read(cri.RemoveContainerRequest, request).container_id):
        node.engine.apply(ContainerRemoved(key))


def _ended(node: Node, container_id: str) -> ContainerKey | None:
    """Return which container is gone; a list in flight does not bring back an unknown one."""
    node.engine.touch((container_id,))
    return node.intake.key_of(container_id)


_NOTES: Final[dict[str, Note]] = {
    "RunPodSandbox": _note_run_pod,
    "StopPodSandbox": _note_stop_pod,
    "RemovePodSandbox": _note_remove_pod,
    "UpdatePodSandboxResources": _note_resize_pod,
    "StopContainer": _note_stop,
    "RemoveContainer": _note_remove,
}


# --- the taps ------------------------------------------------------------------------------------------------


@attrs.define
class Observed:
    """The tap of one call of a pod's life: stores its two messages, and processes them at its end.

    Args:
        node: is notified.
        method: of the RuntimeService.
        note: turns request and answer into an event.
    """

    node: Node
    method: str
    note: Note
    asked: bytes | None = attrs.field(default=None, init=False)
    told: bytes | None = attrs.field(default=None, init=False)

    def request(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``."""
        self.asked = message

    def reply(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``."""
        self.told = message

    def close(self, outcome: Outcome) -> None:
        """See ``rpc.tap.CallTap``."""
        noted(self.method, self._note, Answer(outcome.status, self.told, certain=outcome.certain))

    def _note(self, answer: Answer) -> None:
        """Process the end, if it changes anything: that of most failed calls does not."""
        if not answer.certain:
            self.node.intake.doubt()
        elif is_gone(answer):
            told = None if self.told is None else readable(self.told)
            self.note(self.node, readable(self.asked), attrs.evolve(answer, message=told))


@attrs.define
class ObservedStart:
    """The tap of a StartContainer that need not wait: it prevents updates of the container while it starts."""

    node: Node
    one: Starting = attrs.field(default=start.UNKNOWN, init=False)

    def request(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``."""
        try:
            self.one = start.who_starts(self.node, readable(message))
            if self.one.key is not None:
                self.node.begin_start(self.one.key)
        except Exception:  # the call goes on
            log.exception("could not process the start of a container; this is a bug in crirm")

    def reply(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``; it is empty."""

    def close(self, outcome: Outcome) -> None:
        """See ``rpc.tap.CallTap``."""
        noted(
            start.METHOD,
            partial(start.note_start, self.node, self.one),
            Answer(outcome.status, None, certain=outcome.certain),
        )
        try:
            if self.one.key is not None:
                self.node.started(self.one.key)
        except Exception:
            log.exception("could not process the reply to a start; this is a bug in crirm")


@attrs.define
class ObservedAnswers:
    """The tap of a call whose replies report states of containers."""

    node: Node
    method: str

    def __attrs_post_init__(self) -> None:
        """Count this call."""
        self.node.watched[self.method] += 1

    def request(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``; only replies matter."""

    def reply(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``; the caller does not have the last bytes of *message* yet."""
        self.node.observed(self.method, plain(message, MOST_UNPACKED_BYTES))

    def close(self, outcome: Outcome) -> None:  # noqa: ARG002 - however it has ended
        """See ``rpc.tap.CallTap``."""
        self.node.watched[self.method] -= 1


def readable(message: bytes | None) -> bytes:
    """Return *message* decompressed.

    Raises:
        MalformedError: it is missing, very large, or compressed in an unknown way.
    """
    unpacked = None if message is None else plain(message, MOST_UNPACKED_BYTES)
    if unpacked is None or isinstance(unpacked, Packed):
        raise MalformedError("incomplete, too large, or compressed in a way that crirm cannot read")
    return unpacked


def observer(node: Node, method: str) -> CallTap | None:
    """Return the observer of a new call of the RuntimeService's *method*; None if it is not observed."""
    if method in _NOTES:
        return Observed(node, method, _NOTES[method])
    if method == start.METHOD and node.settled:
        return ObservedStart(node)
    if method in TELLING and method != status.METHOD and node.watched[method] < CALLS_WATCHED:
        return ObservedAnswers(node, method)
    return None
