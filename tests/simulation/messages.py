"""The messages of CRI that the models send, written by field number as ``crirm.cri.decode`` reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODULUS = 1 << 64


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def text(number: int, value: str) -> bytes:
    """Return a field that holds a string; nothing where it is empty."""
    return sub(number, value.encode()) if value else b""


def num(number: int, value: int) -> bytes:
    """Return a field that holds an integer; nothing where it is 0."""
    return _varint(number << 3) + _varint(value % _MODULUS) if value else b""


def sub(number: int, value: bytes) -> bytes:
    """Return a field that holds a message."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def mapping(number: int, values: Mapping[str, str]) -> bytes:
    """Return a map of strings."""
    return b"".join(sub(number, text(1, key) + text(2, value)) for key, value in values.items())


@attrs.frozen
class Resources:
    """LinuxContainerResources, as far as anybody here looks at them."""

    period: int = 0
    quota: int = 0
    shares: int = 0
    memory: int = 0
    cpus: str = ""
    mems: str = ""

    def encode(self) -> bytes:
        """Return the message."""
        return (
            num(1, self.period) + num(2, self.quota) + num(3, self.shares) + num(4, self.memory)
            + text(6, self.cpus) + text(7, self.mems)
        )  # fmt: skip

    def updated(self, other: Resources) -> Resources:
        """Return these with what *other* says; 0 and nothing leave as it is."""
        said = {name: value for name, value in attrs.asdict(other).items() if value}
        return attrs.evolve(self, **said)


def run_pod(
    name: str,
    uid: str,
    namespace: str,
    attempt: int,
    annotations: Mapping[str, str],
    parent: str,
    resources: Resources,
) -> bytes:
    """Return a RunPodSandboxRequest."""
    metadata = text(1, name) + text(2, uid) + text(3, namespace) + num(4, attempt)
    linux = text(1, parent) + sub(5, resources.encode())
    return sub(1, sub(1, metadata) + mapping(7, annotations) + sub(8, linux))


def create(pod: str, name: str, attempt: int, resources: Resources) -> bytes:
    """Return a CreateContainerRequest."""
    config = sub(1, text(1, name) + num(2, attempt)) + sub(15, sub(1, resources.encode()))
    return text(1, pod) + sub(2, config)


def by_id(ident: str, *, verbose: bool = False) -> bytes:
    """Return a request that names one pod or container."""
    return text(1, ident) + num(2, int(verbose))


UID_LABEL = "io.kubernetes.pod.uid"


def of_pod(selector: int, uid: str) -> bytes:
    """Return a list request for what belongs to the kubelet's pod *uid*; *selector* is the field of labels."""
    return sub(1, mapping(selector, {UID_LABEL: uid}))


def update(container: str, resources: Resources) -> bytes:
    """Return an UpdateContainerResourcesRequest."""
    return text(1, container) + sub(2, resources.encode())


def pod_item(
    ident: str, name: str, uid: str, namespace: str, attempt: int, ready: bool, notes: Mapping[str, str]
) -> bytes:
    """Return an item of a ListPodSandboxResponse."""
    metadata = text(1, name) + text(2, uid) + text(3, namespace) + num(4, attempt)
    return sub(1, text(1, ident) + sub(2, metadata) + num(3, int(not ready)) + mapping(6, notes))


def container_item(ident: str, pod: str, name: str, attempt: int, state: int, created_ns: int) -> bytes:
    """Return an item of a ListContainersResponse."""
    metadata = text(1, name) + num(2, attempt)
    return sub(1, text(1, ident) + text(2, pod) + sub(3, metadata) + num(6, state) + num(7, created_ns))


def container_status(ident: str, state: int, resources: Resources, *, told: bool, verbose: bool) -> bytes:
    """Return a ContainerStatusResponse; containerd before 1.7 tells resources only in the verbose specification."""
    status = text(1, ident) + num(3, state)
    if told:
        status += sub(16, sub(1, resources.encode()))
    cpu = {"shares": resources.shares, "quota": resources.quota, "period": resources.period, "cpus": resources.cpus}
    tree = {"runtimeSpec": {"linux": {"resources": {"cpu": cpu, "memory": {"limit": resources.memory}}}}}
    return sub(1, status) + (mapping(2, {"info": json.dumps(tree)}) if verbose else b"")


def pod_status(ident: str, parent: str, *, verbose: bool) -> bytes:
    """Return a PodSandboxStatusResponse."""
    tree = {"config": {"linux": {"cgroup_parent": parent}}}
    return sub(1, text(1, ident)) + (mapping(2, {"info": json.dumps(tree)}) if verbose else b"")


def event(container: str, kind: int) -> bytes:
    """Return a ContainerEventResponse."""
    return text(1, container) + num(2, kind)


def version(name: str, number: str) -> bytes:
    """Return a VersionResponse."""
    return text(1, "0.1.0") + text(2, name) + text(3, number) + text(4, "v1")
