"""The policy ``topology-aware``, alias ``memtier``: every container in the smallest part of the machine that holds it.

The machine is a tree of pools (`pools`). A container asks for exclusive, shared or reserved CPUs and for memory
(`request`, `reading`). What the machine cannot have at all is refused first (`admission`); then all pools that can hold
the container are compared (`choice`, `ranking`), and it takes CPUs and memory from the best (`supply`, `granting`).
Memory that others were promised is kept safe from it (`protection`). Exclusive CPUs leave the shared CPUs of all pools
around them, so others are adjusted (`effects`), and everything is told to whoever asks why (`trail`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from crirm.policy.api import PolicyDescription
from crirm.policy.topology_aware.options import TopologyAwareOptions

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from crirm.policy.api import Constraints, Policy


def _make(name: str, topology: Topology, constraints: Constraints, options: TopologyAwareOptions) -> Policy:
    from crirm.policy.topology_aware.policy import make  # noqa: PLC0415 - what nobody has chosen is not loaded

    return make(name, topology, constraints, options)


_TEXTS = {
    "topology-aware": "Gives each container CPUs and memory that are close together: of one NUMA node if it fits "
    "there, otherwise of a die and so on.",
    "memtier": "The policy topology-aware under an older name, with a section of its own.",
}

POLICIES = tuple(
    PolicyDescription(name, text, partial(_make, name), TopologyAwareOptions) for name, text in _TEXTS.items()
)
"""The names under which the policy can be chosen."""
