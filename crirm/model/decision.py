"""The core's answer to an event: the next state, and everything that has to be done, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.events import Timer
from crirm.model.refusal import RefusedError
from crirm.model.trail import Move, Trail
from crirm.model.workload import Container, ContainerId, ContainerKey, PodId, Workload


@attrs.frozen
class Adjustment:
    """What a container is assigned; None leaves what the kubelet requested.

    Args:
        cpus: on which it runs.
        mems: the NUMA nodes from which it may allocate memory.
        cpu_shares: its weight, 2..262144.
        cpu_quota_us: its CPU time per period; `NO_QUOTA` for no limit.
    """

    cpus: CPUSet | None = None
    mems: NodeSet | None = None
    cpu_shares: int | None = None
    cpu_quota_us: int | None = None


NO_QUOTA = -1
"""For containers with exclusive CPUs: the CPUs are their limit, and a quota in addition would only throttle them."""

UNADJUSTED = Adjustment()


@attrs.frozen
class UpdateContainer:
    """Update a container to its adjustment, through the runtime."""

    key: ContainerKey
    id: ContainerId
    adjustment: Adjustment


@attrs.frozen
class StartTimer:
    """Send TimerExpired later, even if crirm restarts in between."""

    key: ContainerKey
    timer: Timer
    after_s: float


@attrs.frozen
class StopTimer:
    """Forget a timer that may be running."""

    key: ContainerKey
    timer: Timer


Effect = UpdateContainer | StartTimer | StopTimer


@attrs.frozen
class Before:
    """What to roll back to if the runtime refuses a resize.

    Args:
        container: as it was.
        policy: the policy state before the resize.
        adjustments: all adjustments before the resize.
        after: the policy state after the resize; as long as it is the current one, the rollback is exact.
    """

    container: Container
    policy: Any
    adjustments: Mapping[ContainerKey, Adjustment]
    after: Any


@attrs.frozen
class Spent:
    """One container that crirm has moved of its own accord.

    Args:
        at_s: when, in seconds of wall-clock time.
        bytes: memory that it may have had where it came from, if that had to move too.
    """

    at_s: float
    bytes: int


Creation = tuple[PodId, str, int]
"""What all requests for one container have in common: pod, name and attempt."""


@attrs.frozen
class State:
    """All that crirm knows and has decided.

    Args:
        workload: pods and containers.
        policy: the state of the policy, opaque to others.
        adjustments: what each container with a grant is assigned.
        told: what the runtime was last told of each; differs from the adjustment only while a call is in flight, or
            after the runtime has refused an update.
        timers: seconds of wall-clock time at which each running timer expires.
        resizing: containers whose resize the runtime has not answered yet.
        degraded: containers that run without their proper placement, and why; see ``policy.faults``.
        tries: creations that were asked for more than once, or have failed, and how many requests for each are in
            flight; see ``policy.creation``.
        moved: what was moved within the last minute, the oldest first; see ``policy.moving``.
        unsure: restored from an earlier process, and not compared with the runtime yet: nothing is moved.
    """

    workload: Workload
    policy: Any
    adjustments: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    told: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    timers: Mapping[tuple[ContainerKey, Timer], float] = attrs.field(factory=dict)
    resizing: Mapping[ContainerKey, Before] = attrs.field(factory=dict)
    degraded: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    tries: Mapping[Creation, int] = attrs.field(factory=dict)
    moved: tuple[Spent, ...] = ()
    unsure: bool = False


@attrs.frozen
class Decision:
    """The answer to one event.

    Args:
        state: from now on.
        adjustment: of the container that the event asks for; None when it asks for none.
        refusal: why the event's request is refused; the state is unchanged then.
        effects: to be performed, those of one container in order.
        trails: the record for every container that was placed or resized.
        moves: what has changed for other containers, those in the trails included, and for one whose own change needed
            no choice.
        cramped: whether the event's container got a wider or poorer place than it would have had on an empty machine.
    """

    state: State
    adjustment: Adjustment | None = None
    refusal: RefusedError | None = None
    effects: tuple[Effect, ...] = ()
    trails: tuple[Trail, ...] = ()
    moves: tuple[Move, ...] = ()
    cramped: bool = False

    @property
    def trail(self) -> Trail | None:
        """The trail of the container that the event is about; None if nothing was chosen."""
        return self.trails[0] if self.trails else None
