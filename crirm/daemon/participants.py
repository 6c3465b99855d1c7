"""Who takes part in which call: requests become events, decisions go into requests, outcomes become events again.

One small class per kind of call; each is an ``rpc.held.Interceptor``. What is not here passes unseen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
from grpclib.const import Status

from crirm.cri import decode
from crirm.cri.encode import adjusted_create, adjusted_update, status_as_asked
from crirm.cri.message import MalformedError
from crirm.logs import get_logger
from crirm.model.annotations import kept
from crirm.model.decision import RefusalReason, RefusedError
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    CreateFailed,
    Event,
    PodAdded,
    PodRemoved,
    PodResized,
    PodStopped,
    ResizeDone,
    ResizeFailed,
    ResizeRequested,
)
from crirm.model.workload import Container, ContainerId, ContainerKey, PodId

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.daemon.engine import Engine
    from crirm.daemon.intake import Intake
    from crirm.model.decision import Decision
    from crirm.rpc.held import Answer, Held, Interceptor

log = get_logger("policy")

STATUSES = {
    RefusalReason.NO_ROOM: Status.RESOURCE_EXHAUSTED,
    RefusalReason.BAD_REQUEST: Status.INVALID_ARGUMENT,
    RefusalReason.BAD_STATE: Status.FAILED_PRECONDITION,
    RefusalReason.FAULT: Status.INTERNAL,
}
_GONE = (Status.OK.value, Status.NOT_FOUND.value)  # both mean that it is not there any more


class Node(Protocol):
    """What participants work with: the daemon's engine and its view of requests."""

    engine: Engine
    intake: Intake

    @property
    def unkept(self) -> str:
        """Why nothing may be granted now; empty where it may."""

    def when_kept(self, then: Callable[[], None], otherwise: Callable[[str], None]) -> None:
        """Call *then*, now or soon, when what was decided so far survives the death of this process.

        Where it does not and has to, *otherwise* is called, with the reason.
        """

    def look(self, again: Callable[[], None], held: Held) -> bool:
        """Have *again* called once the runtime was asked what has ended; False where nothing can have."""

    def observed(self, method: str, answer: bytes) -> None:
        """Take note of an answer of the runtime's."""


@attrs.define
class Participant:
    """Passes everything on; the others differ where they must."""

    node: Node
    message: bytes = b""

    def request(self, message: bytes, held: Held) -> None:
        """Keep the request for when the answer is there, and pass it on."""
        self.message = message
        held.forward(message)

    def reply(self, answer: Answer) -> bytes | None:
        """Turn a good answer into an event."""
        if not answer.certain:
            self.node.intake.doubt()
        elif answer.status in _GONE and (event := self.event(answer)):
            self.node.engine.apply(event)
        return None

    def abandoned(self) -> None:
        """Nothing was reserved."""

    def give_up(self, held: Held, why: str) -> None:
        """Undo what was decided, since it cannot be kept."""
        self.abandoned()
        held.refuse(Status.UNAVAILABLE, why)

    def event(self, answer: Answer) -> Event | None:
        """Return what the good *answer* means."""
        raise NotImplementedError

    def pod(self) -> PodId:
        """Return the pod sandbox that the request names."""
        return self.node.intake.pod_of(PodId(decode.first_text(self.message)))

    def key(self) -> ContainerKey | None:
        """Return the container that the request names, None when crirm does not know it."""
        return self.node.intake.key_of(ContainerId(decode.first_text(self.message)))


class RunPod(Participant):
    """RunPodSandbox."""

    def event(self, answer: Answer) -> Event | None:
        """The pod is there."""
        if not answer.message:
            return None
        pod = decode.run_pod_request(self.message, decode.first_text(answer.message))
        return PodAdded(attrs.evolve(pod, annotations=kept(pod.annotations)))


class StopPod(Participant):
    """StopPodSandbox."""

    def event(self, answer: Answer) -> Event | None:  # noqa: ARG002 - there is nothing in it
        """Its containers have ended."""
        return PodStopped(self.pod())


class RemovePod(Participant):
    """RemovePodSandbox."""

    def event(self, answer: Answer) -> Event | None:  # noqa: ARG002
        """It is gone, and its containers with it."""
        return PodRemoved(self.pod())


class ResizePod(Participant):
    """UpdatePodSandboxResources: the kubelet tells to what it has resized a pod; older runtimes have no such call."""

    def event(self, answer: Answer) -> Event | None:
        """The runtime has taken note, so it is true."""
        if answer.status != Status.OK.value:
            return None
        pod, overhead, resources = decode.update_pod_request(self.message)
        return PodResized(self.node.intake.pod_of(pod), overhead, resources)


class Start(Participant):
    """StartContainer."""

    def event(self, answer: Answer) -> Event | None:
        """It runs."""
        key = self.key()
        return ContainerStarted(key) if key and answer.status == Status.OK.value else None


class Stop(Participant):
    """StopContainer."""

    def event(self, answer: Answer) -> Event | None:  # noqa: ARG002
        """It has ended."""
        key = self.key()
        return ContainerExited(key) if key else None


class Remove(Participant):
    """RemoveContainer."""

    def event(self, answer: Answer) -> Event | None:  # noqa: ARG002
        """It is gone."""
        key = self.key()
        return ContainerRemoved(key) if key else None


def could_be_better(decision: Decision) -> bool:
    """Tell whether a request would fare better if some container had ended that is thought to run."""
    no_room = decision.refusal is not None and decision.refusal.reason is RefusalReason.NO_ROOM
    return no_room or decision.cramped


@attrs.define
class Create(Participant):
    """CreateContainer: the request waits for the decision, which may wait for topology hints."""

    container: ContainerKey | None = None
    over: bool = False
    looked: bool = False

    def request(self, message: bytes, held: Held) -> None:
        """Decide, or pass on what cannot be decided about: the runtime has its own words for that."""
        self.message = message
        self._prepare(held)

    def _prepare(self, held: Held) -> None:
        message = self.message
        try:
            asked = decode.create_request(message)
        except ValueError as error:
            held.refuse(Status.INVALID_ARGUMENT, f"CreateContainer: {error}")
            return
        if asked.pod not in self.node.engine.state.workload.pods:
            log.warning("a container of an unknown pod is passed on as it is", pod=asked.pod, container=asked.name)
            held.forward(message)
            return
        self.node.intake.prepare(asked, lambda container: self._decide(container, held))

    def _decide(self, container: Container | RefusedError, held: Held) -> None:
        if self.over:
            return
        if isinstance(container, RefusedError):
            held.refuse(STATUSES[container.reason], str(container))
            return
        if self.node.unkept:
            held.refuse(Status.UNAVAILABLE, self.node.unkept)
            return
        event = ContainerRequested(container)
        decision = self.node.engine.decide(event)
        if not self.looked and could_be_better(decision):
            self.looked = True
            if self.node.look(lambda: None if self.over else self._prepare(held), held):
                return
        self.node.engine.take(event, decision)
        if decision.refusal is not None:
            held.refuse(STATUSES[decision.refusal.reason], str(decision.refusal))
            return
        self.container = container.key
        asked, adjustment = self.message, decision.adjustment
        message = asked if adjustment is None else adjusted_create(asked, adjustment)
        self.node.when_kept(lambda: held.forward(message), lambda why: self.give_up(held, why))

    def reply(self, answer: Answer) -> bytes | None:
        """Keep the grant under the runtime's name for the container, or give it back."""
        if self.container is None:
            if answer.message:
                self.node.intake.doubt()  # made without a place: the runtime's lists will tell of it and of its pod
            return None
        if answer.message and (container_id := decode.first_text(answer.message)):
            self.node.engine.apply(ContainerCreated(self.container, ContainerId(container_id)))
        else:
            self.node.engine.apply(CreateFailed(self.container))
            if not answer.certain:
                self.node.intake.doubt()
        return None

    def abandoned(self) -> None:
        """Whatever is still being prepared comes too late; the runtime does not hear of what is decided already."""
        self.over = True
        if self.container is not None:
            self.node.engine.apply(CreateFailed(self.container))


@attrs.define
class Update(Participant):
    """UpdateContainerResources of the kubelet: its in-place resize, or its CPU manager at work."""

    container: ContainerKey | None = None
    over: bool = False
    looked: bool = False

    def request(self, message: bytes, held: Held) -> None:
        """Merge what is asked with what is decided."""
        self.message = message
        self._consider(held)

    def _consider(self, held: Held) -> None:
        message = self.message
        try:
            container_id, asked = decode.update_request(message)
            key = self.node.intake.key_of(container_id)
        except MalformedError as error:
            held.refuse(Status.INVALID_ARGUMENT, f"UpdateContainerResources: {error}")
            return
        if key is None or asked is None:
            held.forward(message)
            return
        if self.node.unkept:
            held.refuse(Status.UNAVAILABLE, self.node.unkept)
            return
        try:
            event = self.node.intake.resize(key, asked)
        except RefusedError as refusal:
            held.refuse(STATUSES[refusal.reason], str(refusal))
            return
        self._decide(event, held)

    def _decide(self, event: ResizeRequested, held: Held) -> None:
        decision = self.node.engine.decide(event)
        if not self.looked and could_be_better(decision):
            self.looked = True
            if self.node.look(lambda: None if self.over else self._consider(held), held):
                return
        self.node.engine.take(event, decision)
        if decision.refusal is not None:
            held.refuse(STATUSES[decision.refusal.reason], str(decision.refusal))
            return
        self.container = event.key
        self.node.intake.cpusets.note(event.key, *decode.update_sets(self.message))
        message = adjusted_update(self.message, decision.adjustment) if decision.adjustment else self.message
        self.node.when_kept(lambda: held.forward(message), lambda why: self.give_up(held, why))

    def reply(self, answer: Answer) -> bytes | None:
        """Keep the new size, or go back to the old one."""
        if self.container is not None:
            done = answer.status == Status.OK.value
            self.node.engine.apply(ResizeDone(self.container) if done else ResizeFailed(self.container))
        return None

    def abandoned(self) -> None:
        """The runtime does not hear of what is decided already."""
        self.over = True
        if self.container is not None:
            self.node.engine.apply(ResizeFailed(self.container))


class ShowStatus(Participant):
    """ContainerStatus: the kubelet is shown what it asked for, or it would go on asking."""

    def reply(self, answer: Answer) -> bytes | None:
        """Put the kubelet's own values back where crirm has set others."""
        if answer.message:
            self.node.observed("ContainerStatus", answer.message)
        key = self.key() if answer.message else None
        container = self.node.engine.state.workload.containers.get(key) if key else None
        if key is None or container is None or not answer.message:
            return None
        adjustment = self.node.engine.state.adjustments.get(key)
        if adjustment is None or decode.status_resources(answer.message) is None:
            return None
        shown = status_as_asked(answer.message, container.resources, adjustment)
        return shown if shown != answer.message else None


_PARTICIPANTS: dict[str, Callable[[Node], Interceptor]] = {
    "RunPodSandbox": RunPod,
    "StopPodSandbox": StopPod,
    "RemovePodSandbox": RemovePod,
    "UpdatePodSandboxResources": ResizePod,
    "CreateContainer": Create,
    "StartContainer": Start,
    "StopContainer": Stop,
    "RemoveContainer": Remove,
    "UpdateContainerResources": Update,
    "ContainerStatus": ShowStatus,
}


def participant(node: Node, method: str) -> Interceptor | None:
    """Return who takes part in a call of the RuntimeService's *method*; None when nobody does."""
    make = _PARTICIPANTS.get(method)
    return make(node) if make is not None else None
