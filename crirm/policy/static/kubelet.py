"""Which CPUs the kubelet's static CPU manager would take, under its options.

Without its topology manager, except that ``align-by-socket`` means something only together with that: it is as under
the topology manager's policy ``best-effort`` where nothing but CPUs is aligned. Of the sets of NUMA nodes that have
enough free CPUs, those count that have as few nodes, or are of as few packages, as the request needs on an empty
machine; if there are none, all. The smallest is chosen, of equally large ones the one with the lower numbers, and CPUs
are taken from its packages first.

Source: https://kubernetes.io/docs/concepts/policy/node-resource-managers, and the results of the kubelet.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import combinations

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.topology import Topology
from crirm.policy.static.distributed import MAX_NODES, take_distributed
from crirm.policy.static.levels import Levels, levels_of
from crirm.policy.static.options import KubeletOptions, OptionsError
from crirm.policy.static.packed import take_packed


@attrs.frozen(eq=False)
class KubeletChoice:
    """Takes CPUs of one machine as the kubelet does."""

    topology: Topology
    options: KubeletOptions

    def take(self, free: CPUSet, count: int, near: CPUSet = NO_CPUS) -> CPUSet:
        """Return *count* CPUs out of *free*; with ``full-pcpus-only`` always whole cores.

        Args:
            free: CPUs to choose from.
            count: how many, at most as many as are `usable`.
            near: what the taker has already; its NUMA nodes come first, then its packages.

        Raises:
            ValueError: there are fewer.
        """
        if not 0 <= count <= len(self.usable(free)):
            msg = f"{count} CPUs cannot be taken out of {len(self.usable(free))}"
            raise ValueError(msg)
        around = self._around(free, count, near)
        cpus = CPUSet.from_mask(self._take(around.mask, count))
        if cpus <= self.usable(cpus):
            return cpus
        # Siblings of reserved CPUs are free for the kubelet too; it may then split cores that it should not.
        return CPUSet.from_mask(self._take(self.usable(around).mask, count))

    def usable(self, free: CPUSet) -> CPUSet:
        """Return those of *free* that can become exclusive: with ``full-pcpus-only``, those of whole cores.

        Where cores differ, as on hybrid machines or with a thread offline, only those with most threads are whole.
        """
        if not self.options.full_pcpus_only:
            return free
        return CPUSet.from_mask(sum(core for core in self._whole_cores if not core & ~free.mask))

    @cached_property
    def threads(self) -> int:
        """Threads of a whole core."""
        return self.topology.threads

    @cached_property
    def _whole_cores(self) -> tuple[int, ...]:
        return tuple(core for core in self._levels.cores if core.bit_count() == self.threads)

    @cached_property
    def _levels(self) -> Levels:
        return levels_of(self.topology)

    def _around(self, free: CPUSet, count: int, near: CPUSet) -> CPUSet:
        if not near:
            return free
        for parts in (self._levels.nodes, self._levels.packages):
            around = CPUSet.union(CPUSet.from_mask(part) for part in parts if part & near.mask) & free
            if len(self.usable(around)) >= count:
                return around
        return free

    def _take(self, free: int, count: int) -> int:
        if not self.options.align_by_socket:
            return self._taken(free, count)
        aligned = self._aligned(free, count)
        taken = self._taken(aligned, min(count, aligned.bit_count()))
        return taken | self._taken(free & ~taken, count - taken.bit_count())

    def _taken(self, free: int, count: int) -> int:
        options = self.options
        if options.distribute_across_numa:
            return take_distributed(self._levels, free, count, self.threads if options.full_pcpus_only else 1)
        by_cache, across_cores = options.align_by_uncore_cache, options.distribute_across_cores
        return take_packed(self._levels, free, count, by_cache=by_cache, across_cores=across_cores)

    def _aligned(self, free: int, count: int) -> int:
        """Return those of *free* in the packages that come first."""
        nodes, packages = self._levels.nodes, self._levels.packages
        fewest = _fewest(nodes, count)
        fewest_packages = -(-fewest // (len(nodes) // len(packages)))
        narrow = 0
        for size in range(1, len(nodes) + 1):
            for chosen in _combinations(nodes, size):
                if sum((node & free).bit_count() for node in chosen) < count:
                    continue
                around = [package for package in packages if any(node & package for node in chosen)]
                if size == fewest or len(around) == fewest_packages:
                    return sum(around) & free
                narrow = narrow or sum(around) & free
        return narrow


def _combinations(nodes: tuple[int, ...], size: int) -> Iterator[tuple[int, ...]]:
    """Return the sets of *size* nodes, compared by their highest numbers."""
    numbers = sorted(combinations(range(len(nodes)), size), key=lambda chosen: chosen[::-1])
    return (tuple(nodes[number] for number in chosen) for chosen in numbers)


def _fewest(nodes: tuple[int, ...], count: int) -> int:
    """Return how many of *nodes* are needed for *count* CPUs on an empty machine."""
    room = 0
    for number, size in enumerate(sorted((node.bit_count() for node in nodes), reverse=True), 1):
        room += size
        if room >= count:
            return number
    return len(nodes)


def kubelet_choice(topology: Topology, options: KubeletOptions) -> KubeletChoice | None:
    """Return how CPUs are chosen; None where no option is set.

    Raises:
        OptionsError: the options do not fit the machine.
    """
    if not options.chooses:
        return None
    packages, nodes = len(topology.packages), len(topology.cpu_nodes)
    if options.align_by_socket and packages > nodes:
        msg = f"align-by-socket does not work with more packages ({packages}) than NUMA nodes with CPUs ({nodes})"
        raise OptionsError(f"{msg}; set it to false")
    for key, chosen in (
        ("distribute-cpus-across-numa", options.distribute_across_numa),
        ("align-by-socket", options.align_by_socket),
    ):
        if chosen and nodes > MAX_NODES:
            msg = f"{key} works with at most {MAX_NODES} NUMA nodes with CPUs, and this machine has {nodes}"
            raise OptionsError(f"{msg}; set it to false")
    return KubeletChoice(topology, options)
