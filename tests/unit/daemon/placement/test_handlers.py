"""Calls that matter for placement, from request to state."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import trio
from grpclib.const import Status

from crirm.cri import slice as cri
from crirm.cri.ended import TELLING
from crirm.cri.methods import INTERCEPTED, METHODS, RUNTIME_SERVICE
from crirm.cri.proto.runtime import v1
from crirm.cri.reading import read
from crirm.kube.pod_resources import PodResourcesError
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.qos import QoSClass
from crirm.model.workload import ContainerState, TopologyHint
from crirm.rpc.calls import Answer
from tests.unit.daemon.nodes import (
    ID,
    FakeCall,
    FakeNode,
    create_request,
    good,
    granted,
    pod_request,
    states,
    update,
    with_container,
    with_pod,
)

if TYPE_CHECKING:
    import betterproto


async def test_a_created_container_has_its_cpus_in_the_request_and_its_id_in_the_state(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    held, reply = node.call("CreateContainer", create_request(), good(v1.CreateContainerResponse(container_id=ID)))
    assert held.forwarded is not None
    assert v1.CreateContainerRequest().parse(held.forwarded).config.linux.resources.cpuset_cpus == "0-1"
    assert reply is None
    (container,) = node.engine.state.workload.containers.values()
    assert (container.id, container.state, container.requirements.cpu_request) == (ID, ContainerState.CREATED, 2000)


@pytest.mark.parametrize(
    ("answer", "doubts"),
    [
        pytest.param(Answer(Status.UNKNOWN.value, None), 0, id="refused by the runtime"),
        pytest.param(Answer(Status.UNAVAILABLE.value, None, certain=False), 1, id="nobody knows what it did"),
    ],
)
async def test_a_failed_create_gives_the_grant_back(nursery: trio.Nursery, answer: Answer, doubts: int) -> None:
    node = with_pod(nursery)
    node.call("CreateContainer", create_request(), answer)
    assert ([], {}, doubts) == (granted(node), node.engine.state.workload.containers, node.doubts)


async def test_one_warning_tells_of_all_pods_whose_class_is_worked_out(
    nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    node = FakeNode(nursery)
    for name in ("p1", "p2"):
        request = pod_request(uid=name)
        assert request.config is not None
        assert request.config.linux is not None
        request.config.linux.cgroup_parent = "/system.slice"
        node.call("RunPodSandbox", request, good(v1.RunPodSandboxResponse(pod_sandbox_id=name)))
        node.call(
            "CreateContainer", create_request(pod=name), good(v1.CreateContainerResponse(container_id=f"c-{name}"))
        )
    assert {pod.qos for pod in node.engine.state.workload.pods.values()} == {QoSClass.BURSTABLE}
    assert capsys.readouterr().err.count("does not show its QoS class") == 1


async def test_a_container_without_room_is_refused_in_words(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    held, _ = node.call("CreateContainer", create_request(cpus=9))
    assert held.refused == (
        Status.RESOURCE_EXHAUSTED,
        "wants 9 CPUs, 8 are free and one must stay; it would fit with 2 CPUs fewer [too-few-exclusive-cpus]",
    )


@pytest.mark.parametrize(
    ("annotations", "sentence"),
    [pytest.param({"intel.com/resources": "{"}, "pod shop/web, annotation intel.com/resources", id="malformed JSON")],
)
async def test_a_bad_annotation_is_refused_with_its_place(
    nursery: trio.Nursery, annotations: dict[str, str], sentence: str
) -> None:
    held, _ = with_pod(nursery, annotations).call("CreateContainer", create_request())
    assert held.refused is not None
    assert held.refused[0] is Status.INVALID_ARGUMENT
    assert sentence in held.refused[1]


async def test_a_container_of_an_unknown_pod_is_the_runtimes_business(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    node.runtime.answers["PodSandboxStatus"] = Status.NOT_FOUND
    request = create_request(pod="elsewhere")
    for answer, doubts, why in (
        (Answer(Status.NOT_FOUND.value, None), 0, "there is none"),
        (good(v1.CreateContainerResponse(container_id=ID)), 1, "the runtime's lists will tell of it"),
    ):
        held = await node.begin("CreateContainer", request)
        await held.decided.wait()
        await held.reply(answer)
        assert bytes(request) == held.forwarded
        assert not node.engine.state.workload.containers
        assert node.doubts == doubts, why


async def test_a_request_that_is_none_is_refused(nursery: trio.Nursery) -> None:
    held, _ = with_pod(nursery).call("CreateContainer", b"\xff\xff")
    assert held.refused is not None
    assert held.refused[0] is Status.INVALID_ARGUMENT
    assert held.refused[1].endswith("[malformed-request]")


async def test_hints_are_looked_up_before_the_decision(nursery: trio.Nursery) -> None:
    hint = TopologyHint("/sys/devices/x", cpus=CPUSet.of(1))
    node = with_pod(nursery, hints=(hint,))
    held = await node.begin("CreateContainer", create_request(mounts=("/data",)))
    await held.decided.wait()
    (container,) = node.engine.state.workload.containers.values()
    assert (hint,) == container.hints
    assert [place.path for place in node.asked_about] == ["/data"]


async def test_hints_can_be_declined(nursery: trio.Nursery) -> None:
    node = with_pod(nursery, {"topologyhints.cri-resource-manager.intel.com/pod": "false"})
    held, _ = node.call("CreateContainer", create_request(mounts=("/data",)))
    assert held.forwarded is not None
    assert not node.asked_about


async def test_a_caller_that_leaves_during_the_look_up_reserves_nothing(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    held, looks = FakeCall(bytes(create_request(mounts=("/data",)))), threading.Event()

    def find(_places: object) -> tuple[TopologyHint, ...]:
        trio.from_thread.run_sync(node.found.set)
        looks.wait(10)
        return ()

    node.intake.find_hints = find
    handler = node.handler("CreateContainer")
    assert handler is not None
    nursery.start_soon(held.run, handler)
    await node.found.wait()
    await held.leave()
    looks.set()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert held.forwarded is None
    assert not node.engine.state.workload.containers


GRANTING: list[tuple[str, betterproto.Message]] = [
    ("CreateContainer", create_request("d")),
    ("UpdateContainerResources", update(4)),
]


async def test_nothing_reaches_the_runtime_before_its_decision_is_kept(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    node.keeps = []
    creation = await node.begin("CreateContainer", create_request("d"))
    resize = await node.begin("UpdateContainerResources", update(4))
    assert (creation.forwarded, resize.forwarded) == (None, None)
    node.keep()
    await creation.decided.wait()
    await resize.decided.wait()
    assert None not in (creation.forwarded, resize.forwarded)


async def test_a_caller_that_leaves_before_that_leaves_nothing_behind(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    node.keeps, before = [], node.engine.state
    for method, request in GRANTING:
        held = await node.begin(method, request)
        assert before.policy != node.engine.state.policy
        await held.leave()
        assert (before.policy, before.adjustments) == (node.engine.state.policy, node.engine.state.adjustments)


async def test_what_cannot_be_kept_is_undone_and_refused(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    before = node.engine.state
    for method, request in GRANTING:
        node.keeps, node.given_up = [], ""
        held = await node.begin(method, request)
        assert before.policy != node.engine.state.policy
        node.keep("the disk is full")
        await held.decided.wait()
        assert (held.forwarded, held.refused) == (None, (Status.UNAVAILABLE, "the disk is full [state-not-saved]"))
        assert (before.policy, before.adjustments) == (node.engine.state.policy, node.engine.state.adjustments)


async def test_while_nothing_can_be_kept_nothing_is_granted_and_all_else_passes(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    node.unkept, before = "the disk is full", node.engine.state
    for method, request in GRANTING:
        held, _ = node.call(method, request)
        assert held.refused == (Status.UNAVAILABLE, "the disk is full [state-not-saved]")
    assert before is node.engine.state
    node.call("StopContainer", v1.StopContainerRequest(container_id=ID), good(v1.StopContainerResponse()))
    assert (states(node), granted(node)) == ([ContainerState.EXITED], [])


async def test_a_containers_life_is_followed_and_its_grant_ends_with_it(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    node.call("StartContainer", v1.StartContainerRequest(container_id=ID), good(v1.StartContainerResponse()))
    assert states(node) == [ContainerState.RUNNING]
    node.call("StopContainer", v1.StopContainerRequest(container_id=ID[:13]), good(v1.StopContainerResponse()))
    assert (states(node), granted(node)) == ([ContainerState.EXITED], [])
    node.call("RemoveContainer", v1.RemoveContainerRequest(container_id=ID), Answer(Status.NOT_FOUND.value, None))
    assert not states(node)


async def test_a_start_or_stop_that_fails_changes_nothing(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    before = node.engine.state
    node.call("StartContainer", v1.StartContainerRequest(container_id=ID), Answer(Status.UNKNOWN.value, None))
    node.call("StartContainer", v1.StartContainerRequest(container_id=ID), Answer(Status.NOT_FOUND.value, None))
    node.call("StopContainer", v1.StopContainerRequest(container_id=ID), Answer(Status.DEADLINE_EXCEEDED.value, None))
    assert before is node.engine.state


@pytest.mark.parametrize(
    ("end", "request_", "left"),
    [
        pytest.param("StopPodSandbox", v1.StopPodSandboxRequest(pod_sandbox_id="p1"), (1, 1), id="stopped"),
        pytest.param("RemovePodSandbox", v1.RemovePodSandboxRequest(pod_sandbox_id="p1"), (0, 0), id="removed"),
    ],
)
async def test_a_pod_takes_its_containers_along(
    nursery: trio.Nursery, end: str, request_: v1.StopPodSandboxRequest, left: tuple[int, int]
) -> None:
    node = with_container(nursery)
    node.call(end, request_, good(v1.StopPodSandboxResponse()))
    workload = node.engine.state.workload
    assert ([], left) == (granted(node), (len(workload.pods), len(workload.containers)))


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        pytest.param("RunPodSandbox", pod_request(uid="u2"), id="a pod may be there"),
        pytest.param("StartContainer", v1.StartContainerRequest(container_id=ID), id="a container may have started"),
        pytest.param("StopPodSandbox", v1.StopPodSandboxRequest(pod_sandbox_id="p1"), id="a pod may have stopped"),
    ],
)
async def test_after_a_call_with_unknown_outcome_the_runtime_is_asked(
    nursery: trio.Nursery, call: str, request_: betterproto.Message
) -> None:
    node = with_container(nursery)
    before = node.engine.state
    node.call(call, request_, Answer(Status.UNAVAILABLE.value, None, certain=False))
    assert (1, before) == (node.doubts, node.engine.state)


async def test_only_calls_that_matter_are_held_or_observed(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    methods = {method for service, method in METHODS if service == RUNTIME_SERVICE}
    held = {method for method in methods if node.handler(method)}
    observed = {method for method in methods if node.observer(method)}
    assert held == {"CreateContainer", "UpdateContainerResources", "ContainerStatus"}
    assert held | observed == INTERCEPTED | TELLING
    assert not held & observed
    assert {node.handler(method) or node.observer(method) for method in ("Version", "ExecSync", "")} == {None}


async def test_a_start_is_held_while_anything_is_unsettled_and_observed_else(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    for settled in (True, False):
        node.clears = None if settled else []
        assert (node.handler("StartContainer") is None, node.observer("StartContainer") is not None) == (
            settled,
            settled,
        )


@pytest.mark.parametrize(
    ("hints", "refused"),
    [pytest.param("true", False, id="nobody"), pytest.param("strict", True, id="but those who insist on them")],
)
async def test_hints_that_cannot_be_looked_up_stop(nursery: trio.Nursery, hints: str, refused: bool) -> None:
    node = with_pod(nursery, {"topologyhints.cri-resource-manager.intel.com": hints})

    def fail(_places: object) -> tuple[TopologyHint, ...]:
        raise OSError("strange firmware")

    node.intake.find_hints = fail
    held = await node.begin("CreateContainer", create_request(mounts=("/data",)))
    await held.decided.wait()
    assert refused is (held.forwarded is None)
    assert held.refused is None or "cannot determine the location" in held.refused[1]


@pytest.mark.parametrize(
    ("files", "claims", "said"),
    [
        pytest.param({"dra.k8s.io/cpu=claim-u": ("DRA_CPUSET_u=2-3",)}, ["2-3"], "", id="a CDI file"),
        pytest.param({}, [], "no CDI file tells its CPUs", id="no CDI file"),
    ],
)
async def test_a_create_with_a_device_of_the_dra_driver_waits_for(
    nursery: trio.Nursery, files: dict[str, tuple[str, ...]], claims: list[str], said: str
) -> None:
    node = with_pod(nursery)
    node.intake.find_variables = lambda _devices: files
    request = create_request()
    request.config.cdi_devices = [v1.CdiDevice(name="dra.k8s.io/cpu=claim-u")]
    held = await node.begin("CreateContainer", request)
    await held.decided.wait()
    known = node.engine.state.workload.containers.values()
    assert [str(claim.cpus) for container in known for claim in container.claims] == claims
    assert (held.refused is None) is not bool(said)
    assert held.refused is None or said in held.refused[1]


async def test_cdi_files_that_never_answer_refuse_the_claim(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crirm.daemon.placement.intake.HINTS_WITHIN_S", 0.01)
    node, answer = with_pod(nursery), threading.Event()

    def find(_devices: object) -> dict[str, tuple[str, ...]]:
        answer.wait(10)
        return {}

    node.intake.find_variables = find
    request = create_request()
    request.config.cdi_devices = [v1.CdiDevice(name="dra.k8s.io/cpu=claim-u")]
    try:
        held = await node.begin("CreateContainer", request)
        await held.decided.wait()
        assert held.refused is not None
        assert "bad-dra-claim" in held.refused[1]
    finally:
        answer.set()


GPU = TopologyHint("example.com/gpu g0", nodes=NodeSet.of(1))
DISK = TopologyHint("/sys/devices/disk", nodes=NodeSet.of(0))


@pytest.mark.parametrize(
    ("heeded", "fails", "expected"),
    [
        pytest.param("true", False, (DISK, GPU), id="beside those of mounts"),
        pytest.param("strict", False, (DISK, GPU), id="strictly"),
        pytest.param("false", False, (), id="unless the pod ignores hints: then it is not asked"),
        pytest.param("true", True, (DISK,), id="without an answer, those of mounts count"),
        pytest.param("strict", True, None, id="without an answer, nothing is known for who insists"),
    ],
)
async def test_the_kubelet_tells_hints_too(
    nursery: trio.Nursery, heeded: str, fails: bool, expected: tuple[TopologyHint, ...] | None
) -> None:
    node, asked = with_pod(nursery, {"topologyhints.cri-resource-manager.intel.com": heeded}), list[str]()

    async def ask(namespace: str, pod: str, container: str) -> tuple[TopologyHint, ...]:
        await trio.lowlevel.checkpoint()
        asked.append(f"{namespace}/{pod}/{container}")
        if fails:
            raise PodResourcesError("no answer")
        return (GPU,)

    node.intake.find_hints, node.intake.ask_kubelet = lambda _: (DISK,), ask
    request = read(cri.CreateContainerRequest, bytes(create_request(mounts=("/data",))))
    assert await node.intake.hints(request) == expected
    (pod,) = node.engine.state.workload.pods.values()
    name = f"{pod.namespace}/{pod.name}/{request.config.metadata.name}"
    assert asked == ([] if heeded == "false" else [name])


async def test_mounts_that_never_answer_leave_threads_for_others(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that looks at a dead file server is never free again."""
    monkeypatch.setattr("crirm.daemon.placement.intake.HINTS_WITHIN_S", 0.01)
    threads, answer = trio.to_thread.current_default_thread_limiter(), threading.Event()
    node = with_pod(nursery)

    def find(_places: object) -> tuple[TopologyHint, ...]:
        answer.wait(10)
        return ()

    node.intake.find_hints = find
    try:
        for _ in range(3):
            request = read(cri.CreateContainerRequest, bytes(create_request(mounts=("/data",))))
            assert await node.intake.hints(request) is None
        assert not threads.borrowed_tokens
    finally:
        answer.set()


@pytest.mark.parametrize("field", [6, 7])
async def test_a_resize_whose_sets_are_no_texts_leaves_nothing_behind(nursery: trio.Nursery, field: int) -> None:
    node = with_container(nursery)
    before = node.engine.state
    wrong = bytes([field << 3, 5])
    held, _ = node.call("UpdateContainerResources", bytes(update(4)) + bytes([2 << 3 | 2, len(wrong)]) + wrong)
    assert held.refused is not None
    assert held.refused[0] is Status.INVALID_ARGUMENT
    assert before is node.engine.state
