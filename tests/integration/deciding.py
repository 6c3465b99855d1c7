"""A machine of eight CPUs on which crirm decides over the embedded runtime."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import attrs

from crirm.cri.proto.runtime import v1
from crirm.hosts.synthetic import HostSpec, write_tree
from tests.conformance.cri import OK, V1, Cri
from tests.daemons import CRIRM

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.client import Reply
    from tests.integration.support import Program, Stage

HOST = HostSpec(packages=2, cores=4, threads=1)
FOR_EVER = ("sleep", "1000000")


@attrs.define
class Node:
    """A machine of eight CPUs with the embedded runtime."""

    stage: Stage
    policy: str
    state: Path
    _cri: Cri | None = None

    def start(self, *args: object) -> Program:
        options = ["--policy", self.policy, "--reserved-cpus", "cpuset:0", "--host-root", self.stage.place / "host"]
        relay = self.stage.relay(*options, "--state-dir", self.state, *args)
        self._cri = Cri(self.stage.client(), V1)
        return relay

    def past_crirm(self) -> None:
        """Ask the runtime itself until crirm is started again."""
        self._cri = Cri(self.stage.client(socket=self.stage.runtime_socket), V1)

    @property
    def cri(self) -> Cri:
        assert self._cri is not None, "crirm was never started"
        return self._cri

    def create(self, uid: str, cpus: float, pod: str = "", command: tuple[str, ...] = FOR_EVER) -> Reply:
        config = v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name=uid, uid=uid, namespace="default"),
            linux=v1.LinuxPodSandboxConfig(cgroup_parent=f"/kubepods/pod{uid}"),
        )
        if not pod:
            run = v1.RunPodSandboxRequest(config=config)
            pod = self.cri.call("RunPodSandbox", run, v1.RunPodSandboxResponse).pod_sandbox_id
        resources = v1.LinuxContainerResources(cpu_shares=int(cpus * 1024), memory_limit_in_bytes=64 << 20)
        container = v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name="main"),
            image=v1.ImageSpec(image="busybox"),
            command=list(command),
            linux=v1.LinuxContainerConfig(resources=resources),
        )
        request = v1.CreateContainerRequest(pod_sandbox_id=pod, sandbox_config=config, config=container)
        return self.cri.reply("CreateContainer", request)

    def run(self, uid: str, cpus: float, command: tuple[str, ...] = FOR_EVER) -> str:
        reply = self.create(uid, cpus, command=command)
        assert reply.code == OK, reply
        container = v1.CreateContainerResponse().parse(reply.message).container_id
        self.cri.call("StartContainer", v1.StartContainerRequest(container_id=container), v1.StartContainerResponse)
        return container

    def end(self, container: str) -> None:
        for method in ("StopContainer", "RemoveContainer"):
            assert self.cri.reply(method, v1.StopContainerRequest(container_id=container)).code == OK

    def told(self) -> dict[str, str]:
        return {each["id"]: each["cpus"] for each in self.ask("status")["containers"]}

    def ask(self, *words: str) -> Any:
        return json.loads(crirm(*words, "--control-socket", str(self.stage.place / "r-control.sock"), "--json"))

    def journal(self, *words: str) -> list[dict[str, Any]]:
        text = crirm("journal", "--state-dir", str(self.state), "--json", *words)
        return [json.loads(line) for line in text.splitlines()]


def crirm(*words: str) -> str:
    return subprocess.run([str(CRIRM), *words], check=True, capture_output=True, text=True).stdout


def make_node(stage: Stage, policy: str = "static", *runtime_args: object) -> Node:
    """A machine on which nothing runs yet, not even crirm."""
    host = stage.place / "host"
    host.mkdir()
    write_tree(HOST, host)
    stage.runtime(*runtime_args)
    image = v1.PullImageRequest(image=v1.ImageSpec(image="busybox"))
    Cri(stage.client(socket=stage.runtime_socket), V1).call("PullImage", image, v1.PullImageResponse)
    return Node(stage, policy, stage.place / "state")
