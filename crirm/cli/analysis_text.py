"""What the kernel has of a container, for people."""

from __future__ import annotations

from typing import Any, Final

from crirm.cli.explain_text import fact
from crirm.cli.printing import say, say_table
from crirm.cli.replay_text import size
from crirm.cli.tables import Column

AGREES: Final = "kernel and decision agree, and nothing slows it"
UNKNOWN: Final = "the kernel tells nothing that differs"
_MEMORY: Final = (
    Column("NUMA node"),
    Column("memory", right=True),
    Column("share", right=True),
)


def tell_kernel(entry: dict[str, Any]) -> None:
    """Print what the kernel has of the container of *entry*, an answer of the control socket."""
    kernel = entry["kernel"]
    say(f"\nin the kernel, cgroup {kernel['version']}" if kernel["version"] else "\nin the kernel")
    if kernel["cgroup"]:
        fact("cgroup", kernel["cgroup"])
    if kernel["cpus"] is not None or kernel["mems"] is not None:
        fact("effective", f"CPUs {kernel['cpus'] or 'unknown'}; memory of NUMA nodes {kernel['mems'] or 'unknown'}")
    if kernel["pressure_percent"]:
        spans = kernel["pressure_percent"]
        waits = f"{spans['avg10']:g} % of the last 10 s, {spans['avg60']:g} % of 1 min, {spans['avg300']:g} % of 5 min"
        fact("CPU wait", waits)
    if kernel["throttling"]:
        fact("throttled", _throttling(kernel["throttling"]))
    for missing in kernel["missing"]:
        fact("missing", missing)
    for finding in kernel["findings"] or [_nothing_found(kernel)]:
        fact("finding", finding)
    if kernel["memory_bytes"]:
        say("")
        _tell_memory(kernel)


def _nothing_found(kernel: dict[str, Any]) -> str:
    return UNKNOWN if kernel["missing"] else AGREES


def _throttling(throttling: dict[str, Any]) -> str:
    if not throttling["periods"]:
        return "no CPU limit has been in force"
    seconds = throttling["throttled_us"] / 1e6
    return f"in {throttling['throttled']} of {throttling['periods']} periods, {seconds:.3g} s in all"


def _tell_memory(kernel: dict[str, Any]) -> None:
    memory: dict[str, int] = kernel["memory_bytes"]
    total = sum(memory.values())
    rows = [[node, size(amount), _percent(amount, total)] for node, amount in memory.items()]
    remote = kernel["remote_bytes"]
    say_table(_MEMORY, [*rows, ["remote", size(remote), _percent(remote, total)]])
    say(f"(from {kernel['memory_source']}; remote: on nodes not near its CPUs)")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"
