"""Traces: containers that arrive and leave, the same ones for every policy, since nothing here asks a policy.

A container arrives when less than a part of the machine's CPUs is requested (the *load*); otherwise one leaves. All
together never request more CPUs or memory than the machine has, so every container can be placed, if need be on CPUs of
several NUMA nodes. Each container fits one empty node.
"""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIB: Final = 1 << 30


@attrs.frozen
class Item:
    """One container.

    Args:
        name: unique within the trace.
        millicpu: requested; whole CPUs are exclusive ones.
        memory: bytes, the limit (Guaranteed: the request as well).
        request: bytes that are promised.
        shared: whether it is Burstable, on shared CPUs.
        device: the NUMA node of its device, None without one.
    """

    name: str
    millicpu: int
    memory: int
    request: int
    shared: bool = False
    device: int | None = None


@attrs.frozen
class Step:
    """One container arrives, or (``leaves``) the one of this name leaves."""

    item: Item
    leaves: bool = False


@attrs.frozen
class Host:
    """A machine to place on.

    Args:
        spec: of the synthetic host.
        cpus: for containers, by NUMA node (without the reserved ones).
        memory: bytes of each node.
        packages: which have equally many nodes each.
    """

    spec: str
    cpus: tuple[int, ...]
    memory: int
    packages: int = 1

    def around(self, node: int) -> range:
        """Return the nodes of the package that *node* is in."""
        size = len(self.cpus) // self.packages
        return range(node // size * size, (node // size + 1) * size)

    @property
    def total(self) -> int:
        """CPUs for containers."""
        return sum(self.cpus)


@attrs.frozen
class Shape:
    """What the containers of a trace are like.

    Args:
        key: for the command line.
        text: for the report.
        load: containers arrive while less than this part of the machine's CPUs is requested.
        make: makes the container of this number.
        lives: draws how long a container stays, in hours; None: who leaves is drawn among all.
        first: shared containers that arrive first and stay.
    """

    key: str
    text: str
    load: float
    make: Callable[[random.Random, Host, int], Item]
    lives: Callable[[random.Random], float] | None = None
    first: int = 0


def exclusive(number: int, cpus: int, draw: random.Random, host: Host, most: float = 1.0) -> Item:
    """Return a Guaranteed container with 0.25 to *most* times the memory that a node has per CPU, for each CPU."""
    each = host.memory / max(host.cpus)
    memory = min(int(cpus * each * draw.uniform(0.25, most)), int(host.memory * 0.95)) // GIB * GIB or GIB
    return Item(f"c{number:04}", 1000 * cpus, memory, memory)


def burstable(number: int, millicpu: int, draw: random.Random, host: Host) -> Item:
    """Return a Burstable container that may use up to four times the memory that it requests."""
    request = int(host.memory * draw.uniform(0.01, 0.04)) // GIB * GIB or GIB
    return Item(f"c{number:04}", millicpu, request * draw.randint(1, 4), request, shared=True)


def steps(shape: Shape, host: Host, seed: int, arrivals: int) -> tuple[Step, ...]:
    """Return the trace of *shape* on *host*; the same arguments lead to the same trace."""
    draw = random.Random(f"{shape.key} {seed}")  # noqa: S311 - not a secret
    return tuple(_Trace(shape, host, draw).steps(arrivals))


@attrs.define
class _Trace:
    shape: Shape
    host: Host
    draw: random.Random
    present: dict[str, Item] = attrs.field(factory=dict)
    ends: list[tuple[float, str]] = attrs.field(factory=list)
    now_h: float = 0

    def steps(self, arrivals: int) -> Iterator[Step]:
        for number in range(self.shape.first):
            item = Item(f"s{number}", 500, GIB, GIB, shared=True)
            self._enter(item)
            yield Step(item)
        for number in range(arrivals):
            item = self.shape.make(self.draw, self.host, number)
            while self._full(item):
                yield Step(self._leave(), leaves=True)
            item = self._at_free_device(item)
            self._enter(item)
            yield Step(item)

    def _at_free_device(self, item: Item) -> Item:
        """Return *item* with a device that nobody has, if it is to have one and there is one."""
        busy = {other.device for other in self.present.values()}
        free = [node for node in range(len(self.host.cpus)) if node not in busy]
        if item.device not in busy - {None}:
            return item
        return attrs.evolve(item, device=self.draw.choice(free) if free else None)

    def _full(self, item: Item) -> bool:
        cpu = sum(other.millicpu for other in self.present.values())
        memory = sum(other.request for other in self.present.values()) + item.request
        cpus, most = 1000 * self.host.total, self.host.memory * len(self.host.cpus)
        return cpu >= cpus * self.shape.load or cpu + item.millicpu > cpus or memory > most

    def _enter(self, item: Item) -> None:
        self.present[item.name] = item
        if self.shape.lives is not None:
            self.now_h += 1 / 12
            heapq.heappush(self.ends, (self.now_h + self.shape.lives(self.draw), item.name))

    def _leave(self) -> Item:
        if self.ends:
            self.now_h, name = heapq.heappop(self.ends)
        else:
            name = self.draw.choice([name for name in sorted(self.present) if not name.startswith("s")])
        return self.present.pop(name)
