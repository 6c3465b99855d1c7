"""Resource usage of the simulated processes: figures derived from the id and age of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.cri.proto.runtime.v1 import (
    ContainerAttributes,
    ContainerMetrics,
    ContainerStats,
    CpuUsage,
    FilesystemIdentifier,
    FilesystemUsage,
    ImageFsInfoResponse,
    LinuxPodSandboxStats,
    MemoryUsage,
    Metric,
    MetricDescriptor,
    MetricType,
    NetworkInterfaceUsage,
    NetworkUsage,
    PodSandboxAttributes,
    PodSandboxMetrics,
    PodSandboxStats,
    ProcessUsage,
    SwapUsage,
    UInt64Value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crirm.sim.containers import Record
    from crirm.sim.images import Images
    from crirm.sim.pods import Pod

MOUNT_POINT = "/var/lib/crirm-sim"
MIB = 1 << 20
_CPU, _MEMORY = "container_cpu_usage_seconds_total", "container_memory_working_set_bytes"
_LABELS = ["id", "name", "image"]
DESCRIPTORS = [
    MetricDescriptor(name=_CPU, help="CPU time used, in seconds", label_keys=_LABELS),
    MetricDescriptor(name=_MEMORY, help="memory that cannot be reclaimed easily, in bytes", label_keys=_LABELS),
]


def nano_cores(record: Record) -> int:
    """Return how much CPU *record* uses all the time, in billionths of a CPU: 1 m to 50 m, depending on its id."""
    return (int(record.id[:4], 16) % 50 + 1) * 10**6


def working_set_bytes(record: Record) -> int:
    """Return how much memory *record* uses, 1 MiB to 64 MiB, depending on its id."""
    return (int(record.id[4:8], 16) % 64 + 1) * MIB


def cpu_ns(record: Record, now_ns: int) -> int:
    """Return the CPU time *record* has used since it started, in nanoseconds."""
    return (now_ns - record.started_ns) * nano_cores(record) // 10**9


def _count(value: int) -> UInt64Value:
    return UInt64Value(value=value)


def _cpu(records: Sequence[Record], now_ns: int) -> CpuUsage:
    return CpuUsage(
        timestamp=now_ns,
        usage_core_nano_seconds=_count(sum(cpu_ns(record, now_ns) for record in records)),
        usage_nano_cores=_count(sum(nano_cores(record) for record in records)),
    )


def _memory(records: Sequence[Record], now_ns: int) -> MemoryUsage:
    used = sum(working_set_bytes(record) for record in records)
    limit = sum(record.resources.memory_limit_in_bytes for record in records)
    return MemoryUsage(
        timestamp=now_ns,
        working_set_bytes=_count(used),
        available_bytes=_count(max(limit - used, 0)),
        usage_bytes=_count(used + len(records) * MIB),
        rss_bytes=_count(used // 2),
        page_faults=_count(used // 4096),
        major_page_faults=_count(0),
    )


def container_stats(record: Record, now_ns: int) -> ContainerStats:
    """Return the figures of a container; without CPU and memory unless it runs."""
    config = record.config
    stats = ContainerStats(
        attributes=ContainerAttributes(
            id=record.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        ),
        writable_layer=_filesystem(working_set_bytes(record) // 16, 16, now_ns),
    )
    if record.is_running:
        stats.cpu, stats.memory = _cpu([record], now_ns), _memory([record], now_ns)
        stats.swap = SwapUsage(timestamp=now_ns, swap_available_bytes=_count(0), swap_usage_bytes=_count(0))
    return stats


def pod_stats(pod: Pod, records: Sequence[Record], now_ns: int) -> PodSandboxStats:
    """Return the figures of a ready pod sandbox whose containers are *records*."""
    config = pod.config
    running = [record for record in records if record.is_running]
    stats = PodSandboxStats(
        attributes=PodSandboxAttributes(
            id=pod.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        ),
        linux=LinuxPodSandboxStats(
            cpu=_cpu(running, now_ns),
            memory=_memory(running, now_ns),
            process=ProcessUsage(timestamp=now_ns, process_count=_count(len(running))),
            containers=[container_stats(record, now_ns) for record in records],
        ),
    )
    if pod.ip:
        stats.linux.network = NetworkUsage(timestamp=now_ns, default_interface=_interface(pod, now_ns))
    return stats


def _interface(pod: Pod, now_ns: int) -> NetworkInterfaceUsage:
    age_s = (now_ns - pod.created_ns) // 10**9
    zero = _count(0)
    return NetworkInterfaceUsage(
        name="eth0", rx_bytes=_count(age_s * 100), rx_errors=zero, tx_bytes=_count(age_s * 50), tx_errors=zero
    )


def pod_metrics(pod: Pod, records: Sequence[Record], now_ns: int) -> PodSandboxMetrics:
    """Return the metrics of the running containers *records* of *pod*."""
    return PodSandboxMetrics(
        pod_sandbox_id=pod.id,
        container_metrics=[
            ContainerMetrics(container_id=record.id, metrics=_metrics(record, now_ns)) for record in records
        ],
    )


def _metrics(record: Record, now_ns: int) -> list[Metric]:
    labels = [record.id, record.config.metadata.name, record.config.image.image]
    counter, gauge = MetricType(MetricType.COUNTER), MetricType(MetricType.GAUGE)
    cpu_s, memory = _count(cpu_ns(record, now_ns) // 10**9), _count(working_set_bytes(record))
    return [
        Metric(name=_CPU, timestamp=now_ns, metric_type=counter, label_values=labels, value=cpu_s),
        Metric(name=_MEMORY, timestamp=now_ns, metric_type=gauge, label_values=labels, value=memory),
    ]


def image_filesystems(images: Images, now_ns: int) -> ImageFsInfoResponse:
    """Return what the images, and the container's writable layers beside them, take of the disk."""
    usage = _filesystem(images.total_bytes(), 1 + 10 * sum(1 for _ in images), now_ns)
    return ImageFsInfoResponse(image_filesystems=[usage], container_filesystems=[usage])


def _filesystem(used_bytes: int, inodes: int, now_ns: int) -> FilesystemUsage:
    return FilesystemUsage(
        timestamp=now_ns,
        fs_id=FilesystemIdentifier(mountpoint=MOUNT_POINT),
        used_bytes=_count(used_bytes),
        inodes_used=_count(inodes),
    )
