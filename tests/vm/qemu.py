"""The command line of QEMU for a server; pure."""

from __future__ import annotations

import itertools
from pathlib import Path  # noqa: TC003 - attrs resolves field types at run time
from typing import TYPE_CHECKING

import attrs

from crirm.hosts.spec import usual_distances
from crirm.model.topology import MemoryKind
from tests.vm.servers import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.hosts.synthetic import HostSpec

_BLOCK = 128 * MIB  # the kernel adds memory by these; an NVDIMM is one larger, for its own first pages
PROGRAM = "qemu-system-x86_64"

_ACCELERATOR = "tcg,thread=multi,tb-size=512"  # MiB of translated code
# A processor model that has threads, cores and dies; emulating its wide registers only costs time.
_PROCESSOR = "Icelake-Server,-avx,-avx2"

# Software emulation has no use for any of these, and each costs time.
_KERNEL_QUICK = "mitigations=off nokaslr random.trust_cpu=on audit=0 no_timer_check tsc=reliable"
# A panic ends the machine (QEMU runs with -no-reboot), and so does a processor that gets nowhere for a minute.
_KERNEL_STRICT = "panic=-1 oops=panic rcupdate.rcu_cpu_stall_timeout=60 sysctl.kernel.panic_on_rcu_stall=1"


@attrs.frozen
class Disk:
    """A file that the guest sees as ``/dev/vdX``, in the order in which they are given.

    Args:
        path: the file.
        kept: whether what the guest writes stays in it.
    """

    path: Path
    kept: bool = False


@attrs.frozen
class Boot:
    """What is started.

    Args:
        spec: the machine.
        kernel: image of the kernel.
        initrd: the first file system.
        disks: all disks.
        init: program that becomes process 1 once the disks are mounted.
        console: file that gets what the kernel says.
        user: QEMU's character device for the terminal that the job runs on.
        words: further words for the kernel.
    """

    spec: HostSpec
    kernel: Path
    initrd: Path
    disks: tuple[Disk, ...]
    init: str
    console: Path
    user: str = "stdio,signal=off"
    words: tuple[str, ...] = ()


def command_line(boot: Boot) -> list[str]:
    """Return the command that boots a server and ends when the server does."""
    return [
        PROGRAM,
        *("-accel", _ACCELERATOR, "-cpu", _PROCESSOR, "-no-user-config", "-nodefaults", "-no-reboot"),
        *("-display", "none", "-device", "virtio-rng-pci"),
        *machine(boot.spec),
        *("-chardev", f"file,id=console,path={_quoted(boot.console)}", "-serial", "chardev:console"),
        *("-chardev", f"{boot.user},id=user", "-serial", "chardev:user"),
        *(word for index, disk in enumerate(boot.disks) for word in _disk(index, disk)),
        *("-kernel", str(boot.kernel), "-initrd", str(boot.initrd), "-append", kernel_words(boot)),
    ]


def kernel_words(boot: Boot) -> str:
    """Return the kernel's own command line."""
    words = ["console=ttyS0", _KERNEL_QUICK, _KERNEL_STRICT, f"init={boot.init}", *boot.words]
    if boot.spec.isolated:
        words.append(f"isolcpus={boot.spec.isolated}")
    if boot.spec.nohz_full:
        words.append(f"nohz_full={boot.spec.nohz_full}")
    if _empty_sockets(boot.spec):
        words.append(f"possible_cpus={cpu_count(boot.spec)}")
    if not boot.spec.nodes:
        words.append("numa=off")
    return " ".join(words)


def cpu_count(spec: HostSpec) -> int:
    """Return how many CPUs the server has."""
    return spec.packages * spec.dies * max(spec.nodes, 1) * spec.cores * spec.threads


def machine(spec: HostSpec) -> list[str]:
    """Return the options that make the machine: processors, memory, NUMA nodes and distances."""
    cores = max(spec.nodes, 1) * spec.cores
    sockets = spec.packages + len(_empty_sockets(spec))
    counts = f"{cpu_count(spec)},maxcpus={cpu_count(spec) // spec.packages * sockets}"
    shape = f"{counts},sockets={sockets},dies={spec.dies},cores={cores},threads={spec.threads}"
    modules = [at for at, extra in enumerate(spec.memory_only) if extra.kind is MemoryKind.PMEM]
    options = ["-machine", "q35,nvdimm=on" if modules else "q35", "-smp", shape]
    fixed = [spec.memory_of(at) for at in _fixed_nodes(spec)]
    room = sum(spec.memory_only[at].size + _BLOCK for at in modules)
    slots = f",slots={len(modules)},maxmem={(sum(fixed) + room) // MIB + 1024 * len(modules)}M" if modules else ""
    options += ["-m", f"{sum(fixed) // MIB}M{slots}"]
    return options if not spec.nodes else [*options, *_numa(spec)]


def _fixed_nodes(spec: HostSpec) -> list[int]:
    """Return the NUMA nodes whose memory is there from the start: all but NVDIMMs."""
    extras = enumerate(spec.memory_only, start=spec.cpu_nodes)
    return [*range(spec.cpu_nodes), *(at for at, extra in extras if extra.kind is not MemoryKind.PMEM)]


def _numa(spec: HostSpec) -> Iterator[str]:
    total = spec.cpu_nodes + len(spec.memory_only)
    fixed = _fixed_nodes(spec)
    for node in range(total):
        size: int = spec.memory_of(node)
        if node in fixed and size:
            yield from ("-object", f"memory-backend-ram,id=ram{node},size={size // MIB}M")
            yield from ("-numa", f"node,nodeid={node},memdev=ram{node}")
        else:
            yield from ("-numa", f"node,nodeid={node}")
    for place in _places(spec):
        yield from ("-numa", place)
    for one, row in enumerate(usual_distances(spec)):
        for other, far in enumerate(row):
            yield from ("-numa", f"dist,src={one},dst={other},val={far}")
    for node in sorted(set(range(total)) - set(fixed)):
        size = (spec.memory_of(node) + _BLOCK) // MIB
        yield from ("-object", f"memory-backend-ram,id=nv{node},size={size}M")
        yield from ("-device", f"nvdimm,id=nvdimm{node},memdev=nv{node},node={node}")


def _empty_sockets(spec: HostSpec) -> range:
    """Return the NUMA nodes for each of which there is a socket without a processor in it.

    Linux numbers NUMA nodes as it meets them in the firmware's tables, which name NVDIMMs in no order at all, but every
    place for a processor before that, in order.
    """
    has_modules = any(extra.kind is MemoryKind.PMEM for extra in spec.memory_only)
    return range(spec.cpu_nodes, spec.cpu_nodes + len(spec.memory_only)) if has_modules else range(0)


def _places(spec: HostSpec) -> Iterator[str]:
    """Yield which node each core belongs to; QEMU counts cores per die, we count them per node."""
    for package, die, core in _cores(spec, range(spec.packages)):
        node = (package * spec.dies + die) * spec.nodes + core // spec.cores
        yield f"cpu,node-id={node},{_place(spec, package, die, core)}"
    for package, node in enumerate(_empty_sockets(spec), start=spec.packages):
        for _, die, core in _cores(spec, range(package, package + 1)):
            yield f"cpu,node-id={node},{_place(spec, package, die, core)}"


def _cores(spec: HostSpec, packages: range) -> Iterator[tuple[int, int, int]]:
    return itertools.product(packages, range(spec.dies), range(spec.nodes * spec.cores))


def _place(spec: HostSpec, package: int, die: int, core: int) -> str:
    return (
        f"socket-id={package},die-id={die},core-id={core}" if spec.dies > 1 else f"socket-id={package},core-id={core}"
    )


def _disk(index: int, disk: Disk) -> tuple[str, ...]:
    snapshot = "off" if disk.kept else "on"  # a snapshot is written beside the file, and forgotten
    drive = f"file={_quoted(disk.path)},id=disk{index},if=none,format=raw,cache=unsafe,snapshot={snapshot}"
    return "-drive", drive, "-device", f"virtio-blk-pci,drive=disk{index}"


def _quoted(path: Path) -> str:
    return str(path).replace(",", ",,")
