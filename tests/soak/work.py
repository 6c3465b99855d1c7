"""The work: calls that are only relayed, and pods that are placed, live and end, from several callers at once."""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import attrs
import betterproto

from crirm.cri.proto.runtime import v1
from tests.conformance.client import GrpcioClient, unary
from tests.conformance.cri import NOT_FOUND, OK, RESOURCE_EXHAUSTED, V1, Cri

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

Reply = TypeVar("Reply", bound=betterproto.Message)

ALIVE = 3  # pods of each caller at once
SIZES = (1000, 1000, 2000, 3000, 500, 100, 0)  # thousandths of a CPU; whole ones in Guaranteed pods are exclusive
ENDS = ("job", "stopped")  # by itself, or because somebody stops it
RELAYED: tuple[tuple[str, betterproto.Message], ...] = (
    ("Version", v1.VersionRequest()),
    ("Status", v1.StatusRequest()),
    ("ListContainers", v1.ListContainersRequest()),
    ("ListPodSandbox", v1.ListPodSandboxRequest()),
    ("ListContainerStats", v1.ListContainerStatsRequest()),
    ("ImageFsInfo", v1.ImageFsInfoRequest()),
    ("ListImages", v1.ListImagesRequest()),
    ("PodSandboxStatus", v1.PodSandboxStatusRequest(pod_sandbox_id="nobody")),
)


@attrs.define
class Count:
    """What several callers have done, up to what they are to do."""

    most: int
    begun: int = 0
    done: int = 0
    refused: int = 0
    faults: list[BaseException] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def take(self) -> bool:
        """Begin another one, if any is left and nothing went wrong."""
        with self._lock:
            if self.begun >= self.most or self.faults:
                return False
            self.begun += 1
            return True

    def finish(self, *, refused: bool = False) -> None:
        """Note down that one is over."""
        with self._lock:
            self.done += 1
            self.refused += refused


def all_at_once(
    socket: Path, callers: int, count: Count, work: Callable[[Cri, Count, int], None], watch: Callable[[int], None]
) -> None:
    """Have *callers* do *work* until *count* is reached; *watch* is told how much is done, every now and then."""
    threads = [threading.Thread(target=_work, args=(socket, count, work, number)) for number in range(callers)]
    for thread in threads:
        thread.start()
    step, told = max(1, count.most // 100), 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.05)
        if count.done >= told + step:
            told = count.done
            watch(told)
    for thread in threads:
        thread.join()
    for fault in count.faults:
        raise fault


def _work(socket: Path, count: Count, work: Callable[[Cri, Count, int], None], number: int) -> None:
    client = GrpcioClient(socket)
    try:
        work(Cri(client, V1), count, number)
    except BaseException as fault:  # noqa: BLE001 - raised by who waits
        count.faults.append(fault)
    finally:
        client.close()


def relay(cri: Cri, count: Count, number: int) -> None:
    """Make calls in which crirm takes no part, one after the other."""
    asked = itertools.cycle([(cri.path(method), bytes(request)) for method, request in RELAYED])
    for path, request in itertools.islice(asked, number, None):
        if not count.take():
            return
        reply = unary(cri.client, path, request)
        assert reply.code in {OK, NOT_FOUND}, f"{path}: {reply.code} {reply.text}"
        count.finish()


def live(cri: Cri, count: Count, number: int) -> None:
    """Have pods live, a few at a time, in an order that follows from *number*."""
    dice = random.Random(number)
    alive: list[Generator[None, None, bool]] = []
    lives = (Life(cri, dice, f"c{number}-{each}") for each in itertools.count())
    more = True
    while alive or more:
        if more and len(alive) < ALIVE and (more := count.take()):
            alive.append(next(lives).steps())
        if not alive:
            continue
        one = dice.choice(alive)
        try:
            next(one)
        except StopIteration as over:
            alive.remove(one)
            count.finish(refused=bool(over.value))


@attrs.define
class Life:
    """One pod with one container, as the kubelet has it made, looks at it and takes it down."""

    cri: Cri
    dice: random.Random
    uid: str

    def steps(self) -> Generator[None, None, bool]:
        """Do one thing between two values; return whether there was no room for the container."""
        config, end, cpu = self.config(), self.dice.choice(ENDS), self.dice.choice(SIZES)
        pod = self.call("RunPodSandbox", v1.RunPodSandboxRequest(config=config), v1.RunPodSandboxResponse)
        yield
        container = self.container(end, cpu)
        request = v1.CreateContainerRequest(pod.pod_sandbox_id, container, config)
        reply = self.cri.reply("CreateContainer", request)
        assert reply.code in {OK, RESOURCE_EXHAUSTED}, reply
        yield
        if reply.code == OK:
            made = v1.CreateContainerResponse().parse(reply.message)
            yield from self.container_steps(made.container_id, end, cpu)
        stop = v1.StopPodSandboxRequest(pod_sandbox_id=pod.pod_sandbox_id)
        self.call("StopPodSandbox", stop, v1.StopPodSandboxResponse)
        yield
        removal = v1.RemovePodSandboxRequest(pod_sandbox_id=pod.pod_sandbox_id)
        self.call("RemovePodSandbox", removal, v1.RemovePodSandboxResponse)
        return reply.code != OK

    def container_steps(self, container: str, end: str, cpu: int) -> Generator[None, None, None]:
        """Do likewise for the container."""
        self.call("StartContainer", v1.StartContainerRequest(container_id=container), v1.StartContainerResponse)
        yield
        self.status(container)
        yield
        if self.dice.random() < 0.3 and end != "job":
            resized = v1.UpdateContainerResourcesRequest(container_id=container, linux=resources(cpu + 1000))
            reply = self.cri.reply("UpdateContainerResources", resized)
            assert reply.code in {OK, RESOURCE_EXHAUSTED}, reply
            yield
        if end == "stopped":
            stop = v1.StopContainerRequest(container_id=container)
            self.call("StopContainer", stop, v1.StopContainerResponse)
            yield
        while self.status(container) != v1.ContainerState(2):
            yield
        removal = v1.RemoveContainerRequest(container_id=container)
        self.call("RemoveContainer", removal, v1.RemoveContainerResponse)
        yield

    def config(self) -> v1.PodSandboxConfig:
        """Return the pod."""
        metadata = v1.PodSandboxMetadata(name=self.uid, uid=self.uid, namespace="soak")
        return v1.PodSandboxConfig(
            metadata=metadata,
            labels={"app": self.uid},
            annotations={"kubernetes.io/config.source": "api"},
            linux=v1.LinuxPodSandboxConfig(cgroup_parent=f"/kubepods/pod{self.uid}"),
        )

    def container(self, end: str, cpu: int) -> v1.ContainerConfig:
        """Return its container."""
        command = ["true"] if end == "job" else ["sleep", "1000000"]
        return v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name="main"),
            image=v1.ImageSpec(image="busybox"),
            command=command,
            envs=[v1.KeyValue(key=f"NAME_{number}", value=b"value") for number in range(20)],
            linux=v1.LinuxContainerConfig(resources=resources(cpu)),
        )

    def status(self, container: str) -> v1.ContainerState:
        """Return the container's state."""
        request = v1.ContainerStatusRequest(container_id=container)
        status = self.call("ContainerStatus", request, v1.ContainerStatusResponse).status
        assert status is not None
        return status.state

    def call(self, method: str, request: betterproto.Message, kind: type[Reply]) -> Reply:
        """Make a call that must be answered well."""
        return self.cri.call(method, request, kind)


def resources(cpu: int) -> v1.LinuxContainerResources:
    """Return what a container of *cpu* thousandths asks for."""
    return v1.LinuxContainerResources(
        cpu_shares=max(2, cpu * 1024 // 1000),
        cpu_period=100_000 if cpu else 0,
        cpu_quota=cpu * 100,
        memory_limit_in_bytes=64 << 20,
    )
