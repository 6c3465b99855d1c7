"""The life of pods, and the filters that find them."""

from __future__ import annotations

from typing import Any

from crirm.cri.proto.runtime import v1
from tests.conformance.cri import NOT_FOUND, OK, World, wait_until

Outcome = dict[str, Any]


def pod_life(world: World) -> Outcome:
    """Run, look, stop twice, look, remove twice, look."""
    seen: Outcome = {}
    with world.pod("life") as pod:
        status = v1.PodSandboxStatusRequest(pod_sandbox_id=pod.id)
        seen["ran"] = world.outcome("PodSandboxStatus", status)
        stop = v1.StopPodSandboxRequest(pod_sandbox_id=pod.id)
        seen["stopped"] = world.outcome("StopPodSandbox", stop)
        _wait_not_ready(world, pod.id)
        seen["not ready"] = world.outcome("PodSandboxStatus", status)
        seen["stopped again"] = world.outcome("StopPodSandbox", stop)
        remove = v1.RemovePodSandboxRequest(pod_sandbox_id=pod.id)
        seen["removed"] = world.outcome("RemovePodSandbox", remove)
        seen["removed again"] = world.outcome("RemovePodSandbox", remove)
        seen["gone"] = world.outcome("PodSandboxStatus", status)
    assert "state" not in seen["ran"]["reply"]["status"]  # SANDBOX_READY is 0, the default
    assert seen["not ready"]["reply"]["status"]["state"] == "SANDBOX_NOTREADY"
    assert seen["removed again"]["code"] == OK
    assert seen["gone"]["code"] == NOT_FOUND
    return seen


def pod_details(world: World) -> Outcome:
    """Every field that a pod's configuration hands back in its status."""
    with world.pod("details") as pod:
        status = world.cri.call(
            "PodSandboxStatus",
            v1.PodSandboxStatusRequest(pod_sandbox_id=pod.id, verbose=True),
            v1.PodSandboxStatusResponse,
        )
    assert status.status.metadata == pod.config.metadata
    assert status.status.labels == pod.config.labels
    assert status.status.annotations == pod.config.annotations
    return {"status": world.plain(status.status), "info": sorted(status.info)}


def pod_names_are_taken(world: World) -> Outcome:
    """A second pod of the same name, attempt and UID; another attempt is another pod."""
    with world.pod("taken") as pod:
        again = world.outcome("RunPodSandbox", v1.RunPodSandboxRequest(config=pod.config))
        metadata = v1.PodSandboxMetadata(name="taken", uid="uid-taken", namespace="conformance", attempt=1)
        config = world.pod_config("taken")
        config.metadata = metadata
        request = v1.RunPodSandboxRequest(config=config)
        second = world.cri.call("RunPodSandbox", request, v1.RunPodSandboxResponse).pod_sandbox_id
        world.cri.call("StopPodSandbox", v1.StopPodSandboxRequest(pod_sandbox_id=second), v1.StopPodSandboxResponse)
        world.cri.call(
            "RemovePodSandbox", v1.RemovePodSandboxRequest(pod_sandbox_id=second), v1.RemovePodSandboxResponse
        )
    assert again["code"] != OK
    return {"again": again}


def pod_filters(world: World) -> Outcome:
    """Every filter of ListPodSandbox, over one pod that is ready and one that is not."""
    with world.pod("one") as one, world.pod("two") as two:
        stop = v1.StopPodSandboxRequest(pod_sandbox_id=two.id)
        world.cri.call("StopPodSandbox", stop, v1.StopPodSandboxResponse)
        _wait_not_ready(world, two.id)
        ready, not_ready = (
            v1.PodSandboxStateValue(state=v1.PodSandboxState(state))
            for state in (v1.PodSandboxState.SANDBOX_READY, v1.PodSandboxState.SANDBOX_NOTREADY)
        )
        ours = {"suite": "conformance"}
        filters = {
            "labels": v1.PodSandboxFilter(label_selector=ours),
            "label of one": v1.PodSandboxFilter(label_selector={**ours, "pod": "one"}),
            "no such label": v1.PodSandboxFilter(label_selector={"pod": "three"}),
            "id": v1.PodSandboxFilter(id=one.id),
            "part of an id": v1.PodSandboxFilter(id=one.id[:16]),
            "no such id": v1.PodSandboxFilter(id="f" * 16),
            "ready": v1.PodSandboxFilter(state=ready, label_selector=ours),
            "not ready": v1.PodSandboxFilter(state=not_ready, label_selector=ours),
            "id and state that disagree": v1.PodSandboxFilter(id=one.id, state=not_ready),
        }
        seen = {name: _listed(world, filter_) for name, filter_ in filters.items()}
    assert [len(found) for found in seen.values()] == [2, 1, 0, 1, 1, 0, 1, 1, 0]
    assert seen["ready"][0]["id"] == "<pod one>"
    return seen


def pod_of_unknown_handler(world: World) -> Outcome:
    """A runtime class that the runtime does not have."""
    config = world.pod_config("handler")
    ran = world.outcome("RunPodSandbox", v1.RunPodSandboxRequest(config=config, runtime_handler="no-such-handler"))
    assert ran["code"] != OK
    return {"ran": ran}


def _wait_not_ready(world: World, pod: str) -> None:
    """containerd 2 answers StopPodSandbox a moment before it has taken notice of the end itself."""
    request = v1.PodSandboxStatusRequest(pod_sandbox_id=pod)
    wait_until(lambda: "SANDBOX_NOTREADY" in str(world.outcome("PodSandboxStatus", request)))


def _listed(world: World, filter_: v1.PodSandboxFilter) -> list[Any]:
    request = v1.ListPodSandboxRequest(filter=filter_)
    listed = world.cri.call("ListPodSandbox", request, v1.ListPodSandboxResponse)
    return sorted((world.plain(item) for item in listed.items), key=lambda item: str(item["id"]))


SCENARIOS = (pod_life, pod_details, pod_names_are_taken, pod_filters, pod_of_unknown_handler)
