"""Which servers there are, by name, and what QEMU can make of a description."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.errors import UsageError
from crirm.hosts.spec import slots
from crirm.hosts.synthetic import HostSpec, parse_spec
from crirm.model.topology import MemoryKind

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
_MOST_CPUS = 255  # more need an interrupt remapping unit, and software emulation is no fun from 64 on


class ServerError(UsageError):
    """No server can be emulated from a description."""


@attrs.frozen
class Server:
    """A machine that can be booted.

    Args:
        name: by which tests ask for it; the description itself where a person made it up.
        line: its description, in the language of docs/topology.md.
        about: for people.
        in_ci: whether the tests inside it belong to the set that runs on every submission.
        systemd: whether it boots systemd, which then also makes the cgroups; else a few lines of shell.
    """

    name: str
    line: str
    about: str = ""
    in_ci: bool = False
    systemd: bool = False

    @property
    def spec(self) -> HostSpec:
        """The host that it is.

        Raises:
            ServerError: QEMU does not make such a machine.
            HostSpecError: the description makes no sense.
        """
        spec = attrs.evolve(parse_spec(self.line), adjacent_threads=True)
        for fault in _faults(spec):
            raise ServerError(f"server {self.line!r}: {fault}")
        return spec


SERVERS = {
    server.name: server
    for server in (
        Server("one-socket", "1p.4c.2t mem=2Gi", "one package, one NUMA node"),
        Server("two-sockets", "2p.2n.2c.2t mem=1Gi", "two packages of two NUMA nodes", in_ci=True),
        Server("dies", "2p.2d.2n.2c.2t mem=512Mi", "two packages of two dies of two NUMA nodes"),
        Server("far-memory", "4p.1c mem=1Gi pmem=4x1Gi", "four packages, persistent memory beside each", in_ci=True),
        Server("movable", "2p.2c mem=1Gi pmem=2x1Gi movable=2-3", "persistent memory that the kernel may not use"),
        Server("systemd", "1p.2n.2c.2t mem=1Gi", "one package, cgroups made by systemd", in_ci=True, systemd=True),
        Server("isolated", "2p.2n.2c.2t mem=1Gi isolated=8-9", "two-sockets with one isolated core", in_ci=True),
    )
}


def find_server(text: str) -> Server:
    """Return the server named *text*, or else the one that it describes.

    Raises:
        ServerError: it is neither.
    """
    server = SERVERS.get(text) or Server(text, text)
    try:
        _ = server.spec
    except ServerError:
        raise
    except UsageError as fault:
        raise ServerError(f"{fault}; servers with a name are {', '.join(SERVERS)}") from None
    return server


def _faults(spec: HostSpec) -> Iterator[str]:
    cpus = len(slots(spec))
    if cpus > _MOST_CPUS:
        yield f"has {cpus} CPUs; {_MOST_CPUS} is the most that is emulated"
    usual = HostSpec()
    for field, word in _NOT_EMULATED.items():
        if getattr(spec, field) != getattr(usual, field):
            yield f"{word} cannot be emulated"
    for extra in spec.memory_only:
        if extra.kind is MemoryKind.CXL:
            yield "cxl= cannot be emulated; the kernel inside would not tell it from other memory, so take pmem="
    sizes = (*spec.memory, *(extra.size for extra in spec.memory_only))
    if any(size % (128 * MIB) for size in sizes):
        yield "memory sizes are multiples of 128Mi, of which the kernel adds and removes memory"
    if 0 in spec.movable:
        yield "NUMA node 0 cannot be movable; the kernel itself lives there"
    dram = set(range(spec.cpu_nodes))
    if spec.movable and not dram.isdisjoint(spec.movable):
        yield "movable= names nodes with CPUs; only pmem= nodes can be"


_NOT_EMULATED = {
    "l3s": "l (L3 groups)",
    "clusters": "k (clusters)",
    "ecores": "ecores=",
    "holes": "holes=",
    "node_ids": "nodes=",
    "base_khz": "base=",
    "preferences": "epp=",
    "l2_size": "l2=",
    "l3_size": "l3=",
}
"""What a description can have and an emulated server cannot, by field, and how it is written."""
