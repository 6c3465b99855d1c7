"""Who takes part in which call: requests become events, decisions go into requests, outcomes become events again.

One small class per kind of call; each is an ``rpc.held.Interceptor``. What is not here passes unseen.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
from grpclib.const import Status

from crirm.cri import decode
from crirm.cri.encode import adjusted_create, adjusted_update, status_as_asked
from crirm.cri.message import MalformedError
from crirm.daemon.placement.guarded import Guarded
from crirm.daemon.placement.participant import Participant
from crirm.logs import get_logger
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
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState
from crirm.policy.creation import asked_before, running_before

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.cri.decode import ContainerRequest
    from crirm.daemon.placement.node_api import Node
    from crirm.model.decision import Decision
    from crirm.rpc.held import Answer, Held, Interceptor

log = get_logger("policy")

STATUSES = {
    RefusalReason.NO_ROOM: Status.RESOURCE_EXHAUSTED,
    RefusalReason.BAD_REQUEST: Status.INVALID_ARGUMENT,
    RefusalReason.BAD_STATE: Status.FAILED_PRECONDITION,
    RefusalReason.FAULT: Status.INTERNAL,
}
_LATE = (Status.CANCELLED.value, Status.DEADLINE_EXCEEDED.value)  # CRI-O goes on, for whoever asks again


class RunPod(Participant):
    """RunPodSandbox."""

    def event(self, answer: Answer) -> Event | None:
        """The pod is there."""
        if answer.status != Status.OK.value:
            return None
        pod = decode.first_text(answer.message or b"")
        if not pod:
            self.node.intake.doubt()
            return None
        return PodAdded(decode.run_pod_request(self.message, pod))


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


@attrs.define
class Start(Participant):
    """StartContainer: waits until the CPUs of the container are clear of others."""

    starting: ContainerKey | None = None
    over: bool = False
    unplaced: bool = False

    def request(self, message: bytes, held: Held) -> None:
        """Let the call go on when the runtime has confirmed what was taken from others, or is too slow."""
        self.message = message
        try:
            key = self.key()
        except MalformedError:  # the runtime has its own words for that
            key = None
        known = self.node.engine.state.workload.containers.get(key) if key else None
        self.unplaced = known is None or known.state is ContainerState.EXITED
        if known is None or self.unplaced:
            held.forward(message)
            return
        self.node.before_start(known.key, lambda: self._start(known.key, held))

    def _start(self, key: ContainerKey, held: Held) -> None:
        self.starting = key
        if self.over:
            self._end()
        else:
            held.forward(self.message)

    def _end(self) -> None:
        key, self.starting = self.starting, None
        if key is not None:
            self.node.started(key)

    def reply(self, answer: Answer) -> bytes | None:
        """Turn a good answer into an event, and have looked at what came of it."""
        try:
            if self.unplaced and answer.status == Status.OK.value:
                self.node.intake.doubt()  # it was made past crirm, or had not ended
            return super().reply(answer)
        finally:
            self._end()

    def abandoned(self) -> None:
        """Nobody waits for it any more."""
        self.over = True
        self._end()

    def event(self, answer: Answer) -> Event | None:
        """It runs."""
        key = self.key()
        return ContainerStarted(key) if key and answer.status == Status.OK.value else None


class Stop(Participant):
    """StopContainer."""

    def event(self, answer: Answer) -> Event | None:  # noqa: ARG002
        """It has ended."""
        key = self.ended()
        return ContainerExited(key) if key else None


class Remove(Participant):
    """RemoveContainer."""

    def event(self, answer: Answer) -> Event | None:  # noqa: ARG002
        """It is gone."""
        key = self.ended()
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
    met: bool = False

    def request(self, message: bytes, held: Held) -> None:
        """Decide, or pass on what cannot be decided about: the runtime has its own words for that.

        An earlier attempt that crirm believes to run is asked about first: its end may be news. So is a pod that crirm
        does not know: it may have been made by a call of which nobody has heard the answer.
        """
        self.message = message
        self._prepare(held)

    def _prepare(self, held: Held) -> None:
        try:
            asked = decode.create_request(self.message)
        except ValueError as error:
            held.refuse(Status.INVALID_ARGUMENT, f"CreateContainer: {error}")
            return
        asked = attrs.evolve(asked, pod=self.node.intake.pod_of(asked.pod))
        workload = self.node.engine.state.workload
        if asked.pod not in workload.pods:
            self._meet(asked, held)
            return
        if running_before(workload, asked.pod, asked.name, asked.attempt) and self._look_first(held):
            return
        self.node.intake.prepare(asked, lambda container: self._decide(container, held))

    def _meet(self, asked: ContainerRequest, held: Held) -> None:
        """Prepare afresh once the runtime was asked about the pod; one that nobody knows is the runtime's business."""
        if self.met:
            log.warning("a container of an unknown pod is passed on as it is", pod=asked.pod, container=asked.name)
            held.forward(self.message)
            return
        self.met = True
        described = decode.pod_in_create(self.message, asked.pod)
        self.node.meet(asked.pod, described, lambda: self._prepare_afresh(held), held)

    def _look_first(self, held: Held) -> bool:
        """Prepare afresh once the runtime was asked what has ended; False where that was done, or nothing can have."""
        if self.looked:
            return False
        self.looked = True
        return self.node.look(lambda: self._prepare_afresh(held), held)

    def _prepare_afresh(self, held: Held) -> None:
        if self.over:
            return
        try:
            self._prepare(held)
        except Exception:
            self._fail()  # who hears of the fault refuses the call
            raise

    def _decide(self, container: Container | RefusedError, held: Held) -> None:
        if self.over:
            return
        if isinstance(container, RefusedError):
            self._fail()  # crirm itself has failed, perhaps after the decision
            held.refuse(STATUSES[container.reason], str(container))
            return
        if self.node.unkept:
            held.refuse(Status.UNAVAILABLE, self.node.unkept)
            return
        if before := asked_before(self.node.engine.state.workload, container):
            container = attrs.evolve(container, key=before)
        event = ContainerRequested(container)
        decision = self.node.engine.decide(event)
        if could_be_better(decision) and self._look_first(held):
            return
        self.container = container.key
        self.node.engine.take(event, decision)
        if decision.refusal is not None:
            self.container = None
            held.refuse(STATUSES[decision.refusal.reason], str(decision.refusal))
            return
        asked, adjustment = self.message, decision.adjustment
        message = asked if adjustment is None else adjusted_create(asked, adjustment)
        self.node.when_kept(lambda: held.forward(message), lambda why: self.give_up(held, why))

    def reply(self, answer: Answer) -> bytes | None:
        """Keep the grant under the runtime's name for the container, or give it back."""
        container_id = ContainerId(decode.first_text(answer.message) if answer.message else "")
        if self.container is None:
            if container_id or not _surely_failed(answer):
                self.node.intake.doubt()  # made without a place: the runtime's lists will tell of it and of its pod
        elif container_id:
            self.node.engine.apply(ContainerCreated(self.container, container_id))
            if self.node.intake.key_of(container_id) is None:
                self.node.intake.doubt()  # it has ended in the meantime, or so it seemed
        else:
            self._fail()
            if not _surely_failed(answer):
                self.node.intake.doubt()
        return None

    def abandoned(self) -> None:
        """Whatever is still being prepared comes too late; the runtime does not hear of what is decided already."""
        self.over = True
        self._fail()

    def _fail(self) -> None:
        container, self.container = self.container, None
        if container is not None:
            self.node.engine.apply(CreateFailed(container))


def _surely_failed(answer: Answer) -> bool:
    """Tell whether the runtime has surely made nothing."""
    return answer.certain and answer.status not in {Status.OK.value, *_LATE}


@attrs.define
class Update(Participant):
    """UpdateContainerResources of the kubelet: its in-place resize, or its CPU manager at work."""

    container: ContainerKey | None = None
    over: bool = False
    looked: bool = False
    sets: tuple[str, str] = ("", "")

    def request(self, message: bytes, held: Held) -> None:
        """Merge what is asked with what is decided."""
        self.message = message
        self._consider(held)

    def _consider(self, held: Held) -> None:
        message = self.message
        try:
            container_id, asked = decode.update_request(message)
            self.sets = decode.update_sets(message)
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
        self.node.intake.cpusets.note(event.key, *self.sets)
        message = adjusted_update(self.message, decision.adjustment) if decision.adjustment else self.message
        grow = partial(self.node.before_resize, event.key, lambda: held.forward(message))
        self.node.when_kept(grow, lambda why: self.give_up(held, why))

    def reply(self, answer: Answer) -> bytes | None:
        """Keep the new size, or go back to the old one."""
        if self.container is not None:
            done = answer.status == Status.OK.value and answer.certain
            self.node.engine.apply(ResizeDone(self.container) if done else ResizeFailed(self.container))
        if not answer.certain:
            self.node.intake.doubt()
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
    return Guarded(method, make(node)) if make is not None else None
