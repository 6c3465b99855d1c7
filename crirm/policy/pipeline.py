"""The core: one pure function from state and event to decision.

The pipeline tracks pods and containers, asks the policy for placements, and turns
changes into effects. Its rules:

* A container holds a grant from its request until it has exited; if the runtime refuses it, the grant is released.
* A refusal leaves the state unchanged.
* The runtime is updated only if an adjustment differs from the last one that it was told.
* An instance is its key. Another instance of the same name, or another sandbox of the same pod, never shares its grant,
  and never ends it: a container that runs ends when the runtime says so.
* Requests for the same instance share its grant, until the last of them has failed; see ``creation``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, assert_never

import attrs

from crirm.model.decision import UNADJUSTED, Before, Decision, Effect, StartTimer, State, StopTimer, UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    CreateFailed,
    Event,
    MoveRequested,
    PodAdded,
    PodRemoved,
    PodResized,
    PodStopped,
    ResizeDone,
    ResizeFailed,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
    UpdateDone,
    UpdateFailed,
)
from crirm.model.refusal import RefusalCode, RefusalReason, RefusedError
from crirm.model.trail import Move, Trail
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId, Workload
from crirm.policy.api import Placement, Policy
from crirm.policy.creation import UNSTARTED, created, creation_of, forgotten, not_created, superseded, tried_again
from crirm.policy.faults import degraded, marked, sharing
from crirm.policy.keeping import resized, staying_in
from crirm.policy.moving import gathered, moved, with_spent
from crirm.policy.overflow import OVERFLOWS, somewhere
from crirm.policy.pod_level import narrowed, resized_within_pod, within_pod
from crirm.policy.remedies import advised
from crirm.policy.states import (
    changed,
    healed,
    latest,
    members,
    moves_back,
    pod_resized,
    with_class,
    with_container,
    with_workload,
    without,
)
from crirm.policy.synchronise import changes_between
from crirm.policy.telling import as_told, tell, told_of, with_told

T = TypeVar("T")
HOLDING = frozenset({ContainerState.CREATING, ContainerState.CREATED, ContainerState.RUNNING})


def initial(policy: Policy) -> State:
    """Return the state of an empty node."""
    return State(workload=Workload(), policy=policy.initial())


def step(
    policy: Policy,
    state: State,
    event: Event,
    now_s: float,
    *,
    overflow: bool = False,
    advises: bool = True,
    moves: bool = True,
) -> Decision:
    """Decide about *event*.

    Args:
        policy: made for this machine and configuration.
        state: before the event.
        event: to decide about.
        now_s: wall-clock time in seconds, for timers only.
        overflow: whether a new container that does not fit is admitted to shared CPUs, instead of being refused.
        advises: whether a refusal says what would fit, which takes longer than the decision.
        moves: whether containers may be moved that the event is not about, as far as the policy allows it.
    """
    one = _Step(policy, now_s, overflow, advises, moves)
    return gathered(one, state, event, one.decide(state, event))


def adopt(policy: Policy, state: State, container: Container, *, overflow: bool) -> Decision:
    """Place a container that exists already, whether *state* knows it or not; see `step`."""
    return _Step(policy, 0.0, overflow, advises=False).adopt(state, container)  # what is allocated starts no timer


@attrs.frozen
class _Step:
    policy: Policy
    now_s: float
    overflow: bool
    advises: bool
    moves: bool = True

    def decide(self, state: State, event: Event) -> Decision:  # noqa: C901, PLR0911, PLR0912 - one line per event
        match event:
            case PodAdded(pod):
                return self._add_pod(state, pod)
            case PodResized():
                return Decision(pod_resized(state, event))
            case PodStopped(id):
                return self._each(state, members(state, id), self._exit)
            case PodRemoved(id):
                return self._remove_pod(state, id)
            case ContainerRequested(container):
                return self._request(state, container, self.overflow)
            case ContainerCreated(key, id):
                return created(state, key, id, self._remove)
            case CreateFailed(key):
                return not_created(state, key, self._remove)
            case ContainerRemoved(key):
                return self._remove(state, key)
            case ContainerStarted(key):
                return self._started(state, key)
            case ContainerExited(key):
                return self._exit(state, key)
            case ResizeRequested():
                return self._resize(state, event)
            case ResizeDone(key):
                return Decision(attrs.evolve(state, resizing=without(state.resizing, key)))
            case ResizeFailed(key):
                return self._undo_resize(state, key)
            case TimerExpired(key, Timer.REPAIR):
                return self._repair(attrs.evolve(state, timers=without(state.timers, (key, Timer.REPAIR))), key)
            case TimerExpired(key, Timer.GATHER):
                return Decision(attrs.evolve(state, timers=without(state.timers, (key, Timer.GATHER))))
            case TimerExpired(key, timer):
                state = attrs.evolve(state, timers=without(state.timers, (key, timer)))
                return self.placed(state, self.policy.expired(state.policy, state.workload, key))
            case UpdateFailed(key, _):
                return Decision(attrs.evolve(state, told=without(state.told, key)))
            case UpdateDone(key):
                return Decision(state if key not in state.adjustments else with_told(state, key))
            case MoveRequested(most):
                return moved(self, state, most)
            case Synchronised():
                return self._synchronise(state, event)
            case _:
                assert_never(event)

    # --- pods ----------------------------------------------------------------------------------------------------

    def _add_pod(self, state: State, pod: Pod) -> Decision:
        """Add a pod; an older sandbox of the same pod ends only when the runtime says so."""
        return Decision(with_workload(state, pods={**state.workload.pods, pod.id: pod}))

    def _remove_pod(self, state: State, pod: PodId) -> Decision:
        decision = self._each(state, members(state, pod), self._remove)
        pods = without(decision.state.workload.pods, pod)
        return attrs.evolve(decision, state=with_workload(forgotten(decision.state, pod), pods=pods))

    # --- containers ----------------------------------------------------------------------------------------------

    def _request(self, state: State, container: Container, overflow: bool) -> Decision:
        known = state.workload.containers.get(container.key)
        if known is not None and known.state in UNSTARTED:
            return self._request_again(state, known, within_pod(state.workload, container))
        return self._place(state, container, overflow)

    def _request_again(self, state: State, known: Container, container: Container) -> Decision:
        """Keep the grant for the next try, which may request more or less."""
        decision = Decision(state)
        if (container.requirements, container.claims) != (known.requirements, known.claims):
            try:
                placement = resized(self.policy, state, attrs.evolve(container, id=known.id))
            except RefusedError as refusal:
                return Decision(state, refusal=self._advised(state, container, refusal, resize=True))
            decision = self.placed(state, placement)
        state = with_container(decision.state, attrs.evolve(container, id=known.id, state=known.state))
        if known.state is ContainerState.CREATING:
            state = tried_again(state, creation_of(container))
        return attrs.evolve(decision, state=state, adjustment=state.adjustments.get(container.key, UNADJUSTED))

    def _place(self, state: State, container: Container, overflow: bool) -> Decision:
        if container.pod not in state.workload.pods:
            problem = f"container {container.name}: unknown pod sandbox {container.pod}"
            return Decision(state, refusal=RefusedError(RefusalCode.UNKNOWN_POD, problem))
        before, state = state, with_class(state, container.pod, container.resources)
        cleared = self._each(state, superseded(state.workload, container), self._exit)
        asked, container = container, within_pod(cleared.state.workload, container)
        try:
            placement, lack = somewhere(self, cleared.state, container, overflow=overflow)
        except RefusedError as refusal:
            return Decision(before, refusal=self._advised(cleared.state, container, refusal))
        placement = narrowed(placement, asked, container)
        known = with_container(cleared.state, container)
        adjustment = placement.changed.get(container.key, UNADJUSTED)
        told = {**known.told, container.key: adjustment}
        placed = self.placed(healed(attrs.evolve(known, told=told), container.key), placement)
        return attrs.evolve(
            placed,
            state=marked(placed.state, container.key, self.now_s, lack) if lack else placed.state,
            adjustment=adjustment,
            effects=latest([*cleared.effects, *placed.effects], placed.state),
            moves=(*cleared.moves, *placed.moves),
        )

    def adopt(self, state: State, container: Container) -> Decision:
        """Place a container that already runs; the runtime has something else than is decided now."""
        there = state.told.get(container.key, UNADJUSTED).cpus
        asked = container if there is None else attrs.evolve(container, found_on=there)
        try:
            decision = attrs.evolve(self, advises=False)._place(state, asked, self.overflow)
        except Exception as error:  # noqa: BLE001 - one that runs must not keep all others from being known
            return self._confine(
                state, container, f"crirm failed to place it because of a bug ({type(error).__name__}: {error})"
            )
        if decision.refusal is not None:
            may_share = self.overflow and decision.refusal.reason is not RefusalReason.BAD_STATE
            return self._confine(state, container, str(decision.refusal)) if may_share else decision
        placed = attrs.evolve(decision.state.workload.containers[container.key], found_on=container.found_on)
        return attrs.evolve(decision, state=as_told(with_container(decision.state, placed), state, container.key))

    def _confine(self, state: State, container: Container, why: str) -> Decision:
        """Put a running container that cannot be placed on shared CPUs: degraded, but never on exclusive CPUs."""
        try:
            placement = sharing(self.policy, state, container)
        except Exception as error:  # noqa: BLE001 - as above; a refusal, too
            why = f"{why}; shared CPUs failed too ({error})"
            return degraded(self.policy.name, state, container, self.now_s, why)
        trail = placement.trail and attrs.evolve(placement.trail, notes=(*placement.trail.notes, why))
        known = with_container(marked(state, container.key, self.now_s, why), container)
        decision = self.placed(known, attrs.evolve(placement, trail=trail))
        adjustment = placement.changed.get(container.key, UNADJUSTED)
        return attrs.evolve(decision, state=as_told(decision.state, state, container.key), adjustment=adjustment)

    def _repair(self, state: State, key: ContainerKey) -> Decision:
        """Try again to place a degraded container; it stays unchanged if that fails."""
        container = state.workload.containers.get(key)
        if container is None or container.state not in HOLDING:
            return Decision(state)
        if key in state.adjustments:
            try:
                placement = resized(self.policy, state, container)
            except RefusedError as refusal:
                how = OVERFLOWS if state.degraded.get(key, "").startswith(OVERFLOWS) else ""
                return Decision(marked(state, key, self.now_s, f"{how}{refusal}"))
            return self.placed(healed(state, key), placement)
        decision = self.adopt(state, container)
        if decision.refusal is not None:
            return Decision(marked(state, key, self.now_s, str(decision.refusal)))
        told = told_of(decision.state, (key,))
        return attrs.evolve(decision, state=told.state, adjustment=None, effects=(*decision.effects, *told.effects))

    def _advised(
        self, state: State, container: Container, refusal: RefusedError, *, resize: bool = False
    ) -> RefusedError:
        """Return *refusal* with the smallest changes of the request that would fit in *state*."""

        def passes(changed: Container, pod: Pod) -> bool:
            after = with_workload(state, pods={**state.workload.pods, pod.id: pod})
            quiet = attrs.evolve(self, advises=False)
            event = ResizeRequested(changed.key, changed.resources, changed.requirements)
            decision = quiet._resize(after, event) if resize else quiet._place(after, changed, overflow=False)
            return decision.refusal is None

        return advised(self.policy, state, container, refusal, passes, resize=resize) if self.advises else refusal

    def _started(self, state: State, key: ContainerKey) -> Decision:
        """Handle a start; ignored if the container has already exited."""
        container = state.workload.containers.get(key)
        if container is None or container.state is ContainerState.EXITED:
            return Decision(state)
        state = changed(state, key, state=ContainerState.RUNNING)
        return self.placed(state, self.policy.started(state.policy, state.workload, key))

    def _exit(self, state: State, key: ContainerKey) -> Decision:
        container = state.workload.containers.get(key)
        if container is None or container.state not in HOLDING:
            return Decision(state)
        return self._release(changed(state, key, state=ContainerState.EXITED), key)

    def _remove(self, state: State, key: ContainerKey) -> Decision:
        decision = self._release(state, key)
        containers = without(decision.state.workload.containers, key)
        return attrs.evolve(decision, state=with_workload(decision.state, containers=containers))

    def _release(self, state: State, key: ContainerKey) -> Decision:
        placement = self.policy.release(state.policy, state.workload, key)
        timers = {known: at_s for known, at_s in state.timers.items() if known[0] != key}
        state = attrs.evolve(
            state,
            adjustments=without(state.adjustments, key),
            told=without(state.told, key),
            resizing=without(state.resizing, key),
            timers=timers,
        )
        return self.placed(healed(state, key), placement)

    # --- resize --------------------------------------------------------------------------------------------------

    def _resize(self, state: State, event: ResizeRequested) -> Decision:
        old = state.workload.containers.get(event.key)
        if old is None or old.state not in HOLDING:
            return Decision(state, adjustment=UNADJUSTED)
        new = attrs.evolve(old, resources=event.resources, requirements=event.requirements)
        new = resized_within_pod(state.workload, old, new)
        asked, state = state, with_class(state, old.pod, event.resources)
        try:
            placement = resized(self.policy, state, new)
        except RefusedError as refusal:
            return Decision(asked, refusal=self._advised(state, new, refusal, resize=True))
        before = Before(old, state.policy, state.adjustments, placement.state)
        adjustment = placement.changed.get(event.key, state.adjustments.get(event.key, UNADJUSTED))
        bigger = attrs.evolve(
            with_container(state, new),
            resizing={**state.resizing, event.key: before},
            told={**state.told, event.key: adjustment},
        )
        return attrs.evolve(self.placed(healed(bigger, event.key), placement), adjustment=adjustment)

    def _undo_resize(self, state: State, key: ContainerKey) -> Decision:
        """Roll back: exactly, if nothing else was decided since; otherwise by requesting the old size again."""
        before = state.resizing.get(key)
        if before is None:
            return Decision(state)
        known = with_container(state, before.container)
        known = attrs.evolve(known, resizing=without(state.resizing, key), told=without(state.told, key))
        if state.policy == before.after:
            undone = attrs.evolve(known, policy=before.policy, adjustments=before.adjustments)
            told = told_of(undone, sorted(before.adjustments))
            return attrs.evolve(told, moves=moves_back(state, undone, key))
        try:
            placement = resized(self.policy, known, before.container)
        except RefusedError:
            return told_of(known, (key,))  # the larger grant stays: no promise is broken by it
        return self.placed(known, placement, also=(key,))

    def _synchronise(self, state: State, event: Synchronised) -> Decision:
        decision = self._each(attrs.evolve(state, unsure=False), changes_between(state.workload, event), self._find)
        told = tell(decision.state)
        return attrs.evolve(decision, state=told.state, effects=latest([*decision.effects, *told.effects], told.state))

    def _find(self, state: State, change: Event) -> Decision:
        if isinstance(change, ContainerRequested):  # it runs already: without room it shares what is left
            return attrs.evolve(self, overflow=True).adopt(state, change.container)
        return self.decide(state, change)

    def _each(self, state: State, items: Sequence[T], do: Callable[[State, T], Decision]) -> Decision:
        effects: list[Effect] = []
        trails: list[Trail] = []
        moves: list[Move] = []
        for item in items:
            decision = do(state, item)
            state = decision.state
            effects += decision.effects
            trails += decision.trails
            moves += decision.moves
        return Decision(state, effects=latest(effects, state), trails=tuple(trails), moves=tuple(moves))

    def placed(self, state: State, placement: Placement, also: tuple[ContainerKey, ...] = ()) -> Decision:
        """Apply the decision of the policy."""
        timers = dict(state.timers)
        for effect in placement.effects:
            match effect:
                case StartTimer(key, timer, after_s):
                    timers[key, timer] = self.now_s + after_s
                case StopTimer(key, timer):
                    timers.pop((key, timer), None)
                case UpdateContainer():
                    raise TypeError("policies change adjustments; the pipeline tells the runtime")
                case _:
                    assert_never(effect)
        if not self.policy.heeds_keep:
            placement = staying_in(state, placement, self.policy.exclusive(placement.state))
        adjustments = {**state.adjustments, **placement.changed}
        state = attrs.evolve(state, policy=placement.state, adjustments=adjustments, timers=timers)
        state = with_spent(state, placement.spent, self.now_s)
        told = told_of(state, sorted({*placement.changed, *also}))
        trails = (*((placement.trail,) if placement.trail else ()), *placement.others)
        effects = (*placement.effects, *told.effects)
        moves, cramped = placement.moves, placement.cramped
        return attrs.evolve(told, effects=effects, trails=trails, moves=moves, cramped=cramped)
