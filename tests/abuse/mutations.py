"""Valid requests of the ten calls that crirm takes part in, and mutations of them: from one seed, the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.cri.proto.runtime import v1

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    import betterproto

METHODS = (
    "RunPodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "UpdatePodSandboxResources",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "UpdateContainerResources",
    "ContainerStatus",
)
_MOST_BYTES = 20_000
_GIANT_IN = 25  # messages, one gets a giant string
_MOST_REPEATED_BYTES = 500  # the embedded runtime takes seconds to decode hundreds of kilobytes of small fields
_GIANT_BYTES = (1000, 60_000, 500_000)


def requests(pod: str, container: str, uid: str) -> Mapping[str, betterproto.Message]:
    """One valid request of each method, about a pod and a container that are there."""
    resources = v1.LinuxContainerResources(
        cpu_period=100_000, cpu_quota=200_000, cpu_shares=2048, memory_limit_in_bytes=64 << 20, cpuset_cpus="1-2"
    )
    config = v1.PodSandboxConfig(
        metadata=v1.PodSandboxMetadata(name=uid, uid=uid, namespace="default"),
        labels={"app": "abuse"},
        annotations={"prefer-isolated-cpus.cri-resource-manager.intel.com/pod": "true"},
        linux=v1.LinuxPodSandboxConfig(cgroup_parent=f"/kubepods/pod{uid}", resources=resources),
    )
    create = v1.ContainerConfig(
        metadata=v1.ContainerMetadata(name="main"),
        image=v1.ImageSpec(image="busybox"),
        command=["sleep", "1000000"],
        envs=[v1.KeyValue("A", b"b")],
        mounts=[v1.Mount(container_path="/data", host_path="/tmp")],
        labels={"l": "v"},
        annotations={"a": "b"},
        linux=v1.LinuxContainerConfig(resources=resources),
    )
    return {
        "RunPodSandbox": v1.RunPodSandboxRequest(config=config),
        "StopPodSandbox": v1.StopPodSandboxRequest(pod_sandbox_id=pod),
        "RemovePodSandbox": v1.RemovePodSandboxRequest(pod_sandbox_id=pod),
        "UpdatePodSandboxResources": v1.UpdatePodSandboxResourcesRequest(
            pod_sandbox_id=pod, overhead=resources, resources=resources
        ),
        "CreateContainer": v1.CreateContainerRequest(pod_sandbox_id=pod, config=create, sandbox_config=config),
        "StartContainer": v1.StartContainerRequest(container_id=container),
        "StopContainer": v1.StopContainerRequest(container_id=container),
        "RemoveContainer": v1.RemoveContainerRequest(container_id=container),
        "UpdateContainerResources": v1.UpdateContainerResourcesRequest(container_id=container, linux=resources),
        "ContainerStatus": v1.ContainerStatusRequest(container_id=container, verbose=True),
    }


def mutated(message: bytes, dice: random.Random) -> bytes:
    """Return *message* as one or several mutations leave it."""
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        message = dice.choice(_MUTATIONS)(message, dice)[:_MOST_BYTES]
    return _giant_string(message, dice) if not dice.randrange(_GIANT_IN) else message


def _place(message: bytes, dice: random.Random) -> int:
    return dice.randrange(len(message) + 1)


def _flip_bits(message: bytes, dice: random.Random) -> bytes:
    flipped = bytearray(message)
    for _ in range(dice.choice((1, 2, 8))):
        if flipped:
            flipped[dice.randrange(len(flipped))] ^= 1 << dice.randrange(8)
    return bytes(flipped)


def _truncate(message: bytes, dice: random.Random) -> bytes:
    return message[: _place(message, dice)]


def _length_bomb(message: bytes, dice: random.Random) -> bytes:
    at = _place(message, dice)
    return message[:at] + dice.choice((b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\x80" * 11)) + message[at:]


def _wrong_type(message: bytes, dice: random.Random) -> bytes:
    if not message:
        return b"\x08"
    at = dice.randrange(len(message))
    return message[:at] + bytes(((message[at] & 0xF8) | dice.randrange(8),)) + message[at + 1 :]


def _repeat(message: bytes, dice: random.Random) -> bytes:
    start, end = sorted((_place(message, dice), _place(message, dice)))
    times = dice.choice((1, 2, 50)) if end - start <= _MOST_REPEATED_BYTES else 1
    return message[:end] + message[start:end] * times + message[end:]


def _many_fields(message: bytes, dice: random.Random) -> bytes:
    return message + bytes((dice.randrange(1, 16) << 3 | 2, 0)) * dice.choice((10, 100, 1000))


def _giant_string(message: bytes, dice: random.Random) -> bytes:
    size = dice.choices(_GIANT_BYTES, (8, 4, 1))[0]
    text = dice.choice((b"x", b"\xff", b"\x1b[31m", b"0-65535:1/1,", "\u202e".encode())) * size
    return message + bytes((dice.randrange(1, 16) << 3 | 2,)) + _varint(size) + text[:size]


def _nested(message: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.choice((1, 5, 30))):
        message = b"\x0a" + _varint(len(message)) + message
    return message


def _drop(message: bytes, dice: random.Random) -> bytes:
    start, end = sorted((_place(message, dice), _place(message, dice)))
    return message[:start] + message[end:]


def _noise(message: bytes, dice: random.Random) -> bytes:
    at = _place(message, dice)
    return message[:at] + dice.randbytes(dice.choice((1, 4, 40))) + message[at:]


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip_bits,
    _truncate,
    _length_bomb,
    _wrong_type,
    _repeat,
    _many_fields,
    _nested,
    _drop,
    _noise,
)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))
