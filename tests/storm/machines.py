"""What the storm rages on: a runtime, the CPUs of its host, and the words in which it is asked for containers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from crirm.cri.proto.runtime import v1
from crirm.hosts.synthetic import HostSpec, write_tree
from crirm.launcher.containerd import open_containerd
from crirm.launcher.oci_image import BUSYBOX_IMAGE, write_archive
from crirm.model.cpuset import CPUSet
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.registry import POLICIES
from crirm.system.sysfs import discover
from tests.conformance.cri import V1, Cri

if TYPE_CHECKING:
    from crirm.launcher.containerd import Containerd, Installation
    from crirm.policy.api import Policy
    from tests.integration.support import Program, Stage
    from tests.trio_thread import TrioThread

HOST = HostSpec(packages=2, cores=4, threads=2)
NODE = v1.NamespaceOption(network=v1.NamespaceMode(v1.NamespaceMode.NODE))


@attrs.define
class Machine:
    """The embedded runtime on a synthetic host of 16 CPUs, and crirm in front of it.

    Args:
        stage: where it stands.
        name: of the policy.
        sizes: in CPUs, of which containers ask for one.
    """

    stage: Stage
    name: str
    sizes: tuple[float, ...] = (1, 1, 2, 0.1)
    cgroup_parent: str = "/kubepods"
    image: str = "busybox"
    namespaces: v1.NamespaceOption | None = None
    reserved: CPUSet = attrs.field(factory=lambda: CPUSet.of(0))
    host_root: Path = attrs.field(init=False)
    direct: Cri = attrs.field(init=False)
    policy: Policy = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start the runtime and make the policy as crirm will."""
        self.direct = Cri(self.stage.client(socket=self.stage.runtime_socket), V1)
        self.host_root = self.prepare()
        kind, constraints = POLICIES[self.name], Constraints(reserved=CPUConstraint(cpus=self.reserved))
        self.policy = kind.make(discover(self.host_root).topology, constraints, kind.options())

    def prepare(self) -> Path:
        """Start the runtime, and return where the host's files are."""
        host = self.stage.place / "host"
        host.mkdir()
        write_tree(HOST, host)
        self.stage.runtime()
        pull = v1.PullImageRequest(image=v1.ImageSpec(image=self.image))
        self.direct.call("PullImage", pull, v1.PullImageResponse)
        return host

    @property
    def state(self) -> Path:
        """Where crirm keeps its state."""
        return self.stage.place / "state"

    @property
    def control(self) -> str:
        """Where crirm answers questions."""
        return str(self.stage.place / "r-control.sock")

    def start(self) -> Program:
        """Start crirm, and wait for nothing."""
        options = ["--policy", self.name, "--reserved-cpus", f"cpuset:{self.reserved}", "--host-root", self.host_root]
        return self.stage.starting_relay(*options, "--state-dir", self.state, "--dump", "off:*")

    def pod(self, uid: str) -> v1.PodSandboxConfig:
        """Return a Guaranteed pod."""
        linux = v1.LinuxPodSandboxConfig(cgroup_parent=f"{self.cgroup_parent}/pod{uid}")
        if self.namespaces is not None:
            linux.security_context = v1.LinuxSandboxSecurityContext(namespace_options=self.namespaces)
        metadata = v1.PodSandboxMetadata(name=uid, uid=uid, namespace="default")
        return v1.PodSandboxConfig(metadata=metadata, linux=linux)

    def container(self, uid: str, cpus: float) -> v1.ContainerConfig:
        """Return the container of that pod."""
        linux = v1.LinuxContainerConfig(resources=resources(cpus))
        if self.namespaces is not None:
            linux.security_context = v1.LinuxContainerSecurityContext(namespace_options=self.namespaces)
        return v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name="main"),
            image=v1.ImageSpec(image=self.image),
            command=["sleep", "1000000"],
            labels={"storm": uid},
            linux=linux,
        )

    def status(self, container: str) -> v1.ContainerStatusResponse:
        """Return what the runtime says of *container*."""
        request = v1.ContainerStatusRequest(container_id=container, verbose=True)
        return self.direct.call("ContainerStatus", request, v1.ContainerStatusResponse)

    def told(self, container: str) -> CPUSet:
        """Return the CPUs that the runtime has been told."""
        return CPUSet.parse(self.status(container).status.resources.linux.cpuset_cpus)

    def enforced(self, container: str) -> CPUSet | None:
        """Return the CPUs that a process in *container* may use; None where there is none."""
        return self.told(container)


@attrs.define
class Real(Machine):
    """A private containerd on this machine's own CPUs."""

    containerd: Containerd = attrs.field(kw_only=True)

    def prepare(self) -> Path:
        """Say how containerd is to be asked; it runs already."""
        self.cgroup_parent = f"{self.containerd.cgroup_parent}/kubepods"
        self.sizes, self.image, self.namespaces = (1, 0.1, 0.1), BUSYBOX_IMAGE, NODE
        self.reserved = CPUSet.of(min(os.sched_getaffinity(0)))
        return Path("/")

    def told(self, container: str) -> CPUSet:
        """Return those in the container's specification; a start at the same time may have missed them."""
        specification = json.loads(self.status(container).info["info"])["runtimeSpec"]
        return CPUSet.parse(specification["linux"]["resources"]["cpu"]["cpus"])

    def enforced(self, container: str) -> CPUSet | None:
        """Return where the kernel lets its process run; before its start it has none."""
        pid = json.loads(self.status(container).info["info"])["pid"]
        if not pid:
            return None
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("Cpus_allowed_list:"))
        return CPUSet.parse(line.split()[1])


def real_machine(stage: Stage, policy: str, installation: Installation, thread: TrioThread) -> Real:
    """Start a containerd of its own for *stage*."""
    containerd = thread.open(open_containerd(installation, stage.place / "c"))
    write_archive(stage.place / "images.tar")
    thread.run(containerd.import_images, stage.place / "images.tar", BUSYBOX_IMAGE)
    stage.runtime_socket = containerd.socket
    return Real(stage, policy, containerd=containerd)


def resources(cpus: float) -> v1.LinuxContainerResources:
    """Return what a Guaranteed container of *cpus* asks for."""
    return v1.LinuxContainerResources(
        cpu_shares=max(2, int(cpus * 1024)),
        cpu_period=100_000,
        cpu_quota=int(cpus * 100_000),
        memory_limit_in_bytes=64 << 20,
    )
