"""What decisions ask for, done: containers updated through the runtime, timers kept."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Protocol, assert_never

import attrs
import trio
from grpclib.const import Status

from crirm.cri.encode import update_request
from crirm.logs import get_logger
from crirm.model.decision import Effect, StartTimer, StopTimer, UpdateContainer
from crirm.model.events import ResizeDone, ResizeFailed, ResizeRequested, Timer, TimerExpired, UpdateFailed
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from crirm.daemon.engine import Engine
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event
    from crirm.model.workload import ContainerKey

log = get_logger("policy")

AT_ONCE = 16  # updates in flight; a runtime takes 5 to 30 ms for each and works on several
UPDATE_TIMEOUT_S = 30.0
_SHORT_S, _LONG_S = 0.01, 3600.0  # between two looks at the timers: a clock may be set back, or forward


class Runtime(Protocol):
    """The runtime, as far as effects need it."""

    async def call(self, method: str, message: bytes, *, timeout_s: float) -> bytes:
        """Make a unary call of the RuntimeService; raises RpcError."""


def _at_once(then: Callable[[], None]) -> None:
    then()


@attrs.define
class EffectsWorker:
    """Performs effects: those of one container in order, and of several updates of it only the last.

    Args:
        engine: is told what failed.
        runtime: to update containers through.
        updated: told of each container that the runtime has updated.
        clock: wall-clock seconds, as the engine's.
        when_kept: calls what it is given when all that was decided so far survives the death of this process: an update
            that outlives its decision would never be undone.
    """

    engine: Engine
    runtime: Runtime
    updated: Callable[[ContainerKey], None]
    clock: Callable[[], float] = time.time
    when_kept: Callable[[Callable[[], None]], None] = _at_once
    failures: dict[ContainerKey, str] = attrs.field(factory=dict, init=False)
    """Why the runtime has refused the latest update of a container, of those that it has refused."""
    _wanted: dict[ContainerKey, UpdateContainer] = attrs.field(factory=dict, init=False)
    _ready: set[ContainerKey] = attrs.field(factory=set, init=False)
    _busy: set[ContainerKey] = attrs.field(factory=set, init=False)
    _overtaken: set[ContainerKey] = attrs.field(factory=set, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        """Hear of resizes, which tell the runtime about a container too: of two updates at once, either may be last."""
        self.engine.on_decision(self._heed)

    def _heed(self, event: Event, _before: State, decision: Decision) -> None:
        match event:
            case ResizeRequested(key) if decision.refusal is None:
                self._wanted.pop(key, None)  # the resize carries what is decided now
                self._overtaken |= self._busy & {key}
            case ResizeDone(key) if key in self._overtaken:
                self._overtaken.discard(key)
                self._tell_again(key)
            case ResizeDone(key) | ResizeFailed(key):
                self._overtaken.discard(key)
                self._wake()
            case _:
                pass

    def _tell_again(self, key: ContainerKey) -> None:
        container = self.engine.state.workload.containers.get(key)
        adjustment = self.engine.state.adjustments.get(key)
        if container is not None and container.id is not None and adjustment is not None:
            self.perform(UpdateContainer(key, container.id, adjustment))

    def perform(self, effect: Effect) -> None:
        """Take *effect* on; returns at once."""
        match effect:
            case UpdateContainer(key, _, _):
                self._wanted.pop(key, None)  # the newest goes to the end of the queue
                self._wanted[key] = effect
                self._ready.discard(key)
                self.failures.pop(key, None)
                self.when_kept(partial(self._release, effect))
            case StartTimer() | StopTimer():
                pass  # the state has the times; the timer task looks there
            case _:
                assert_never(effect)
        self._wake()

    def _release(self, effect: UpdateContainer) -> None:
        """Let an update go out, unless another has taken its place."""
        if self._wanted.get(effect.key) is effect:
            self._ready.add(effect.key)
            self._wake()

    def in_flight(self, key: ContainerKey) -> bool:
        """Tell whether an update of *key* waits or is being made."""
        return key in self._wanted or key in self._busy

    def pending(self) -> frozenset[ContainerKey]:
        """Return the containers of which the runtime has not confirmed the latest update yet."""
        return frozenset(self._wanted) | self._busy

    async def finish(self, keys: Collection[ContainerKey]) -> None:
        """Wait until no update of *keys* waits or is being made."""
        while any(self.in_flight(key) for key in keys):
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self._wanted and not self._busy

    async def run(self) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_timers)
            while True:
                self._changed = trio.Event()
                taken = self._busy | self.engine.state.resizing.keys()
                free = [key for key in self._wanted if key in self._ready and key not in taken]
                for key in free[: AT_ONCE - len(self._busy)]:
                    self._ready.discard(key)
                    self._busy.add(key)
                    nursery.start_soon(self._update, self._wanted.pop(key))
                await self._changed.wait()

    async def _update(self, effect: UpdateContainer) -> None:
        container = self.engine.state.workload.containers.get(effect.key)
        try:
            if container is not None:
                message = update_request(effect.id, container.resources, effect.adjustment)
                await self.runtime.call("UpdateContainerResources", message, timeout_s=UPDATE_TIMEOUT_S)
                self.updated(effect.key)
        except RpcError as error:
            self._failed(effect, error)
        finally:
            self._busy.discard(effect.key)
            self._wake()

    def _failed(self, effect: UpdateContainer, error: RpcError) -> None:
        name = self.engine.state.workload.full_name(effect.key)
        if error.status is Status.NOT_FOUND:
            log.debug("a container was gone before it could be updated", container=name)
        else:
            log.warning("a container could not be updated", container=name, reason=str(error))
            self.failures[effect.key] = str(error)
            self.engine.apply(UpdateFailed(effect.key, str(error)))

    async def _keep_timers(self) -> None:
        due_s: dict[tuple[tuple[ContainerKey, Timer], float], float] = {}  # by a clock that nobody sets back
        while True:
            now_s = self.clock()
            running = sorted(self.engine.state.timers.items(), key=lambda item: (item[1], item[0][0]))
            due_s = {timer: due_s.get(timer, trio.current_time() + timer[1] - now_s) for timer in running}
            for timer in running:
                if timer[1] <= now_s or due_s[timer] <= trio.current_time():
                    self.engine.apply(TimerExpired(*timer[0]))
            next_s = min((due_s[timer] for timer in self.engine.state.timers.items() if timer in due_s), default=None)
            with trio.move_on_after(_LONG_S if next_s is None else max(_SHORT_S, next_s - trio.current_time())):
                await self._changed.wait()
