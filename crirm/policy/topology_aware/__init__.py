"""The policy ``topology-aware``, alias ``memtier``: every container in the smallest part of the machine that holds it.

The machine is a tree of pools (`pools`). A container asks for exclusive, shared or reserved CPUs and for memory
(`request`, `reading`). What the machine cannot have at all is refused first (`admission`); then all pools that can hold
the container are compared (`choice`, `ranking`), and it takes CPUs and memory from the best (`supply`, `granting`).
Memory that others were promised is kept safe from it (`protection`). Exclusive CPUs leave the shared CPUs of all pools
around them, so others are adjusted (`effects`), and everything is told to whoever asks why (`trail`).
"""

from __future__ import annotations

from functools import partial

from crirm.config.topology_aware import TopologyAwareOptions
from crirm.model.topology import Topology
from crirm.policy.api import Constraints, Kind
from crirm.policy.topology_aware.machine import make_machine
from crirm.policy.topology_aware.policy import TopologyAware
from crirm.policy.topology_aware.reading import make_reader

__all__ = ["KINDS", "TopologyAware", "make"]


def make(name: str, topology: Topology, constraints: Constraints, options: TopologyAwareOptions) -> TopologyAware:
    """Return the policy for one machine and configuration.

    Raises:
        PartitionError: the available and reserved CPUs do not fit the machine.
        GlobError: a pattern of reserved namespaces is none.
    """
    machine = make_machine(topology, constraints)
    return TopologyAware(name, machine, make_reader(options, machine.sets))


_NAMES = {
    "topology-aware": "Places containers where CPUs, memory and devices are close together.",
    "memtier": "Alias of topology-aware, with its own configuration section.",
}

KINDS = tuple(Kind(name, text, TopologyAwareOptions, partial(make, name)) for name, text in _NAMES.items())
"""The names under which the policy can be chosen."""
