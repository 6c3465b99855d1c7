"""Requests and answers read as values of the model, held against the generated messages."""

from __future__ import annotations

import attrs
import pytest

from crirm.cri import decode, replies
from crirm.cri import slice as cri
from crirm.cri.decode import Place
from crirm.cri.encode import adjusted_create, adjusted_update, status_as_asked, update_request
from crirm.cri.listed import Listed, listed_containers, listed_pods, seen_containers
from crirm.cri.proto.runtime import v1
from crirm.cri.reading import read
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import NO_QUOTA, Adjustment
from crirm.model.qos import QoSClass
from crirm.model.resources import LinuxResources
from crirm.model.workload import ContainerId, ContainerState, Pod, PodId

ASKED = LinuxResources(
    cpu_shares=512, cpu_quota_us=50_000, cpu_period_us=100_000, memory_limit_bytes=1 << 30, oom_score_adj=-998
)
RESOURCES = v1.LinuxContainerResources(
    cpu_shares=512,
    cpu_quota=50_000,
    cpu_period=100_000,
    memory_limit_in_bytes=1 << 30,
    oom_score_adj=-998,
    cpuset_cpus="1-3",
    cpuset_mems="0",
)
OURS = "prefer-shared-cpus.cri-resource-manager.intel.com"
ADJUSTMENT = Adjustment(cpus=CPUSet.parse("4-7"), mems=NodeSet.of(1), cpu_shares=2048)


def sandbox_config(cgroup_parent: str = "/kubepods/burstable/pod1") -> v1.PodSandboxConfig:
    return v1.PodSandboxConfig(
        metadata=v1.PodSandboxMetadata(name="web", uid="u1", namespace="shop", attempt=2),
        labels={"app": "web"},
        annotations={OURS: "b", "a": "b"},
        linux=v1.LinuxPodSandboxConfig(cgroup_parent=cgroup_parent),
    )


def pod_in(request: bytes) -> Pod:
    return decode.sandbox_config(read(cri.RunPodSandboxRequest, request).config, "p")


@pytest.mark.parametrize(
    ("cgroup_parent", "qos", "told"),
    [
        pytest.param("/kubepods/pod1", QoSClass.GUARANTEED, True, id="guaranteed"),
        pytest.param(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice",
            QoSClass.BURSTABLE,
            True,
            id="systemd",
        ),
        pytest.param("/elsewhere", QoSClass.BEST_EFFORT, False, id="unknown cgroups leave the class open"),
    ],
)
def test_a_pod_is_read_from_its_request(cgroup_parent: str, qos: QoSClass, told: bool) -> None:
    request = bytes(v1.RunPodSandboxRequest(config=sandbox_config(cgroup_parent), runtime_handler="kata"))
    pod = Pod(PodId("p"), "u1", "web", "shop", qos, cgroup_parent, {"app": "web"}, {OURS: "b"}, qos_told=told)
    assert pod == pod_in(request)


def test_a_container_is_read_from_its_request() -> None:
    request = v1.CreateContainerRequest(
        pod_sandbox_id="p",
        sandbox_config=sandbox_config(),
        config=v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name="c", attempt=3),
            labels={"l": "1"},
            annotations={OURS: "2", "a": "2"},
            mounts=[
                v1.Mount(container_path="/in", host_path="/out", readonly=True),
                v1.Mount(container_path="/w", host_path="/v"),
            ],
            devices=[
                v1.Device(container_path="/dev/x", host_path="/dev/y", permissions="rw"),
                v1.Device(host_path="/dev/z", permissions="r"),
            ],
            linux=v1.LinuxContainerConfig(resources=RESOURCES),
        ),
    )
    asked = read(cri.CreateContainerRequest, bytes(request))
    config = asked.config
    assert (asked.pod_sandbox_id, config.metadata.name, config.metadata.attempt) == ("p", "c", 3)
    assert (config.labels, config.annotations) == ({"l": "1"}, {OURS: "2", "a": "2"})
    assert decode.places(config) == (
        Place("/out", "/in", writable=False, device=False),
        Place("/v", "/w", writable=True, device=False),
        Place("/dev/y", "/dev/x", writable=True, device=True),
        Place("/dev/z", "", writable=False, device=True),
    )
    assert decode.resources(config.linux.resources) == ASKED
    assert decode.asked_sets(config.linux.resources) == ("1-3", "0")


def test_an_update_is_read_and_one_for_windows_is_not_ours() -> None:
    linux = v1.UpdateContainerResourcesRequest(container_id="c", linux=RESOURCES)
    windows = v1.UpdateContainerResourcesRequest(container_id="c", windows=v1.WindowsContainerResources(cpu_count=1))
    for request, asked in ((linux, ASKED), (windows, None)):
        update = read(cri.UpdateContainerResourcesRequest, bytes(request))
        assert (update.container_id, decode.resources_if_there(update.linux)) == ("c", asked)


def test_lists_are_read() -> None:
    containers = v1.ListContainersResponse(
        containers=[
            v1.Container(
                id="c",
                pod_sandbox_id="p",
                metadata=v1.ContainerMetadata(name="n", attempt=1),
                state=v1.ContainerState(v1.ContainerState.CONTAINER_EXITED),
                created_at=7,
                labels={"l": "1"},
                annotations={OURS: "2", "a": "2"},
            )
        ]
    )
    pods = v1.ListPodSandboxResponse(
        items=[
            v1.PodSandbox(
                id="p", metadata=v1.PodSandboxMetadata(name="web", uid="u", namespace="shop"), labels={"l": "1"}
            )
        ]
    )
    listed = Listed(ContainerId("c"), PodId("p"), "n", 1, ContainerState.EXITED, {"l": "1"}, {OURS: "2"}, 7)
    assert [listed] == listed_containers(bytes(containers))
    pod = Pod(PodId("p"), "u", "web", "shop", QoSClass.BEST_EFFORT, labels={"l": "1"})
    assert [pod] == listed_pods(bytes(pods))
    assert replies.with_cgroup_parent(pod, "/kubepods/podu").qos is QoSClass.GUARANTEED


@pytest.mark.parametrize(
    ("item", "seen"),
    [
        pytest.param(b"\x0a\x01c\x30\x01", ("c", ContainerState.RUNNING), id="as everybody writes it"),
        pytest.param(b"\x0a\x01c", ("c", ContainerState.CREATED), id="a state that is left out is 0"),
        pytest.param(b"\x30\x02\x0a\x01c", ("c", ContainerState.EXITED), id="in another order"),
        pytest.param(b"\x0a\x01c\x30\x02\x30\x01", ("c", ContainerState.RUNNING), id="the last state counts"),
        pytest.param(b"\x0a\x01c\x0a\x01d\x30\x02", ("d", ContainerState.EXITED), id="the last id counts"),
        pytest.param(b"\x0a\x01c\x12\x81\x01" + b"p" * 129 + b"\x30\x02\x38\x05", ("c", ContainerState.EXITED),
                     id="behind something longer"),
        pytest.param(b"\x0a\x01c\x30\x81\x00\x38\x05", ("c", ContainerState.RUNNING), id="a padded number"),
        pytest.param(b"\x0a\x01c\x30\x07", ("c", ContainerState.CREATED), id="a state that is not known"),
        pytest.param(b"", ("", ContainerState.CREATED), id="an empty item"),
    ],
)  # fmt: skip
def test_who_is_listed_is_seen_without_reading_the_rest(item: bytes, seen: tuple[str, ContainerState]) -> None:
    (one,) = seen_containers(
        b"\x0a" + (bytes([len(item)]) if len(item) < 128 else bytes([len(item) & 0x7F | 0x80, 1])) + item
    )
    assert (one.id, one.state) == seen
    assert (one.whole.id, one.whole.state) == seen


def test_statuses_are_read() -> None:
    status = v1.ContainerStatus(resources=v1.ContainerResources(linux=RESOURCES))
    answer = bytes(v1.ContainerStatusResponse(status=status, info={"info": "{}"}))
    assert replies.status_resources(answer) == ASKED
    assert replies.verbose_info(answer) == {"info": "{}"}
    assert replies.status_resources(bytes(v1.ContainerStatusResponse(status=v1.ContainerStatus(id="x")))) is None


def test_adjustments_go_into_requests_and_nothing_else_changes() -> None:
    create = v1.CreateContainerRequest(
        pod_sandbox_id="p", config=v1.ContainerConfig(linux=v1.LinuxContainerConfig(resources=RESOURCES))
    )
    changed = read(cri.CreateContainerRequest, adjusted_create(bytes(create), ADJUSTMENT)).config.linux.resources
    assert decode.asked_sets(changed) == (str(ADJUSTMENT.cpus), str(ADJUSTMENT.mems))
    assert attrs.evolve(ASKED, cpu_shares=2048) == decode.resources(changed)
    update = v1.UpdateContainerResourcesRequest(container_id="c", linux=RESOURCES)
    adjusted = v1.UpdateContainerResourcesRequest().parse(adjusted_update(bytes(update), ADJUSTMENT))
    assert (adjusted.linux.cpuset_cpus, adjusted.linux.cpuset_mems, adjusted.linux.cpu_quota) == ("4-7", "1", 50_000)
    assert bytes(create) == adjusted_create(bytes(create), Adjustment())


def test_an_update_of_our_own_carries_all_that_was_asked() -> None:
    own = v1.UpdateContainerResourcesRequest().parse(update_request(ContainerId("c"), ASKED, ADJUSTMENT))
    wanted = v1.UpdateContainerResourcesRequest(
        container_id="c", linux=v1.LinuxContainerResources().parse(bytes(RESOURCES))
    )
    wanted.linux.cpuset_cpus, wanted.linux.cpuset_mems, wanted.linux.cpu_shares = "4-7", "1", 2048
    assert wanted.to_dict() == own.to_dict()


@pytest.mark.parametrize(
    ("adjustment", "shares", "quota"),
    [
        pytest.param(Adjustment(cpu_shares=2048), 512, -1, id="shares that crirm has set"),
        pytest.param(Adjustment(cpu_quota_us=NO_QUOTA), 2048, 50_000, id="a quota that it has taken away"),
        pytest.param(Adjustment(cpus=CPUSet.of(1)), 2048, -1, id="CPUs are nothing that it compares"),
    ],
)
def test_the_kubelet_is_shown_what_it_has_asked_for(adjustment: Adjustment, shares: int, quota: int) -> None:
    resources = v1.LinuxContainerResources(cpu_shares=2048, cpu_quota=-1, cpuset_cpus="1")
    answer = v1.ContainerStatusResponse(status=v1.ContainerStatus(resources=v1.ContainerResources(linux=resources)))
    shown = v1.ContainerStatusResponse().parse(status_as_asked(bytes(answer), ASKED, adjustment)).status.resources.linux
    assert (shown.cpu_shares, shown.cpu_quota, shown.cpuset_cpus) == (shares, quota, "1")


def test_a_quota_is_taken_away_and_given_back() -> None:
    without = adjusted_update(
        bytes(v1.UpdateContainerResourcesRequest("c", RESOURCES)), Adjustment(cpu_quota_us=NO_QUOTA)
    )
    assert v1.UpdateContainerResourcesRequest().parse(without).linux.cpu_quota == -1
    again = v1.UpdateContainerResourcesRequest().parse(update_request(ContainerId("c"), ASKED, Adjustment()))
    assert again.linux.cpu_quota == 50_000


def test_a_pods_resources_are_read_from_its_requests() -> None:
    config = sandbox_config()
    assert config.linux is not None
    config.linux.resources, config.linux.overhead = RESOURCES, v1.LinuxContainerResources(cpu_shares=10)
    pod = pod_in(bytes(v1.RunPodSandboxRequest(config=config)))
    assert (pod.overhead, pod.resources) == (LinuxResources(10), ASKED)
    update = v1.UpdatePodSandboxResourcesRequest("p", resources=RESOURCES)
    asked = read(cri.UpdatePodSandboxResourcesRequest, bytes(update))
    resized = (decode.resources_if_there(asked.overhead), decode.resources_if_there(asked.resources))
    assert (asked.pod_sandbox_id, *resized) == ("p", None, ASKED)


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param({"a": "b"}, id="one"),
        pytest.param({f"k{number}": "v" for number in range(10_000)}, id="very many"),
        pytest.param({"k": "v" * 20_000}, id="a very long one"),
    ],
)
def test_annotations_that_mean_nothing_to_crirm_are_not_kept(foreign: dict[str, str]) -> None:
    ours = {OURS: "true", "intel.com/resources": "{}"}
    config = v1.PodSandboxConfig(annotations=foreign | ours)
    assert pod_in(bytes(v1.RunPodSandboxRequest(config=config))).annotations == ours
