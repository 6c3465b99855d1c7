"""The CPUs and memory that pods may use: online ones, limited by the cgroups above pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.errors import CrirmError
from crirm.model.hardware import limit_text
from crirm.system.doctor.finding import Finding, Verdict
from crirm.system.machine import MachineFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.model.hardware import Hardware, Limit
    from crirm.system.doctor.host import Host

ONLINE = "/sys/devices/system/cpu/online"


def check_cpus(host: Host) -> Iterator[Finding]:
    """Check that pods may use all online CPUs and all memory."""
    try:
        hardware, _ = MachineFiles(host.root).read(())
    except CrirmError as error:
        yield Finding("cpus", Verdict.FAIL, str(error), ONLINE, "mount the host's /sys below --host-root")
        return
    offline = f"; CPUs {hardware.whole.offline} are offline and not used" if hardware.whole.offline else ""
    yield Finding("cpus", Verdict.OK, f"CPUs {hardware.whole.online} are online{offline}", ONLINE)
    for limit in hardware.limits:
        yield Finding("cpus", Verdict.WARNING, limit_text(limit, hardware.whole), limit.file, _fix(limit, hardware))


def _fix(limit: Limit, hardware: Hardware) -> str:
    whole = hardware.whole
    if limit.forgets:
        return (
            f"write {whole.online} to {limit.file}, then to the same file of every child cgroup: with cgroup v1, a "
            "CPU that was offline is missing from all cgroups but the root until it is written back"
        )
    return (
        f"give {limit.cgroup} all of CPUs {whole.online} and NUMA nodes {whole.memory_nodes} (systemd: AllowedCPUs= "
        "and AllowedMemoryNodes= of its slice), or leave it: crirm does not use the others"
    )
