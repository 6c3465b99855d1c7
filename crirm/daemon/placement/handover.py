"""CPUs that change hands: who may still be on them, until the runtime has confirmed what was decided.

A decision is made at once, but the runtime learns of it container by container. In between, one that has lost CPUs may
still run on them. So whoever is to have CPUs for itself does not start, grow or move there before those who had them
have surely let go, and nobody is given CPUs that their last owner may still believe to be its own. Surely means: the
runtime has answered, or the kernel was read.

An update goes into the specification of a container that is created, and has no effect on one that is just being
started: containerd has taken the specification already (internal/cri/server/container_update_resources.go). So no
container is updated while it starts, and none starts while an update of it is on its way.

All waiting is bounded (`CLEAR_WITHIN_S`): a runtime that does not answer must not keep pods from starting for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.decision import UpdateContainer
from crirm.model.events import ResizeRequested
from crirm.model.workload import ContainerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from crirm.daemon.placement.engine import Engine
    from crirm.model.decision import Decision, Effect, State
    from crirm.model.events import Event
    from crirm.model.workload import ContainerKey
    from crirm.policy.activation import Plan
    from crirm.policy.api import Policy

CLEAR_WITHIN_S: Final = 2.0
"""For the runtime to confirm; the kubelet waits two minutes for an answer, and an update takes 5 to 30 ms."""


@attrs.frozen
class Hold:
    """What a container may still have.

    Args:
        cpus: on which it may run; None: on any.
        own: which it may still have to itself.
    """

    cpus: CPUSet | None
    own: CPUSet

    def with_more(self, other: Hold) -> Hold:
        """Return what it may have if either is true."""
        cpus = None if self.cpus is None or other.cpus is None else self.cpus | other.cpus
        return Hold(cpus, self.own | other.own)


@attrs.define(eq=False)
class Handover:
    """Keeps book of what the runtime has not confirmed.

    Args:
        engine: decides.
    """

    engine: Engine
    starting: set[ContainerKey] = attrs.field(factory=set, init=False)
    """Containers whose StartContainer is on its way."""
    overdue: dict[ContainerKey, str] = attrs.field(factory=dict, init=False)
    """Containers that were in the way for too long, and what that means, in words."""
    _holds: dict[ContainerKey, Hold] = attrs.field(factory=dict, init=False)
    _resizes: dict[ContainerKey, CPUSet | None] = attrs.field(factory=dict, init=False)
    _policy: Policy = attrs.field(default=attrs.Factory(lambda self: self.engine.policy, takes_self=True), init=False)
    _owned: tuple[Policy, Any, Mapping[ContainerKey, CPUSet]] | None = attrs.field(default=None, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    # --- what happens --------------------------------------------------------------------------------------------

    def heed(self, event: Event, before: State, decision: Decision) -> None:
        """Take note of what *decision* takes from whom."""
        keys = _updated(decision.effects)
        if isinstance(event, ResizeRequested) and decision.refusal is None and decision.adjustment is not None:
            keys.add(event.key)
            self._resizes[event.key] = decision.adjustment.cpus
        self._hold(keys, before, decision.state)
        self.wake()

    def resized(self, key: ContainerKey, *, surely: bool) -> None:
        """Take note that a resize has been answered, and that the container *surely* has what the resize carried."""
        if key in self._resizes:
            cpus = self._resizes.pop(key)
            if surely:
                self.confirm(key, cpus)

    def heed_activation(self, before: State, plan: Plan) -> None:
        """Take note of what another configuration takes from whom."""
        self._hold(_updated(plan.effects), before, plan.state)
        self._policy = self.engine.policy
        self.wake()

    def _hold(self, keys: Iterable[ContainerKey], before: State, after: State) -> None:
        own = self._policy.exclusive(before.policy) if keys else {}
        for key in keys:
            told, wanted = before.told.get(key), after.adjustments.get(key)
            hold = Hold(told.cpus if told is not None else None, own.get(key, NO_CPUS))
            if told is None or wanted is None or told.cpus != wanted.cpus or key in self._holds:
                self._holds[key] = hold.with_more(self._holds.get(key, hold))
        for key in (self._holds.keys() | self.overdue.keys()) - after.adjustments.keys():
            self.forget(key)

    def confirm(self, key: ContainerKey, cpus: CPUSet | None) -> None:
        """Take note that container *key* has surely got *cpus*, and no others."""
        hold, wanted = self._holds.get(key), self.engine.state.adjustments.get(key)
        if hold is None or wanted is None or wanted.cpus == cpus:
            self.forget(key)
        else:
            self._holds[key] = attrs.evolve(hold, cpus=cpus)
        self.wake()

    def forget(self, key: ContainerKey) -> None:
        """Take note that container *key* holds nothing but what was decided."""
        self._holds.pop(key, None)
        self.overdue.pop(key, None)

    def wake(self) -> None:
        """Have those who wait look again."""
        self._changed.set()
        self._changed = trio.Event()

    @property
    def settled(self) -> bool:
        """Whether nobody may have anything but what was decided."""
        return not self._holds

    # --- who is in whose way -------------------------------------------------------------------------------------

    def hold(self, key: ContainerKey) -> Hold | None:
        """Return what container *key* may still have besides what was decided; None: nothing."""
        return self._holds.get(key)

    def in_the_way(self, key: ContainerKey) -> list[ContainerKey]:
        """Return the containers that may still be on CPUs which *key* is to have, where one of the two owns them."""
        return list(self._in_the_way(key, self._holds))

    def first_in_the_way(self, key: ContainerKey, before: ContainerKey | None) -> ContainerKey | None:
        """Return one of those, None where there is none; *before*, found earlier, is asked first: it saves the search.

        Very many may wait for one another, and each looks again whenever the runtime has confirmed anything.
        """
        if before in self._holds and next(self._in_the_way(key, (before,)), None):
            return before
        return next(self._in_the_way(key, self._holds), None)

    def _in_the_way(self, key: ContainerKey, others: Iterable[ContainerKey]) -> Iterator[ContainerKey]:
        adjustment = self.engine.state.adjustments.get(key)
        if not self._holds or adjustment is None or adjustment.cpus is None:
            return
        cpus, own = adjustment.cpus, self._owners().get(key, NO_CPUS)
        for other in others:
            hold = self._holds[other]
            if other == key or not (hold.own or own) or not self._runs(other):
                continue
            on_own = own and (hold.cpus is None or not hold.cpus.isdisjoint(own))
            if on_own or not cpus.isdisjoint(hold.own):
                yield other

    def _owners(self) -> Mapping[ContainerKey, CPUSet]:
        """Return who has CPUs to itself, worked out once for each decision."""
        now = self.engine.policy, self.engine.state.policy
        if self._owned is None or self._owned[0] is not now[0] or self._owned[1] is not now[1]:
            self._owned = (*now, now[0].exclusive(now[1]))
        return self._owned[2]

    def _runs(self, key: ContainerKey) -> bool:
        container = self.engine.state.workload.containers.get(key)
        return key in self.starting or (container is not None and container.state is ContainerState.RUNNING)

    async def wait(self) -> None:
        """Wait until something has changed here."""
        await self._changed.wait()


def _updated(effects: Iterable[Effect]) -> set[ContainerKey]:
    return {effect.key for effect in effects if isinstance(effect, UpdateContainer)}
