"""The policies by name, and the options of each."""

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
        text: its description.
        options: the class of its section; None if it has no options.
        texts: descriptions of its options, by key.
        comes_later: whether this version does not support it yet.
        needs_reserved: whether it needs ReservedResources.
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
    "PinCPU": "Whether to pin containers to their CPUs and set the CPU weight of their request.",
    "PinMemory": "Whether to pin containers to NUMA nodes for memory.",
    "PreferIsolatedCPUs": "Whether a Guaranteed container with exactly one CPU gets a kernel-isolated one, unless its "
    "pod says otherwise.",
    "PreferSharedCPUs": "Whether a Guaranteed container with one to two CPUs gets shared ones, unless its pod says "
    "otherwise.",
    "ReservedPoolNamespaces": "Patterns of namespaces that use the reserved CPUs; kube-system always does.",
    "ColocatePods": "Whether containers of a pod attract each other, unless they have affinities of their own.",
    "ColocateNamespaces": "Whether containers of a namespace attract each other, unless they have affinities of their "
    "own.",
}

_ALL: Final = (
    PolicyName("none", "Places nothing: every request is relayed unchanged.", needs_reserved=False),
    PolicyName(
        "topology-aware",
        "Gives each container CPUs and memory that are close together: of one NUMA node if it fits there, otherwise of "
        "a die and so on.",
        TopologyAwareOptions,
        _TOPOLOGY_AWARE_TEXTS,
    ),
    PolicyName(
        "memtier",
        "Older name of the policy topology-aware, with its own section.",
        TopologyAwareOptions,
        _TOPOLOGY_AWARE_TEXTS,
    ),
    PolicyName(
        "static",
        "Gives exclusive CPUs to Guaranteed containers that request a whole number; all others share the rest.",
        StaticOptions,
    ),
    PolicyName("static-plus", "Divides CPUs into reserved, isolated and shared ones.", comes_later=True),
    PolicyName("static-pools", "Places containers in explicitly listed pools of CPUs.", comes_later=True),
    PolicyName("podpools", "Places whole pods in pools of CPUs.", comes_later=True),
    PolicyName("balloons", "Places containers in pools of CPUs that grow and shrink.", comes_later=True),
    PolicyName("dynamic-pools", "Divides CPUs among pools by load.", comes_later=True),
)

POLICIES: Final[Mapping[str, PolicyName]] = {policy.name: policy for policy in _ALL}
CHOOSABLE: Final = tuple(name for name, policy in POLICIES.items() if not policy.comes_later)


def choose(name: str) -> PolicyName:
    """Return the policy called *name*.

    Raises:
        ValueFault: there is none, or it is not supported yet.
    """
    known = f"this version has {', '.join(CHOOSABLE[:-1])} and {CHOOSABLE[-1]}"
    if name not in POLICIES:
        raise ValueFault(f"unknown policy {quoted(name)}{nearest(name, POLICIES)}; {known}")
    if POLICIES[name].comes_later:
        raise ValueFault(f"policy {name} is not supported yet; {known}")
    return POLICIES[name]
