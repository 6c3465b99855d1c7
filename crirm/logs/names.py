"""The log sources of crirm, and their names in CRI Resource Manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.logs.debug_spec import nearest
from crirm.logs.source import EVERY_SOURCE

if TYPE_CHECKING:
    from collections.abc import Collection

SOURCES = {
    "cli": "command line and environment",
    "config": "the active configuration, and changes of it",
    "config-server": "configurations and overrides from the node agent",
    "control": "the control socket, for crirm status and explain",
    "containerd": "the private containerd of crirm demo and tests",
    "daemon": "start, stop and signals of the daemon",
    "enforcer": "enforcement of decisions in cgroups",
    "grpc": "gRPC and HTTP/2 libraries",
    "logs": "logging itself",
    "machine": "hotplug of CPUs and memory, and changes of cgroups above pods",
    "message": "the message dump",
    "relay": "calls relayed between the kubelet and the runtime",
    "policy": "decisions about containers",
    "runtime": "the connection to the runtime",
    "sim": "the embedded runtime",
    "resource-manager-agent": "queries to the node agent",
    "stdlog": "libraries with Python's standard logging; on: all their messages",
    "store": "saved state",
    "system": "sockets, systemd and other facilities of the host",
}

REFERENCE_SOURCES = {
    "cri/client": "runtime",
    "cri/relay": "relay",
    "cri/server": "relay",
    "dump": "message",
    "resource-manager": "daemon",
}

LATER_SOURCES = frozenset((
    "avx", "blockio", "cache", "cgroupblkio", "cgroupstats", "collectors", "config-updater", "cpu",
    "cpuallocator", "cri", "events", "expression", "http", "instrospect", "instrumentation",
    "memory", "metrics", "page-migration", "rdt", "resource-control", "static",
    "static-plus", "static-pools", "sysfs", "visualizer", "watcher",
))  # fmt: skip


def own_name(source: str) -> str:
    """Return the name under which crirm has *source*, which may be a name of CRI Resource Manager."""
    return REFERENCE_SOURCES.get(source, source)


def complaint(source: str, *, known: Collection[str]) -> str | None:
    """Return what is wrong with *source* as a source name, or None; *known* names exist besides those listed here."""
    if source in SOURCES or source in known or source == EVERY_SOURCE:
        return None
    if source in LATER_SOURCES:
        return "this version of crirm has no such source"
    return f"no such source{nearest(source, {*SOURCES, *known})}"
