"""What the kernel enforces for real containers when crirm decides; two CPUs are enough for these."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from crirm.cri.proto.runtime import v1
from crirm.launcher.containerd import Containerd, Installation, open_containerd
from crirm.launcher.oci_image import BUSYBOX_IMAGE, write_archive
from crirm.model.cpuset import CPUSet
from tests.conformance.client import GrpcioClient
from tests.conformance.cri import INVALID_ARGUMENT, NOT_FOUND, OK, RESOURCE_EXHAUSTED, V1, Cri, wait_until
from tests.daemons import CRIRM, running_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.client import Reply
    from tests.trio_thread import TrioThread

pytestmark = pytest.mark.containerd

HOST = v1.NamespaceOption(network=v1.NamespaceMode(v1.NamespaceMode.NODE))
ONLINE = CPUSet.parse(Path("/sys/devices/system/cpu/online").read_text().strip())
FIRST = CPUSet.of(ONLINE.lowest)
REST = ONLINE - FIRST
FOR_EVER = ("sleep", "1000000")


@attrs.frozen
class Node:
    """A containerd with crirm in front of it."""

    containerd: Containerd
    folder: Path
    cri: Cri
    process: subprocess.Popen[bytes]

    def pod(self, uid: str, qos: str = "") -> str:
        """Run a pod of a QoS class (``burstable/``, ``besteffort/`` or nothing for Guaranteed)."""
        request = v1.RunPodSandboxRequest(config=self.pod_config(uid, qos))
        return self.cri.call("RunPodSandbox", request, v1.RunPodSandboxResponse).pod_sandbox_id

    def pod_config(self, uid: str, qos: str = "") -> v1.PodSandboxConfig:
        return v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name=uid, uid=uid, namespace="default"),
            linux=v1.LinuxPodSandboxConfig(
                cgroup_parent=f"{self.containerd.cgroup_parent}/kubepods/{qos}pod{uid}",
                security_context=v1.LinuxSandboxSecurityContext(namespace_options=HOST),
            ),
        )

    def create(
        self,
        pod: str,
        uid: str,
        qos: str = "",
        cpus: float = 0,
        command: tuple[str, ...] = FOR_EVER,
        claim: tuple[str, str] | None = None,
    ) -> Reply:
        """Create a container; *claim* is the UID of one, and a value for its variable that the pod sets itself."""
        resources = v1.LinuxContainerResources(cpu_shares=max(2, int(cpus * 1024)), memory_limit_in_bytes=64 << 20)
        if not qos:
            resources.cpu_period, resources.cpu_quota = 100_000, int(cpus * 100_000)
        request = v1.CreateContainerRequest(
            pod_sandbox_id=pod,
            sandbox_config=self.pod_config(uid, qos),
            config=v1.ContainerConfig(
                metadata=v1.ContainerMetadata(name="main"),
                image=v1.ImageSpec(image=BUSYBOX_IMAGE),
                command=list(command),
                cdi_devices=[v1.CdiDevice(f"dra.k8s.io/cpu=claim-{claim[0]}")] if claim else [],
                envs=[v1.KeyValue(f"DRA_CPUSET_{claim[0]}", claim[1].encode())] if claim and claim[1] else [],
                linux=v1.LinuxContainerConfig(
                    resources=resources, security_context=v1.LinuxContainerSecurityContext(namespace_options=HOST)
                ),
            ),
        )
        return self.cri.reply("CreateContainer", request)

    def run(
        self,
        uid: str,
        qos: str = "",
        cpus: float = 0,
        command: tuple[str, ...] = FOR_EVER,
        claim: tuple[str, str] | None = None,
    ) -> str:
        """Run a pod with one container, and return the container's id."""
        reply = self.create(self.pod(uid, qos), uid, qos, cpus, command, claim)
        assert reply.code == OK, reply
        container = v1.CreateContainerResponse().parse(reply.message).container_id
        self.cri.call("StartContainer", v1.StartContainerRequest(container_id=container), v1.StartContainerResponse)
        return container

    def end(self, container: str) -> None:
        for method in ("StopContainer", "RemoveContainer"):
            request = v1.StopContainerRequest(container_id=container)
            assert self.cri.reply(method, request).code in {OK, NOT_FOUND}

    def pid(self, container: str) -> int:
        request = v1.ContainerStatusRequest(container_id=container, verbose=True)
        status = self.cri.call("ContainerStatus", request, v1.ContainerStatusResponse)
        return int(json.loads(status.info["info"])["pid"])

    def cpus(self, container: str) -> CPUSet:
        """Where the kernel lets the container's process run."""
        status = Path(f"/proc/{self.pid(container)}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("Cpus_allowed_list:"))
        return CPUSet.parse(line.split()[1])

    def cgroup_file(self, container: str, controller: str, v1_name: str, v2_name: str) -> Path:
        groups = Path(f"/proc/{self.pid(container)}/cgroup").read_text().splitlines()
        for group in groups:
            _, controllers, path = group.split(":", 2)
            if controller in controllers.split(","):
                return Path(f"/sys/fs/cgroup/{controller}{path}/{v1_name}")
        return Path(f"/sys/fs/cgroup{groups[0].split(':', 2)[2]}/{v2_name}")

    def cpuset_file(self, container: str) -> Path:
        return self.cgroup_file(container, "cpuset", "cpuset.cpus", "cpuset.cpus")

    def quota(self, container: str) -> str:
        """Its CPU time per period, -1 for no limit."""
        text = self.cgroup_file(container, "cpu", "cpu.cfs_quota_us", "cpu.max").read_text()
        return text.split()[0].replace("max", "-1")

    def causes(self, what: str) -> list[str]:
        """Why a container's CPUs have changed since it was placed."""
        (entry,) = self.ask("explain", what)
        return [each["why"] for each in entry["since"]]

    def ask(self, *words: str) -> Any:
        argv = [str(CRIRM), *words, "--control-socket", str(self.folder / "relay-control.sock"), "--json"]
        return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    def fits(self, cpus: int) -> tuple[int, Any]:
        """Ask whether a pod would fit: the exit status, and the answer."""
        argv = [str(CRIRM), "fits", "--cpu", str(cpus), "--memory", "64Mi", "--json"]
        argv += ["--control-socket", str(self.folder / "relay-control.sock")]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        return done.returncode, json.loads(done.stdout)

    def told(self) -> dict[str, str]:
        """CPUs by container id, as crirm has decided."""
        return {each["id"]: each["cpus"] for each in self.ask("status")["containers"]}


@pytest.fixture
def containerd(installation: Installation, trio_thread: TrioThread, short_path: Path) -> Containerd:
    assert REST, "this machine has one CPU; there is nothing to place"
    instance = trio_thread.open(open_containerd(installation, short_path / "c"))
    write_archive(short_path / "images.tar")
    trio_thread.run(instance.import_images, short_path / "images.tar", BUSYBOX_IMAGE)
    return instance


@contextmanager
def crirm(containerd: Containerd, folder: Path, policy: str) -> Iterator[Node]:
    relay = folder / "relay.sock"
    options = ["--relay-socket", relay, "--runtime-socket", containerd.socket, "--policy", policy]
    options += ["--reserved-cpus", f"cpuset:{FIRST}", "--state-dir", folder / "state"]
    with running_daemon("serve", *options, socket_path=relay, log_path=folder / "crirm.log") as process:
        client = GrpcioClient(relay)
        try:
            yield Node(containerd, folder, Cri(client, V1), process)
        finally:
            client.close()


def test_exclusive_cpus_leave_the_shared_set_and_come_back(containerd: Containerd, short_path: Path) -> None:
    with crirm(containerd, short_path, "static") as node:
        shared = node.run("u1", "burstable/", 0.1)
        assert node.cpus(shared) == ONLINE
        exclusive = node.run("u2", cpus=1)
        own = node.cpus(exclusive)
        assert len(own) == 1
        assert own <= REST
        wait_until(lambda: node.cpus(shared) == ONLINE - own)
        assert {exclusive: str(own), shared: str(ONLINE - own)} == node.told()
        node.end(exclusive)
        wait_until(lambda: node.cpus(shared) == ONLINE)
        assert node.causes("u1/main") == [
            f"default/u2/main took exclusive CPUs {own}",
            f"default/u2/main released CPUs {own}",
        ]


def test_exclusive_cpus_have_no_quota_beside_them_until_they_are_shared(
    containerd: Containerd, short_path: Path
) -> None:
    with crirm(containerd, short_path, "static") as node:
        exclusive, shared = node.run("u1", cpus=1), node.run("u2", cpus=0.5)
        assert (node.quota(exclusive), node.quota(shared)) == ("-1", "50000")
        resources = v1.LinuxContainerResources(cpu_shares=512, cpu_period=100_000, cpu_quota=50_000)
        request = v1.UpdateContainerResourcesRequest(container_id=exclusive, linux=resources)
        node.cri.call("UpdateContainerResources", request, v1.UpdateContainerResourcesResponse)
        assert node.quota(exclusive) == "50000"


def test_the_resize_of_a_pod_is_the_runtimes_to_answer(containerd: Containerd, short_path: Path) -> None:
    with crirm(containerd, short_path, "static") as node:
        resources = v1.LinuxContainerResources(cpu_shares=2048)
        request = v1.UpdatePodSandboxResourcesRequest(node.pod("u1"), resources=resources)
        reply = node.cri.reply("UpdatePodSandboxResources", request)
        direct = GrpcioClient(Path(containerd.socket))
        try:
            assert Cri(direct, V1).reply("UpdatePodSandboxResources", request).code == reply.code
        finally:
            direct.close()


@contextmanager
def prepared(cpus: CPUSet) -> Iterator[str]:
    """A claim as dra-driver-cpu prepares it: a CDI file on the host, whose variable tells the CPUs; its UID."""
    uid = f"crirm-test-{os.getpid()}"
    path = Path(f"/var/run/cdi/dra.k8s.io-cpu_claim-{uid}.json")
    edits = {"env": [f"DRA_CPUSET_{uid}={cpus}"]}
    devices = [{"name": f"claim-{uid}", "containerEdits": edits}]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cdiVersion": "0.8.0", "kind": "dra.k8s.io/cpu", "devices": devices}))
    try:
        yield uid
    finally:
        path.unlink()


def test_cpus_of_a_dra_driver_are_taken_and_nobody_else_is_on_them(containerd: Containerd, short_path: Path) -> None:
    own = CPUSet.of(max(REST))
    with prepared(own) as uid, crirm(containerd, short_path, "static") as node:
        shared = node.run("u1", "burstable/", 0.1)
        claimed = node.run("u2", cpus=0.5, claim=(uid, ""))
        assert node.cpus(claimed) == own
        assert CPUSet.parse(node.cpuset_file(claimed).read_text().strip()) == own
        wait_until(lambda: node.cpus(shared) == ONLINE - own)
        reply = node.create(node.pod("u3"), "u3", cpus=0.5, claim=(uid, str(ONLINE)))
        assert (reply.code, "[bad-dra-claim]" in reply.text) == (INVALID_ARGUMENT, True)
        reply = node.create(node.pod("u4"), "u4", cpus=len(REST))
        assert (reply.code, "[too-few-exclusive-cpus]" in reply.text) == (RESOURCE_EXHAUSTED, True)
        node.end(claimed)
        wait_until(lambda: node.cpus(shared) == ONLINE)


@pytest.mark.parametrize("lost", [pytest.param(False, id="saved"), pytest.param(True, id="lost")])
def test_cpus_of_a_dra_driver_stay_taken_when_crirm_restarts_with_its_state(
    containerd: Containerd, short_path: Path, lost: bool
) -> None:
    """Without its state, the environment of the container and the CDI file tell the claim."""
    own = CPUSet.of(max(REST))
    with prepared(own) as uid:
        with crirm(containerd, short_path, "static") as node:
            claimed = node.run("u1", cpus=0.5, claim=(uid, str(own)))
        if lost:
            shutil.rmtree(short_path / "state")
        with crirm(containerd, short_path, "static") as node:
            shared = node.run("u2", "burstable/", 0.1)
            assert (node.cpus(claimed), node.cpus(shared)) == (own, ONLINE - own)
            assert node.told() == {claimed: str(own), shared: str(ONLINE - own)}


def test_what_does_not_fit_is_refused_in_words_and_leaves_nothing(containerd: Containerd, short_path: Path) -> None:
    with crirm(containerd, short_path, "static") as node:
        reply = node.create(node.pod("u1"), "u1", cpus=len(ONLINE) + 1)
        assert reply.code == RESOURCE_EXHAUSTED
        assert str(len(ONLINE) + 1) in reply.text
        assert node.told() == {}
        listed = node.cri.call("ListContainers", v1.ListContainersRequest(), v1.ListContainersResponse)
        assert listed.containers == []


def test_what_is_said_to_fit_is_what_the_kernel_then_has(containerd: Containerd, short_path: Path) -> None:
    with crirm(containerd, short_path, "static") as node:
        code, free = node.fits(cpus=len(REST))
        assert (code, free["copies"][0]["cpus"]) == (0, str(REST))
        own = node.run("u1", cpus=len(REST))
        assert str(node.cpus(own)) == free["copies"][0]["cpus"]
        code, full = node.fits(cpus=1)
        assert (code, full["refused"]["code"]) == (1, "too-few-exclusive-cpus")
        assert node.create(node.pod("u2"), "u2", cpus=1).text.endswith("[too-few-exclusive-cpus]")
        (refused,) = node.ask("status")["refused"]
        assert (refused["name"], refused["code"]) == ("default/u2/main", "too-few-exclusive-cpus")
        node.end(own)
        wait_until(lambda: node.fits(cpus=len(REST)) == (0, free))


def test_shared_containers_keep_off_the_reserved_cpus(containerd: Containerd, short_path: Path) -> None:
    with crirm(containerd, short_path, "topology-aware") as node:
        container = node.run("u1", "burstable/", 0.1)
        assert node.cpus(container) == REST
        (explained,) = node.ask("explain", "u1/main")
        assert explained["trail"]["policy"] == "topology-aware"
        assert "100m" in explained["trail"]["asked"]


def test_a_container_that_dies_gives_its_cpus_back(containerd: Containerd, short_path: Path) -> None:
    with crirm(containerd, short_path, "static") as node:
        shared, exclusive = node.run("u1", "burstable/", 0.1), node.run("u2", cpus=1)
        wait_until(lambda: node.cpus(shared) != ONLINE)
        os.kill(node.pid(exclusive), signal.SIGKILL)
        wait_until(lambda: node.cpus(shared) == ONLINE, within_s=30)


def test_the_kubelets_resize_is_honoured(containerd: Containerd, short_path: Path) -> None:
    with crirm(containerd, short_path, "static") as node:
        container = node.run("u1", cpus=0.5)
        assert node.cpus(container) == ONLINE
        resources = v1.LinuxContainerResources(cpu_shares=1024, cpu_period=100_000, cpu_quota=100_000)
        request = v1.UpdateContainerResourcesRequest(container_id=container, linux=resources)
        node.cri.call("UpdateContainerResources", request, v1.UpdateContainerResourcesResponse)
        assert len(node.cpus(container)) == 1


def test_drift_is_found_and_repaired(containerd: Containerd, short_path: Path) -> None:
    with crirm(containerd, short_path, "static") as node:
        exclusive = node.run("u1", cpus=1)
        own = node.cpus(exclusive)
        node.cpuset_file(exclusive).write_text(str(ONLINE))
        wait_until(lambda: node.cpus(exclusive) == own, within_s=90)


@pytest.mark.parametrize("killed", [pytest.param(False, id="stopped"), pytest.param(True, id="killed")])
def test_a_restart_of_crirm_keeps_every_assignment(containerd: Containerd, short_path: Path, killed: bool) -> None:
    with crirm(containerd, short_path, "static") as node:
        containers = [node.run("u1", "burstable/", 0.1), node.run("u2", cpus=1)]
        wait_until(lambda: len(node.cpus(containers[0])) == len(ONLINE) - 1)
        before = node.told()
        if killed:
            node.process.kill()
            node.process.wait()
    with crirm(containerd, short_path, "static") as node:
        assert before == node.told()
        assert before == {each: str(node.cpus(each)) for each in containers}
        assert "reassigned=0" in (short_path / "crirm.log").read_text()
        (explained,) = node.ask("explain", "u2/main")
        assert explained["trail"]["chosen"] == "exclusive"
        node.end(containers[1])
        wait_until(lambda: node.cpus(containers[0]) == ONLINE)


def test_another_configuration_moves_what_runs_or_nothing(containerd: Containerd, short_path: Path) -> None:
    """Refused where a container would not fit, done where all do, and taken back."""
    last = CPUSet.of(max(ONLINE))

    def file(policy: str, reserved: CPUSet) -> str:
        path = short_path / f"{policy}.yaml"
        path.write_text(f"policy: {{Active: {policy}, ReservedResources: {{CPU: 'cpuset:{reserved}'}}}}\n")
        return str(path)

    with crirm(containerd, short_path, "static") as node:
        shared, exclusive = node.run("u1", "burstable/", 0.1), node.run("u2", cpus=len(REST))
        wait_until(lambda: node.cpus(shared) == FIRST)
        with pytest.raises(subprocess.CalledProcessError) as refused:
            node.ask("config", "diff", file("topology-aware", FIRST), "--activate")
        assert refused.value.stdout, refused.value.stderr
        assert len(json.loads(refused.value.stdout)["unfit"]) == 1
        assert (node.cpus(shared), node.cpus(exclusive)) == (FIRST, REST)

        assert len(node.ask("config", "diff", file("static", last))["changes"]) == 2
        assert (node.cpus(shared), node.cpus(exclusive)) == (FIRST, REST)
        node.ask("config", "diff", file("static", last), "--activate")
        assert (node.cpus(shared), node.cpus(exclusive)) == (last, ONLINE - last)

        node.ask("config", "diff", file("none", FIRST), "--activate")
        assert (node.cpus(shared), node.cpus(exclusive)) == (ONLINE, ONLINE)


def test_an_adjustment_from_outside_moves_what_runs(containerd: Containerd, short_path: Path) -> None:
    """A container on shared CPUs gets one to itself, and shares again without the adjustment; also across a restart."""

    def adjust(specs: dict[str, Any]) -> None:
        argv = [str(CRIRM), "agent", "set-adjustments", "-", "--config-socket", str(short_path / "relay-config.sock")]
        subprocess.run(argv, input=json.dumps(specs), text=True, check=True)

    scope = [{"containers": [{"key": "pod/name", "operator": "Equals", "values": ["u2"]}]}]
    with crirm(containerd, short_path, "static") as node:
        shared, favoured = node.run("u1", "burstable/", 0.1), node.run("u2", cpus=0.5)
        assert (node.cpus(shared), node.cpus(favoured)) == (ONLINE, ONLINE)
        adjust({"favour": {"scope": scope, "resources": {"limits": {"cpu": 1}}}})
        own = node.cpus(favoured)
        assert (len(own), own <= REST) == (1, True)
        assert node.cpus(shared) == ONLINE - own
    with crirm(containerd, short_path, "static") as node:
        assert (node.cpus(shared), node.cpus(favoured)) == (ONLINE - own, own)
        adjust({})
        assert (node.cpus(shared), node.cpus(favoured)) == (ONLINE, ONLINE)


def test_the_analysis_tells_what_the_kernel_has(containerd: Containerd, short_path: Path) -> None:
    """CPUs, memory by NUMA node and throttling are those in the files of the container's cgroup."""
    busy = "dd if=/dev/zero of=/dev/shm/x bs=1M count=16; while true; do :; done"
    with crirm(containerd, short_path, "static") as node:
        container = node.run("u1", cpus=0.2, command=("sh", "-c", busy))
        stat = node.cgroup_file(container, "cpu", "cpu.stat", "cpu.stat")
        wait_until(lambda: int(dict(line.split() for line in stat.read_text().splitlines())["nr_throttled"]) > 2)
        before = dict(line.split() for line in stat.read_text().splitlines())
        (explained,) = node.ask("explain", "u1/main", "--analyze")
        kernel, after = explained["kernel"], dict(line.split() for line in stat.read_text().splitlines())
        assert kernel["cpus"] == str(node.cpus(container))
        throttled = kernel["throttling"]["throttled"]
        assert int(before["nr_throttled"]) <= throttled <= int(after["nr_throttled"])
        assert any(finding.startswith("its CPU limit stopped it in ") for finding in kernel["findings"])
        assert kernel["remote_bytes"] == 0 or len(kernel["memory_bytes"]) > 1
        own = node.cgroup_file(container, "memory", "memory.usage_in_bytes", "memory.current")
        if kernel["memory_source"] == "memory.numa_stat":
            used, told = int(own.read_text()), sum(kernel["memory_bytes"].values())
            assert 16 << 20 <= told <= used + (8 << 20)
        else:
            assert not (own.parent / "memory.numa_stat").exists()
            assert kernel["memory_source"] or any("memory by NUMA node" in each for each in kernel["missing"])
        pressure = Path(own.parent / "cpu.pressure")
        assert (kernel["pressure_percent"] is not None) == pressure.exists()
