"""CPUs that change owners: which containers may still be on them, until the runtime has confirmed its updates.

A decision is made at once, but the runtime learns of it container by container. In between, one that has lost CPUs may
still run on them. So a container with exclusive CPUs does not start, grow or move there before their previous users
have certainly released them, and no container gets CPUs that their last owner may still have exclusively. Certainly
means: the runtime has replied, or the kernel was read.

An update goes into the specification of a created container, and has no effect on one that is just being
started: containerd has already read the specification (internal/cri/server/container_update_resources.go). So no
container is updated while it starts, and none starts while an update of it is in flight.

All waiting is bounded (`CLEAR_WITHIN_S`): a runtime that does not reply must not block pods for ever.
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
"""For the runtime's confirmation; the kubelet waits two minutes for a reply, and an update takes 5 to 30 ms."""


@attrs.frozen
class Hold:
    """What a container may still have.

    Args:
        cpus: on which it may run; None: on any.
        own: which it may still have exclusively.
    """

    cpus: CPUSet | None
    own: CPUSet

    def with_more(self, other: Hold) -> Hold:
        """Return the union of both."""
        cpus = None if self.cpus is None or other.cpus is None else self.cpus | other.cpus
        return Hold(cpus, self.own | other.own)


@attrs.define(eq=False)
class Handover:
    """Tracks what the runtime has not confirmed.

    Args:
        engine: decides.
    """

    engine: Engine
    starting: set[ContainerKey] = attrs.field(factory=set, init=False)
    """Containers whose StartContainer is in flight."""
    overdue: dict[ContainerKey, str] = attrs.field(factory=dict, init=False)
    """Containers that were in the way for too long, with a description."""
    _holds: dict[ContainerKey, Hold] = attrs.field(factory=dict, init=False)
    _resizes: dict[ContainerKey, CPUSet | None] = attrs.field(factory=dict, init=False)
    _policy: Policy = attrs.field(default=attrs.Factory(lambda self: self.engine.policy, takes_self=True), init=False)
    _owned: tuple[Policy, Any, Mapping[ContainerKey, CPUSet]] | None = attrs.field(default=None, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    # --- what happens --------------------------------------------------------------------------------------------

    def heed(self, event: Event, before: State, decision: Decision) -> None:
        """Note which CPUs *decision* takes from which containers."""
        keys = _updated(decision.effects)
        if isinstance(event, ResizeRequested) and decision.refusal is None and decision.adjustment is not None:
            keys.add(event.key)
            self._resizes[event.key] = decision.adjustment.cpus
        self._hold(keys, before, decision.state)
        self.wake()

    def resized(self, key: ContainerKey, *, surely: bool) -> None:
        """Note that a resize was answered, and whether the container *surely* has the new values."""
        if key in self._resizes:
            cpus = self._resizes.pop(key)
            if surely:
                self.confirm(key, cpus)

    def heed_activation(self, before: State, plan: Plan) -> None:
        """Note which CPUs a new configuration takes from which containers."""
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
        """Note that container *key* certainly has *cpus*, and no others."""
        hold, wanted = self._holds.get(key), self.engine.state.adjustments.get(key)
        if hold is None or wanted is None or wanted.cpus == cpus:
            self.forget(key)
        else:
            self._holds[key] = attrs.evolve(hold, cpus=cpus)
        self.wake()

    def forget(self, key: ContainerKey) -> None:
        """Note that container *key* has nothing but its assignment."""
        self._holds.pop(key, None)
        self.overdue.pop(key, None)

    def wake(self) -> None:
        """Wake those that wait."""
        self._changed.set()
        self._changed = trio.Event()

    @property
    def settled(self) -> bool:
        """Whether no container may have more than its assignment."""
        return not self._holds

    # --- who is in whose way -------------------------------------------------------------------------------------

    def hold(self, key: ContainerKey) -> Hold | None:
        """Return what container *key* may still have besides its assignment; None: nothing."""
        return self._holds.get(key)

    def in_the_way(self, key: ContainerKey) -> list[ContainerKey]:
        """Return the containers that may still be on CPUs of *key*, where one of the two has them exclusively."""
        return list(self._in_the_way(key, self._holds))

    def first_in_the_way(self, key: ContainerKey, before: ContainerKey | None) -> ContainerKey | None:
        """Return one of those, None if there is none; *before*, found earlier, is tried first to save the search.

        Many may wait for each other, and each looks again whenever the runtime confirms anything.
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
        """Return the containers with exclusive CPUs, worked out once per decision."""
        now = self.engine.policy, self.engine.state.policy
        if self._owned is None or self._owned[0] is not now[0] or self._owned[1] is not now[1]:
            self._owned = (*now, now[0].exclusive(now[1]))
        return self._owned[2]

    def _runs(self, key: ContainerKey) -> bool:
        container = self.engine.state.workload.containers.get(key)
        return key in self.starting or (container is not None and container.state is ContainerState.RUNNING)

    async def wait(self) -> None:
        """Wait until something changes."""
        await self._changed.wait()


def _updated(effects: Iterable[Effect]) -> set[ContainerKey]:
    return {effect.key for effect in effects if isinstance(effect, UpdateContainer)}
