"""What the core answers to an event: the next state, and everything that is to be done about it, as values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs

from crirm.errors import SENTENCE_CHARS, CrirmError, clipped
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.events import Timer
from crirm.model.trail import Move, Trail
from crirm.model.workload import Container, ContainerId, ContainerKey, PodId, Workload


@attrs.frozen
class Adjustment:
    """What a container is to have; None leaves what the kubelet asked for.

    Args:
        cpus: on which it runs.
        mems: the NUMA nodes that it takes memory from.
        cpu_shares: its weight, 2..262144.
        cpu_quota_us: its CPU time per period; `NO_QUOTA` for no limit.
    """

    cpus: CPUSet | None = None
    mems: NodeSet | None = None
    cpu_shares: int | None = None
    cpu_quota_us: int | None = None


NO_QUOTA = -1
"""For who has its CPUs to itself: these are its limit, and a quota beside them would only make it wait at times."""

UNADJUSTED = Adjustment()


class RefusalReason(enum.Enum):
    """Why a container cannot have what it asks for."""

    NO_ROOM = "no room"
    """Not enough CPUs or memory now; it may fit later."""
    BAD_REQUEST = "bad request"
    """An annotation or a value that can never be right."""
    BAD_STATE = "bad state"
    """The request does not fit what the container or pod is doing."""
    FAULT = "fault"
    """crirm itself has failed; nobody knows what would be right."""


class RefusedError(CrirmError):
    """A policy or the pipeline refuses a request; str() is for whoever reads the pod's events."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(clipped(message, SENTENCE_CHARS))
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        """Part of decisions, which are values: equal reasons and words are equal refusals."""
        return isinstance(other, RefusedError) and (self.reason, str(self)) == (other.reason, str(other))

    def __hash__(self) -> int:
        return hash((self.reason, str(self)))


@attrs.frozen
class UpdateContainer:
    """Bring a container to its adjustment, through the runtime."""

    key: ContainerKey
    id: ContainerId
    adjustment: Adjustment


@attrs.frozen
class StartTimer:
    """Send TimerExpired after a while, also when crirm is restarted meanwhile."""

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
    """What to go back to when the runtime refuses a resize.

    Args:
        container: as it was.
        policy: the policy state as it was.
        adjustments: all adjustments as they were.
        after: the policy state that the resize led to; while it is still the present one, going back is exact.
    """

    container: Container
    policy: Any
    adjustments: Mapping[ContainerKey, Adjustment]
    after: Any


Creation = tuple[PodId, str, int]
"""What all requests for one container have in common: pod, name and attempt."""


@attrs.frozen
class State:
    """All that crirm knows and has decided.

    Args:
        workload: pods and containers.
        policy: what the policy remembers; only the policy looks inside.
        adjustments: what each container that holds a grant is to have.
        told: what the runtime was last told of each; differs from the adjustment only while a call is in flight, or
            after the runtime has refused an update.
        timers: seconds of wall-clock time at which each running timer expires.
        resizing: containers whose resize the runtime has not answered yet.
        degraded: containers that go on without the place that they should have, and why; see ``policy.faults``.
        tries: creations that were asked for more than once, or have failed, and how many requests for each are in
            flight; see ``policy.creation``.
    """

    workload: Workload
    policy: Any
    adjustments: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    told: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    timers: Mapping[tuple[ContainerKey, Timer], float] = attrs.field(factory=dict)
    resizing: Mapping[ContainerKey, Before] = attrs.field(factory=dict)
    degraded: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    tries: Mapping[Creation, int] = attrs.field(factory=dict)


@attrs.frozen
class Decision:
    """The answer to one event.

    Args:
        state: from now on.
        adjustment: of the container that the event asks for; None when it asks for none.
        refusal: why the event's request is turned down; the state is then as before.
        effects: to be performed, those of one container in order.
        trails: how it came to this, for every container that was placed or resized.
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
        """How it came to this, for the container that the event is about; None where nothing was chosen."""
        return self.trails[0] if self.trails else None
