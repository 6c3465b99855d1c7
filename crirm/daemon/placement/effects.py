"""Performing effects of decisions: updates of containers through the runtime, and timers."""

from __future__ import annotations

import math
import time
from functools import partial
from itertools import filterfalse, islice
from typing import TYPE_CHECKING, assert_never

import attrs
import trio
from grpclib.const import Status

from crirm.cri.encode import update_request
from crirm.daemon.placement.handover import CLEAR_WITHIN_S, Handover
from crirm.daemon.placement.ladder import Listener
from crirm.daemon.relay.link import doubling
from crirm.logs import get_logger
from crirm.model.decision import Effect, StartTimer, StopTimer, UpdateContainer
from crirm.model.events import ResizeDone, ResizeFailed, ResizeRequested, Timer, TimerExpired, UpdateDone, UpdateFailed
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.relay.asking import Runtime
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event
    from crirm.model.workload import ContainerKey
    from crirm.policy.activation import Plan

log = get_logger("policy")

AT_ONCE = 16  # updates in flight; a runtime takes 5 to 30 ms for each and works on several
UPDATE_TIMEOUT_S = 30.0
ENFORCED_WITHIN_S = 60.0  # for all updates of a plan
AGAIN_FIRST_S, AGAIN_LAST_S = 5.0, 60.0  # pauses before a refused update is retried; doubled every time
_SHORT_S, _LONG_S = 0.01, 3600.0  # between two looks at the timers: the clock may be set


@attrs.frozen
class Blocked:
    """An update that waits for another container to release CPUs.

    Args:
        by: the other container, or one of them.
        until_s: by Trio's clock, in seconds; then it is sent anyway.
    """

    by: ContainerKey | None
    until_s: float


def _at_once(then: Callable[[], None]) -> None:
    then()


@attrs.define
class _Refused:
    """An update that the runtime refused, possibly several times."""

    pauses: Iterator[float] = attrs.field(factory=lambda: doubling(AGAIN_FIRST_S, AGAIN_LAST_S))
    reason: str = ""
    again_s: float = math.inf


@attrs.define
class EffectsWorker(Listener):
    """Performs effects: those of one container in order, and only the last of several updates.

    Args:
        engine: notified of failures.
        runtime: to update containers through.
        updated: called for each updated container.
        clock: wall-clock seconds, as the engine's.
        when_kept: calls back once all decisions so far survive the death of this process: an update that outlives its
            decision would never be undone.
    """

    engine: Engine
    runtime: Runtime
    updated: Callable[[ContainerKey], None]
    clock: Callable[[], float] = time.time
    when_kept: Callable[[Callable[[], None]], None] = _at_once
    handover: Handover = attrs.field(
        default=attrs.Factory(lambda self: Handover(self.engine), takes_self=True), init=False
    )
    _wanted: dict[ContainerKey, UpdateContainer] = attrs.field(factory=dict, init=False)
    _ready: set[ContainerKey] = attrs.field(factory=set, init=False)
    _busy: set[ContainerKey] = attrs.field(factory=set, init=False)
    _overtaken: set[ContainerKey] = attrs.field(factory=set, init=False)
    _resizes_sent: set[ContainerKey] = attrs.field(factory=set, init=False)
    _blocked: dict[ContainerKey, Blocked] = attrs.field(factory=dict, init=False)
    _refused: dict[ContainerKey, _Refused] = attrs.field(factory=dict, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def decided(self, event: Event, before: State, decision: Decision) -> None:
        """Queue the effects of a decision; which containers may still be on which CPUs is noted first."""
        self.handover.heed(event, before, decision)
        self._heed(event, decision)
        for effect in decision.effects:
            self.perform(effect)

    def activated(self, before: State, plan: Plan) -> None:
        """See `decided`."""
        self.handover.heed_activation(before, plan)
        for effect in plan.effects:
            self.perform(effect)

    def _heed(self, event: Event, decision: Decision) -> None:
        """Hold back updates during a resize, which updates the container too: of two at once, either may be last."""
        for key in self._refused.keys() - decision.state.adjustments.keys():
            del self._refused[key]
        if isinstance(event, ResizeDone | ResizeFailed):
            self._resizes_sent.discard(event.key)
        match event:
            case ResizeRequested(key) if decision.refusal is None:
                self._wanted.pop(key, None)  # the resize carries the current decision
                self._blocked.pop(key, None)
                self._overtaken |= self._busy & {key}
            case ResizeDone(key) if key in self._overtaken:
                self._overtaken.discard(key)
                self.handover.resized(key, surely=False)
                self.tell_again(key)
            case ResizeDone(key) | ResizeFailed(key):
                self._overtaken.discard(key)
                self.handover.resized(key, surely=isinstance(event, ResizeDone))
                self._wake()
            case _:
                pass

    def begin_resize(self, key: ContainerKey) -> None:
        """Note that the kubelet's resize is sent: an update answered from now on may precede it."""
        self._resizes_sent |= {key} & self.engine.state.resizing.keys()

    def begin_start(self, key: ContainerKey) -> None:
        """Note that a container is being started: an update in flight may have no effect on it."""
        self.handover.starting.add(key)
        self._overtaken |= self._busy & {key}

    def end_start(self, key: ContainerKey) -> None:
        """Note the end of a start: updates that it may have missed are sent again."""
        self.handover.starting.discard(key)
        if key in self._overtaken or (self.handover.hold(key) is not None and not self.in_flight(key)):
            self._overtaken.discard(key)
            self.tell_again(key)
        self._wake()

    def unsettled(self, key: ContainerKey) -> list[ContainerKey]:
        """Return the containers whose updates the runtime must confirm before *key* may start or be resized.

        It is one itself while it is updated: during a resize no update follows the one in flight.
        """
        own = [key] if self.in_flight(key) else []
        return own + self.handover.in_the_way(key)

    def tell_again(self, key: ContainerKey) -> None:
        """Send an update of a container."""
        container = self.engine.state.workload.containers.get(key)
        adjustment = self.engine.state.adjustments.get(key)
        if container is not None and container.id is not None and adjustment is not None:
            self.perform(UpdateContainer(key, container.id, adjustment))

    def perform(self, effect: Effect) -> None:
        """Queue *effect*; does not wait."""
        match effect:
            case UpdateContainer(key, _, _):
                self._wanted.pop(key, None)  # the newest goes to the end of the queue
                self._wanted[key] = effect
                self._ready.discard(key)
                if key in self._refused:
                    self._refused[key].again_s = math.inf
                self.when_kept(partial(self._release, effect))
            case StartTimer() | StopTimer():
                pass  # the times are in the state, where the timer task reads them
            case _:
                assert_never(effect)
        self._wake()

    def _release(self, effect: UpdateContainer) -> None:
        """Release an update, unless another has replaced it."""
        if self._wanted.get(effect.key) is effect:
            self._ready.add(effect.key)
            self._wake()

    def in_flight(self, key: ContainerKey) -> bool:
        """Whether an update of *key* is queued or in flight."""
        return key in self._wanted or key in self._busy

    @property
    def settled(self) -> bool:
        """Whether the runtime has confirmed everything, so that nothing has to wait."""
        return not self._wanted and not self._busy and self.handover.settled

    def pending(self) -> frozenset[ContainerKey]:
        """Return the containers whose latest update the runtime has not confirmed."""
        return frozenset(self._wanted) | self._busy

    async def finish(self, keys: Collection[ContainerKey]) -> None:
        """Wait until no update of *keys* is queued or in flight."""
        while any(self.in_flight(key) for key in keys):
            await self._changed.wait()

    @property
    def connected(self) -> bool:
        """Whether the runtime answers; updates wait for it otherwise."""
        return self.runtime.connected

    @property
    def failures(self) -> dict[ContainerKey, str]:
        """Why the runtime refused the latest update, by container."""
        return {key: refused.reason for key, refused in self._refused.items() if refused.again_s < math.inf}

    async def refused(self, keys: Collection[ContainerKey]) -> dict[ContainerKey, str]:
        """Wait until every update of *keys* was sent, and return the refused ones with the reasons.

        A runtime that is away refuses nothing: updates are sent when it is back.
        """
        with trio.move_on_after(ENFORCED_WITHIN_S):
            await self.finish(keys)
        if not self.runtime.connected:
            return {}
        late = {key: "no reply yet" for key in keys if self.in_flight(key)}
        return {**late, **{key: why for key, why in self.failures.items() if key in keys}}

    def _wake(self) -> None:
        self._changed.set()
        self.handover.wake()

    async def run(self) -> None:
        """Perform effects until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_timers)
            while True:
                self._changed = trio.Event()
                self._try_again()
                for effect in self._next(AT_ONCE - len(self._busy)):
                    self._busy.add(effect.key)
                    nursery.start_soon(self._update, effect)
                again_s = (refused.again_s for refused in self._refused.values())
                with trio.move_on_at(min((self._next_late_s(), *again_s))):
                    await self._changed.wait()

    def _try_again(self) -> None:
        """Retry refused updates after a pause, since cgroups are not readable everywhere."""
        now_s = trio.current_time()
        for key in [key for key, refused in self._refused.items() if refused.again_s <= now_s]:
            self._refused[key].again_s = math.inf
            self.tell_again(key)

    def _next(self, at_most: int) -> list[UpdateContainer]:
        """Take the updates that are due: one that gets another container's CPUs waits until that has released them."""
        taken = self._busy | self.engine.state.resizing.keys() | self.handover.starting
        ready = (key for key in self._wanted if key in self._ready and key not in taken)
        free = list(islice(filterfalse(self._is_blocked, ready), at_most))
        if free or taken or at_most <= 0:
            return [self._take(key) for key in free]
        blocked = [key for key in self._wanted if key in self._ready and not self._pauses(key)]  # by one another
        return [self._let_go(key) or self._take(key) for key in blocked[:at_most]]

    def _pauses(self, key: ContainerKey) -> bool:
        """Whether an update of *key* was just refused and is retried after a pause."""
        refused = self._refused.get(key)
        return refused is not None and refused.again_s < math.inf

    def _is_blocked(self, key: ContainerKey) -> bool:
        """Whether *key* has to wait for another to release CPUs; the wait is bounded."""
        now_s = trio.current_time()
        before = self._blocked.get(key, Blocked(None, now_s + CLEAR_WITHIN_S))
        by = self.handover.first_in_the_way(key, before.by)
        if by is None:
            self._blocked.pop(key, None)
        else:
            self._blocked[key] = Blocked(by, before.until_s)
        return by is not None and now_s < before.until_s

    def _next_late_s(self) -> float:
        """Return when the next blocked update has waited long enough."""
        now_s = trio.current_time()  # a late one already waits for one in flight
        return min((each.until_s for each in self._blocked.values() if each.until_s > now_s), default=math.inf)

    def _take(self, key: ContainerKey) -> UpdateContainer:
        self._ready.discard(key)
        self._blocked.pop(key, None)
        return self._wanted.pop(key)

    def _let_go(self, key: ContainerKey) -> UpdateContainer | None:
        """Return an update that only takes CPUs from *key*, so that others can have them before it gets new ones."""
        hold, wanted = self.handover.hold(key), self._wanted[key]
        if hold is None or hold.cpus is None or wanted.adjustment.cpus is None:
            return None
        common = hold.cpus & wanted.adjustment.cpus
        if not common or common == hold.cpus:
            return None
        return attrs.evolve(wanted, adjustment=attrs.evolve(wanted.adjustment, cpus=common))

    async def _update(self, effect: UpdateContainer) -> None:
        container = self.engine.state.workload.containers.get(effect.key)
        try:
            if container is not None:
                message = update_request(effect.id, container.resources, effect.adjustment)
                await self.runtime.call("UpdateContainerResources", message, timeout_s=UPDATE_TIMEOUT_S)
                self._refused.pop(effect.key, None)
                if not (effect.key in self._overtaken and effect.key in self._resizes_sent | self.handover.starting):
                    self.handover.confirm(effect.key, effect.adjustment.cpus)
                    self._done(effect)
                self.updated(effect.key)
        except RpcError as error:
            self._failed(effect, error)
        finally:
            self._busy.discard(effect.key)
            self._wake()

    def _done(self, effect: UpdateContainer) -> None:
        """Note success after a failure or delay; a first update needs no note."""
        state = self.engine.state
        if effect.key not in state.told and state.adjustments.get(effect.key) == effect.adjustment:
            log.info("container updated after earlier failures", container=state.workload.full_name(effect.key))
            self.engine.apply(UpdateDone(effect.key))

    def _failed(self, effect: UpdateContainer, error: RpcError) -> None:
        key, reason = effect.key, str(error)
        name = self.engine.state.workload.full_name(key)
        if error.status is Status.NOT_FOUND:
            self.handover.forget(key)
            log.debug("container was removed before its update", container=name)
            return
        refused = self._refused.setdefault(key, _Refused())
        refused.again_s = trio.current_time() + next(refused.pauses)
        news, refused.reason = refused.reason != reason, reason
        if news:
            log.warning("container update failed; retrying", container=name, reason=reason)
        if news or key in self.engine.state.told:
            self.engine.apply(UpdateFailed(key, reason))

    async def _keep_timers(self) -> None:
        due_s: dict[tuple[tuple[ContainerKey, Timer], float], float] = {}  # by a clock that is never set back
        while True:
            now_s = self.clock()
            running = sorted(self.engine.state.timers.items(), key=lambda item: (item[1], item[0][0]))
            due_s = {timer: due_s.get(timer, trio.current_time() + timer[1] - now_s) for timer in running}
            for timer in running:
                if timer[1] <= now_s or due_s[timer] <= trio.current_time():
                    await trio.lowlevel.checkpoint()  # many may be due at once, and each is a decision
                    if self.engine.state.timers.get(timer[0]) == timer[1]:
                        self.engine.apply(TimerExpired(*timer[0]))
            next_s = min((due_s[timer] for timer in self.engine.state.timers.items() if timer in due_s), default=None)
            with trio.move_on_after(_LONG_S if next_s is None else max(_SHORT_S, next_s - trio.current_time())):
                await self._changed.wait()
