"""The interface between the pipeline and a policy.

A policy is made once for a machine and a configuration and never changes. What it remembers of containers is a frozen
value of its own, its *policy state*, which it is given and returns: so every method is a pure function, and to refuse
is to raise. Adding a policy means writing one file (or folder) and naming its
``PolicyDescription`` in ``registry.py``; see docs/writing-a-policy.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from crirm.model.cpuset import CPUSet
from crirm.model.quantity import MilliCPU
from crirm.model.refusal import RefusedError

if TYPE_CHECKING:  # a daemon that only relays has a `Choice` and nothing to place
    from crirm.model.decision import Adjustment, Effect, Spent
    from crirm.model.topology import Topology
    from crirm.model.trail import Move, Trail
    from crirm.model.workload import Container, ContainerKey, Workload


@attrs.frozen
class Limits:
    """How much a policy may move containers of its own accord; nothing by default.

    Args:
        moves_per_minute: containers that are moved, in any 60 seconds.
        bytes_per_minute: memory that they may have where they come from, likewise.
        per_arrival: containers that may be moved so that a new one gets a better place, or any.
    """

    moves_per_minute: int = 0
    bytes_per_minute: int = 0
    per_arrival: int = 0


@attrs.frozen
class Allowance:
    """What may be moved now.

    Args:
        moves: containers.
        bytes: of memory that they may have where they come from.
        is_held: whether a container stays where it is for now: it starts, is resized, or could not be updated.
        why: there is room now, a clause such as ``default/a/main has ended``.
    """

    moves: int
    bytes: int
    is_held: Callable[[ContainerKey], bool] = lambda _: False
    why: str = ""


@attrs.frozen
class Placement:
    """The answer of a policy.

    Args:
        state: the new policy state.
        changed: the adjustments of all containers for which it changed, including the subject; a container
            that is released has none.
        effects: timers to start or stop.
        trail: the record of the decision, for a container that was placed.
        moves: changes of other containers, and why; for a container that was placed, they are in its trail.
        cramped: whether the subject would have got a smaller pool, or exclusive CPUs, on an empty machine.
        others: the records of other containers that were placed again.
        spent: what moving these has cost.
        waiting: containers that could come together, if more might be moved.
    """

    state: Any
    changed: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    effects: tuple[Effect, ...] = ()
    trail: Trail | None = None
    moves: tuple[Move, ...] = ()
    cramped: bool = False
    others: tuple[Trail, ...] = ()
    spent: tuple[Spent, ...] = ()
    waiting: tuple[ContainerKey, ...] = ()


Json = Any
"""A JSON value."""


@attrs.frozen
class Restored:
    """The grants of an earlier process, as restored by a policy.

    Args:
        state: with every grant that still fits.
        adjustments: of all containers that have one.
        dropped: containers whose grant no longer fits, and why; they have none in the state.
        weakened: containers whose grant guarantees less than before, and why.
    """

    state: Any
    adjustments: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    dropped: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    weakened: Mapping[ContainerKey, str] = attrs.field(factory=dict)


class Policy(Protocol):
    """One way of deciding; see the module. One without timers, or without exclusive CPUs, inherits what says so."""

    @property
    def name(self) -> str:
        """As in the configuration."""

    def initial(self) -> Any:
        """Return the policy state of an empty machine; releasing everything leads back to exactly this value."""

    def allocate(self, state: Any, workload: Workload, container: Container) -> Placement:
        """Give *container*, which has no grant and need not be in *workload* yet, a grant.

        Raises:
            RefusedError: it does not fit, or asks for what cannot be.
        """

    def release(self, state: Any, workload: Workload, key: ContainerKey) -> Placement:
        """Release the grant of *key*; a container without one changes nothing."""

    def resize(self, state: Any, workload: Workload, container: Container) -> Placement:
        """Change the grant of *container* to its new requirements, staying where it is as far as possible.

        Raises:
            RefusedError: it does not fit.
        """

    def fits(self, state: Any, workload: Workload, container: Container, *, resize: bool = False) -> bool:
        """Tell whether `allocate` (or with *resize* `resize`) would not raise; asked many times after a refusal.

        A policy whose `allocate` takes long, because it also records the decision, has a shorter way here.
        """
        try:
            (self.resize if resize else self.allocate)(state, workload, container)
        except RefusedError:
            return False
        return True

    def started(self, state: Any, workload: Workload, key: ContainerKey) -> Placement:  # noqa: ARG002 - the interface
        """Handle the start of a container."""
        return Placement(state)

    def expired(self, state: Any, workload: Workload, key: ContainerKey) -> Placement:  # noqa: ARG002 - the interface
        """Handle the expiry of a timer."""
        return Placement(state)

    @property
    def heeds_keep(self) -> bool:
        """Whether the policy itself never changes what a container keeps; otherwise the pipeline sees to it."""
        return False

    @property
    def limits(self) -> Limits:
        """How much `gather` and `make_room` may move, all together."""
        return Limits()

    def gather(self, state: Any, workload: Workload, allowance: Allowance) -> Placement:  # noqa: ARG002 - the interface
        """Move the container that gains most back together, if any has been spread for want of room and need not be.

        Returns:
            the placement with one move, or with none; it is asked again until nothing moves.
        """
        return Placement(state)

    def clear_way(self, state: Any, workload: Workload, allowance: Allowance) -> Placement:  # noqa: ARG002 - the interface
        """Move one container elsewhere, not further apart than it is, such that a spread one could come together then.

        Returns:
            the placement with one move, or with none.
        """
        return Placement(state)

    def spread(self, state: Any, workload: Workload) -> tuple[ContainerKey, ...]:  # noqa: ARG002 - the interface
        """Return the containers that would be on fewer NUMA nodes if they were alone, in the order of keys."""
        return ()

    def make_room(
        self,
        state: Any,  # noqa: ARG002 - the interface
        workload: Workload,  # noqa: ARG002
        container: Container,  # noqa: ARG002
        allowance: Allowance,  # noqa: ARG002
    ) -> Placement | None:
        """Place *container*, for which `allocate` has only a poor place or none, by moving one other container.

        Returns:
            the placement; None if no single move helps.
        """
        return None

    def exclusive(self, state: Any) -> Mapping[ContainerKey, CPUSet]:  # noqa: ARG002 - the interface
        """Return the exclusive CPUs of each container; no other container may run on them."""
        return {}

    def save(self, state: Any) -> Mapping[ContainerKey, Json]:
        """Return the grant of every container that has one, for `restore`."""

    def restore(self, saved: Mapping[ContainerKey, Json], workload: Workload) -> Restored:
        """Return the state with the *saved* grants, unchanged; never raises, whatever is in them.

        Args:
            saved: of an earlier process, perhaps on another machine, under another configuration, or damaged.
            workload: pods and containers.
        """


@attrs.frozen
class CPUConstraint:
    """CPUs, or a number of CPUs, from the configuration; at most one is set, none means "not set".

    Args:
        cpus: these.
        millicpu: so many, in thousandths of a CPU.
        excluded: all but these.
    """

    cpus: CPUSet | None = None
    millicpu: MilliCPU | None = None
    excluded: CPUSet | None = None


@attrs.frozen
class Constraints:
    """The constraints of every policy.

    Args:
        available: the CPUs for containers; not set: all online ones.
        reserved: the CPUs for reserved namespaces, within the available ones.
    """

    available: CPUConstraint = attrs.field(factory=CPUConstraint)
    reserved: CPUConstraint = attrs.field(factory=CPUConstraint)


@attrs.frozen
class Choice:
    """Which policy decides, and how it is set up.

    Args:
        name: of one of the policies in ``registry.py``.
        constraints: what bounds it.
        options: a value of its options class; None for the defaults.
        overflow: whether a container that does not fit is admitted to shared CPUs, instead of being refused.
        fail_open: whether requests pass unchanged if the policy has a bug, instead of being refused.
    """

    name: str = "none"
    constraints: Constraints = attrs.field(factory=Constraints)
    options: Any = None
    overflow: bool = False
    fail_open: bool = False


@attrs.frozen
class NoOptions:
    """A policy without options."""


@attrs.frozen
class PolicyDescription:
    """All that anybody has to know of a policy to choose it, show it, set it up and make it.

    Args:
        name: in ``policy.Active``; its options are in the section ``policy.NAME``.
        text: what it does, one sentence.
        make: builds it; raises CrirmError when machine and configuration do not fit together.
        options: attrs class of fields made by ``model.option``, each with a default.
        needs_reserved: it does not work without ReservedResources.
    """

    name: str
    text: str
    make: Callable[[Topology, Constraints, Any], Policy]
    options: type = NoOptions
    needs_reserved: bool = True

    @property
    def section(self) -> str:
        """The name of the section that its options are in."""
        return f"policy.{self.name}"
