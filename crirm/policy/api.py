"""The interface between the pipeline and a policy.

A policy is made once for a machine and a configuration and never changes. What it remembers of containers is a frozen
value of its own, its *policy state*, which it is given and returns: so every method is a pure function, and to refuse
is to raise. Adding a policy means writing one file (or folder) and naming its
``PolicyDescription`` in ``registry.py``; see docs/writing-a-policy.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from crirm.model.cpuset import CPUSet
from crirm.model.decision import Adjustment, Effect
from crirm.model.quantity import MilliCPU
from crirm.model.topology import Topology
from crirm.model.trail import Move, Trail
from crirm.model.workload import Container, ContainerKey, Workload


@attrs.frozen
class Placement:
    """What a policy answers.

    Args:
        state: the policy state from now on.
        changed: the adjustment of every container for which it is not what it was, the subject included; a container
            that is released has none.
        effects: timers to start or stop.
        trail: how it came to this, for a container that was placed.
        moves: what has changed for whom and why; of a container that was placed, the trail tells instead.
        cramped: whether the subject would have had a narrower place, or a place of its own, on an empty machine.
    """

    state: Any
    changed: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    effects: tuple[Effect, ...] = ()
    trail: Trail | None = None
    moves: tuple[Move, ...] = ()
    cramped: bool = False


Json = Any
"""What JSON can hold: dicts with texts as keys, lists, texts, numbers, truth values, None."""


@attrs.frozen
class Restored:
    """What a policy has made of the grants of an earlier process.

    Args:
        state: with every grant that still fits.
        adjustments: of every container that has one.
        dropped: those whose grant does not fit any more, and why; they have none in the state.
        weakened: those whose grant promises less than it did, and why.
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
        """Take the grant of *key* back; a container without one changes nothing."""

    def resize(self, state: Any, workload: Workload, container: Container) -> Placement:
        """Change the grant of *container* to its new requirements, staying where it is as far as possible.

        Raises:
            RefusedError: it does not fit.
        """

    def started(self, state: Any, workload: Workload, key: ContainerKey) -> Placement:  # noqa: ARG002 - the interface
        """Take note that a container has started."""
        return Placement(state)

    def expired(self, state: Any, workload: Workload, key: ContainerKey) -> Placement:  # noqa: ARG002 - the interface
        """Take note that the timer of a container has run out."""
        return Placement(state)

    def exclusive(self, state: Any) -> Mapping[ContainerKey, CPUSet]:  # noqa: ARG002 - the interface
        """Return the CPUs of those who have some to themselves; nobody else may run on these."""
        return {}

    def save(self, state: Any) -> Mapping[ContainerKey, Json]:
        """Return the grant of every container that has one, so that `restore` can make the same state of them."""

    def restore(self, saved: Mapping[ContainerKey, Json], workload: Workload) -> Restored:
        """Return the state with the grants *saved*, exactly as they were; whatever is in there, nothing is raised.

        Args:
            saved: of an earlier process, perhaps on another machine, under another configuration, or damaged.
            workload: pods and containers.
        """


@attrs.frozen
class CPUConstraint:
    """How many or which CPUs, as configuration says; at most one of the two is set, neither means "not said".

    Args:
        cpus: these.
        millicpu: so many, in thousandths of a CPU.
    """

    cpus: CPUSet | None = None
    millicpu: MilliCPU | None = None


@attrs.frozen
class Constraints:
    """What bounds every policy.

    Args:
        available: the CPUs that containers may use; not said: all online ones.
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
        overflow: whether a container without room is let in to share what is left, instead of refused.
        fail_open: whether requests go on unchanged when the policy has a bug, instead of being refused.
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
