"""The life of containers: how they start, end, are found, limited and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crirm.cri.proto.runtime import v1
from tests.conformance.cri import NOT_FOUND, OK, World, wait_until

if TYPE_CHECKING:
    from tests.conformance.cri import Pod

Outcome = dict[str, Any]


def container_life(world: World) -> Outcome:
    """Create, start twice, stop twice, remove twice, with a look at every stage."""
    seen: Outcome = {}
    with world.pod("life") as pod:
        container = pod.create("main")
        status = v1.ContainerStatusRequest(container_id=container)
        steps = (
            ("created", "ContainerStatus", status),
            ("started", "StartContainer", v1.StartContainerRequest(container_id=container)),
            ("running", "ContainerStatus", status),
            ("started again", "StartContainer", v1.StartContainerRequest(container_id=container)),
            ("stopped", "StopContainer", v1.StopContainerRequest(container_id=container)),
            ("ended", "ContainerStatus", status),
            ("stopped again", "StopContainer", v1.StopContainerRequest(container_id=container)),
            ("removed", "RemoveContainer", v1.RemoveContainerRequest(container_id=container)),
            ("removed again", "RemoveContainer", v1.RemoveContainerRequest(container_id=container)),
            ("gone", "ContainerStatus", status),
        )
        for step, method, request in steps:
            seen[step] = world.outcome(method, request)
    assert "state" not in seen["created"]["reply"]["status"]  # CONTAINER_CREATED is 0, the default
    assert seen["running"]["reply"]["status"]["state"] == "CONTAINER_RUNNING"
    assert seen["started again"]["code"] != OK
    assert seen["ended"]["reply"]["status"]["state"] == "CONTAINER_EXITED"
    assert seen["ended"]["reply"]["status"]["exitCode"] == 137
    assert seen["removed again"]["code"] == OK
    assert seen["gone"]["code"] == NOT_FOUND
    return seen


def container_endings(world: World) -> Outcome:
    """What the status says of a container that succeeded, failed, or went when asked to."""
    with world.pod("endings") as pod:
        succeeded = pod.run("succeeded", "/bin/sh", "-c", "exit 0")
        failed = pod.run("failed", "/bin/sh", "-c", "exit 3")
        polite = pod.run("polite", "/bin/sh", "-c", "trap 'exit 7' TERM; echo ready; while true; do sleep 0.05; done")
        wait_until(lambda: "ready" in _log(world, "endings", "polite"))
        stop = v1.StopContainerRequest(container_id=polite, timeout=10)
        world.cri.call("StopContainer", stop, v1.StopContainerResponse)
        seen = {
            name: world.plain(_wait_ended(world, c))
            for name, c in (("succeeded", succeeded), ("failed", failed), ("polite", polite))
        }
    assert [status.get("exitCode", 0) for status in seen.values()] == [0, 3, 7]
    return seen


def running_container_removed(world: World) -> Outcome:
    with world.pod("forced") as pod:
        container = pod.run("main")
        removed = world.outcome("RemoveContainer", v1.RemoveContainerRequest(container_id=container))
        gone = world.outcome("ContainerStatus", v1.ContainerStatusRequest(container_id=container))
    assert gone["code"] == NOT_FOUND
    return {"removed": removed, "gone": gone}


def pod_takes_its_containers_along(world: World) -> Outcome:
    """Stopping a pod stops what runs in it; removing it removes that as well."""
    with world.pod("along") as pod:
        container = pod.run("main")
        status = v1.ContainerStatusRequest(container_id=container)
        stopped = world.outcome("StopPodSandbox", v1.StopPodSandboxRequest(pod_sandbox_id=pod.id))
        after_stop = world.outcome("ContainerStatus", status)
        late = world.outcome("CreateContainer", _request(world, pod, "late"))
        removed = world.outcome("RemovePodSandbox", v1.RemovePodSandboxRequest(pod_sandbox_id=pod.id))
        after_removal = world.outcome("ContainerStatus", status)
    assert after_stop["reply"]["status"]["state"] == "CONTAINER_EXITED"
    assert after_removal["code"] == NOT_FOUND
    return {
        "stopped": stopped, "after stop": after_stop, "late": late, "removed": removed, "after removal": after_removal
    }  # fmt: skip


def refused_containers(world: World) -> Outcome:
    """Requests that ask for what is not there, or is there already."""
    seen: Outcome = {}
    with world.pod("refused") as pod:
        pod.create("taken")
        seen["name taken"] = world.outcome("CreateContainer", _request(world, pod, "taken"))
        no_image = _request(world, pod, "no-image")
        no_image.config.image = v1.ImageSpec(image="localhost/crirm/none:1")
        seen["no such image"] = world.outcome("CreateContainer", no_image)
        no_program = pod.create("no-program", "/bin/not-there")
        seen["no such program"] = world.outcome("StartContainer", v1.StartContainerRequest(container_id=no_program))
        status = world.outcome("ContainerStatus", v1.ContainerStatusRequest(container_id=no_program))["reply"]["status"]
        seen["its status"] = {key: status[key] for key in ("state", "exitCode", "reason")}
    assert all(outcome["code"] != OK for name, outcome in seen.items() if name != "its status")
    assert seen["its status"] == {"state": "CONTAINER_EXITED", "exitCode": 128, "reason": "StartError"}
    return seen


def container_filters(world: World) -> Outcome:
    """Every filter of ListContainers, over one container that runs and one that does not, in two pods."""
    with world.pod("one") as one, world.pod("two") as two:
        running = one.run("running")
        two.create("created")
        state = v1.ContainerStateValue(state=v1.ContainerState(v1.ContainerState.CONTAINER_RUNNING))
        ours = {"suite": "conformance"}
        filters = {
            "labels": v1.ContainerFilter(label_selector=ours),
            "label of one": v1.ContainerFilter(label_selector={**ours, "container": "created"}),
            "no such label": v1.ContainerFilter(label_selector={"container": "lost"}),
            "id": v1.ContainerFilter(id=running),
            "part of an id": v1.ContainerFilter(id=running[:16]),
            "no such id": v1.ContainerFilter(id="f" * 16),
            "state": v1.ContainerFilter(state=state, label_selector=ours),
            "pod": v1.ContainerFilter(pod_sandbox_id=two.id),
            "part of a pod's id": v1.ContainerFilter(pod_sandbox_id=two.id[:16]),
            "pod and id that disagree": v1.ContainerFilter(pod_sandbox_id=two.id, id=running),
        }
        seen = {name: _listed(world, filter_) for name, filter_ in filters.items()}
    assert [len(found) for found in seen.values()] == [2, 1, 0, 1, 1, 0, 1, 1, 1, 0]
    return seen


def container_status_details(world: World) -> Outcome:
    with world.pod("details") as pod:
        container = pod.run("main")
        request = v1.ContainerStatusRequest(container_id=container, verbose=True)
        status = world.cri.call("ContainerStatus", request, v1.ContainerStatusResponse)
    assert status.status.metadata.name == "main"
    assert status.status.log_path == str(world.logs / "details" / "main.log")
    return {"status": world.plain(status.status), "info": sorted(status.info)}


def updated_resources(world: World) -> Outcome:
    """UpdateContainerResources on a container that was created, that runs, and that ended."""
    seen: Outcome = {}
    with world.pod("update") as pod:
        container = pod.create("main")
        status = v1.ContainerStatusRequest(container_id=container)
        seen["created"] = world.outcome("UpdateContainerResources", _update(container, cpu_shares=768))
        world.cri.call("StartContainer", v1.StartContainerRequest(container_id=container), v1.StartContainerResponse)
        seen["running"] = world.outcome(
            "UpdateContainerResources", _update(container, cpu_shares=1024, cpu_quota=20_000, cpuset_cpus="0")
        )
        seen["status"] = world.outcome("ContainerStatus", status)["reply"]["status"].get("resources")
        seen["impossible"] = world.outcome("UpdateContainerResources", _update(container, cpuset_cpus="99999"))
        world.cri.call("StopContainer", v1.StopContainerRequest(container_id=container), v1.StopContainerResponse)
        seen["ended"] = world.outcome("UpdateContainerResources", _update(container, cpu_shares=2048))
    assert seen["created"]["code"] == OK
    assert seen["running"]["code"] == OK
    return seen


def resources_reach_the_kernel(world: World) -> Outcome:
    """What was asked for at creation and by an update, as the container's own cgroup has it."""
    with world.pod("kernel") as pod:
        container = pod.run("main")
        seen = {"created": _cgroup_values(world, container)}
        update = _update(container, cpu_shares=1024, cpu_quota=20_000, cpuset_cpus="0")
        world.cri.call("UpdateContainerResources", update, v1.UpdateContainerResourcesResponse)
        seen["updated"] = _cgroup_values(world, container)
    assert seen["created"][0] in {"512", "20"}  # cpu.shares of cgroup v1, cpu.weight of v2
    assert seen["updated"] in (["1024", "20000", "0"], ["39", "20000 100000", "0"])
    return seen


def statistics(world: World) -> Outcome:
    """ContainerStats, ListContainerStats and their filters, PodSandboxStats and ListPodSandboxStats."""
    seen: Outcome = {}
    with world.pod("stats") as pod:
        container = pod.run("main")
        stats = v1.ContainerStatsRequest(container_id=container)
        wait_until(lambda: _layer_sampled(world, stats))
        seen["container"] = world.outcome("ContainerStats", stats)
        for name, filter_ in (
            ("by id", v1.ContainerStatsFilter(id=container)),
            ("by pod", v1.ContainerStatsFilter(pod_sandbox_id=pod.id)),
            ("by label", v1.ContainerStatsFilter(label_selector={"container": "main"})),
            ("none", v1.ContainerStatsFilter(label_selector={"container": "lost"})),
        ):
            seen[name] = world.outcome("ListContainerStats", v1.ListContainerStatsRequest(filter=filter_))
        seen["pod"] = world.outcome("PodSandboxStats", v1.PodSandboxStatsRequest(pod_sandbox_id=pod.id))
        listed = v1.ListPodSandboxStatsRequest(filter=v1.PodSandboxStatsFilter(id=pod.id))
        seen["pods"] = world.outcome("ListPodSandboxStats", listed)
    assert seen["container"]["reply"]["stats"]["attributes"]["id"] == "<container main>"
    assert seen["none"] == {"code": OK, "reply": {}}
    return seen


def _layer_sampled(world: World, request: v1.ContainerStatsRequest) -> bool:
    """Whether the runtime has got round to the container's file system, which it looks at in the background."""
    stats = world.cri.call("ContainerStats", request, v1.ContainerStatsResponse).stats
    return stats.writable_layer.timestamp > 0


def _request(world: World, pod: Pod, name: str) -> v1.CreateContainerRequest:
    config = world.container_config(name)
    return v1.CreateContainerRequest(pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config)


def _cgroup_values(world: World, container: str) -> list[str]:
    """Weight, quota and CPUs, read inside the container: of cgroup v1, else of v2."""
    script = (
        "cd /sys/fs/cgroup; cat cpu/cpu.shares cpu/cpu.cfs_quota_us cpuset/cpuset.cpus 2>/dev/null"
        " || cat cpu.weight cpu.max cpuset.cpus"
    )
    request = v1.ExecSyncRequest(container_id=container, cmd=["/bin/sh", "-c", script])
    return world.cri.call("ExecSync", request, v1.ExecSyncResponse).stdout.decode().splitlines()


def _update(container: str, **resources: int | str) -> v1.UpdateContainerResourcesRequest:
    linux = v1.LinuxContainerResources(**resources)  # type: ignore[arg-type]
    return v1.UpdateContainerResourcesRequest(container_id=container, linux=linux)


def _listed(world: World, filter_: v1.ContainerFilter) -> list[Any]:
    listed = world.cri.call("ListContainers", v1.ListContainersRequest(filter=filter_), v1.ListContainersResponse)
    return sorted((world.plain(item) for item in listed.containers), key=lambda item: str(item["id"]))


def _log(world: World, pod: str, container: str) -> str:
    path = world.logs / pod / f"{container}.log"
    return path.read_text() if path.exists() else ""


def _wait_ended(world: World, container: str) -> v1.ContainerStatus:
    request = v1.ContainerStatusRequest(container_id=container)

    def status() -> v1.ContainerStatus:
        return world.cri.call("ContainerStatus", request, v1.ContainerStatusResponse).status

    wait_until(lambda: status().state == v1.ContainerState.CONTAINER_EXITED)
    return status()


SCENARIOS = (
    container_life,
    container_endings,
    running_container_removed,
    pod_takes_its_containers_along,
    refused_containers,
    container_filters,
    container_status_details,
    updated_resources,
    resources_reach_the_kernel,
    statistics,
)
