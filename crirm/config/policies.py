"""The policies by name: what a configuration can choose, and the options of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from crirm.config.faults import ValueFault, nearest
from crirm.config.static import StaticOptions
from crirm.config.topology_aware import TopologyAwareOptions
from crirm.errors import quoted

DEFAULT: Final = "none"


@attrs.frozen
class PolicyName:
    """A policy as a configuration knows it.

    Args:
        name: in ``policy.Active``.
        text: what it does, one sentence.
        options: the class of its section; None: it has no options.
        texts: the sentences about its options, by key.
        comes_later: this version does not have it.
        needs_reserved: it does not work without ReservedResources.
    """

    name: str
    text: str
    options: type | None = None
    texts: Mapping[str, str] = attrs.field(factory=dict)
    comes_later: bool = False
    needs_reserved: bool = True

    @property
    def section(self) -> str:
        """The name of the section that its options are in."""
        return f"policy.{self.name}"


_TOPOLOGY_AWARE_TEXTS: Final = {
    "PinCPU": "Whether containers are bound to their CPUs and get the CPU weight of their request.",
    "PinMemory": "Whether containers are bound to the NUMA nodes of their memory.",
    "PreferIsolatedCPUs": "Whether a Guaranteed container of exactly one CPU gets a kernel-isolated one, where its pod "
    "does not say.",
    "PreferSharedCPUs": "Whether a Guaranteed container of one CPU to two gets shared ones, where its pod does not "
    "say.",
    "ReservedPoolNamespaces": "Patterns of the namespaces that use the reserved CPUs; kube-system always does.",
    "ColocatePods": "Whether containers of a pod attract each other, where they have no affinity of their own.",
    "ColocateNamespaces": "Whether containers of a namespace attract each other, where they have no affinity of their "
    "own.",
}

_ALL: Final = (
    PolicyName("none", "Places nothing: every request is relayed unchanged.", needs_reserved=False),
    PolicyName(
        "topology-aware",
        "Gives each container CPUs and memory that are near each other: those of a NUMA node where it fits, else of a "
        "die and so on.",
        TopologyAwareOptions,
        _TOPOLOGY_AWARE_TEXTS,
    ),
    PolicyName(
        "memtier",
        "The policy topology-aware under an older name, with a section of its own.",
        TopologyAwareOptions,
        _TOPOLOGY_AWARE_TEXTS,
    ),
    PolicyName(
        "static",
        "Gives CPUs of their own to Guaranteed containers that request a whole number; the others share the rest.",
        StaticOptions,
    ),
    PolicyName("static-plus", "Divides CPUs into reserved, isolated and shared ones.", comes_later=True),
    PolicyName("static-pools", "Places containers in pools of CPUs that are listed one by one.", comes_later=True),
    PolicyName("podpools", "Places whole pods in pools of CPUs.", comes_later=True),
    PolicyName("balloons", "Places containers in pools of CPUs that grow and shrink.", comes_later=True),
    PolicyName("dynamic-pools", "Divides CPUs among pools by their load.", comes_later=True),
)

POLICIES: Final[Mapping[str, PolicyName]] = {policy.name: policy for policy in _ALL}
CHOOSABLE: Final = tuple(name for name, policy in POLICIES.items() if not policy.comes_later)


def choose(name: str) -> PolicyName:
    """Return the policy called *name*.

    Raises:
        ValueFault: there is none, or this version does not have it.
    """
    known = f"this version has {', '.join(CHOOSABLE[:-1])} and {CHOOSABLE[-1]}"
    if name not in POLICIES:
        raise ValueFault(f"there is no policy {quoted(name)}{nearest(name, POLICIES)}; {known}")
    if POLICIES[name].comes_later:
        raise ValueFault(f"the policy {name} comes in a later version of crirm; {known}")
    return POLICIES[name]
