"""All that the policy knows about a machine and its configuration, computed once."""

from __future__ import annotations

import attrs

from crirm.model.cpuset import CPUSet
from crirm.model.topology import Topology
from crirm.policy.api import Constraints
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.partition import partition
from crirm.policy.priorities import priorities_of
from crirm.policy.topology_aware.memory_sets import MemorySets
from crirm.policy.topology_aware.pools import Pool, build_pools


@attrs.frozen(eq=False)
class Machine:
    """A machine as pools.

    Args:
        topology: what it is made of.
        pools: by number, the root last.
        sets: which memory goes with them.
        allocator: chooses among CPUs.
    """

    topology: Topology
    pools: tuple[Pool, ...]
    sets: MemorySets
    allocator: CPUAllocator

    @property
    def root(self) -> Pool:
        """The pool that holds all others."""
        return self.pools[-1]

    def used(self, cores: CPUSet) -> CPUSet:
        """Return the lowest thread of each of *cores*; where hyperthreads are hidden, the others stay idle."""
        return CPUSet(cpu for cpu in cores if self.topology.core_of(cpu).lowest == cpu)

    def cores_of(self, cpus: CPUSet) -> CPUSet:
        """Return all threads of the cores that *cpus* are of."""
        return CPUSet.union(self.topology.core_of(cpu) for cpu in cpus)

    def nodes_of(self, cpus: CPUSet) -> int:
        """Return the NUMA nodes that some of *cpus* are of, as a mask."""
        return sum(1 << node.id for node in self.topology.nodes if not node.cpus.isdisjoint(cpus))


def make_machine(topology: Topology, constraints: Constraints, *, caches: bool = False) -> Machine:
    """Return *topology* as pools, L3 caches among them where *caches* says so.

    Raises:
        PartitionError: the constraints do not fit it.
    """
    allocator = CPUAllocator(topology, priorities_of(topology))
    pools = build_pools(topology, partition(topology, constraints, allocator), caches=caches)
    return Machine(topology, pools, MemorySets(topology, pools), allocator)
