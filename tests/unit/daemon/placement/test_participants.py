"""Calls that matter for placement, from request to state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from grpclib.const import Status

from crirm.cri import decode
from crirm.cri.methods import INTERCEPTED, METHODS
from crirm.cri.proto.runtime import v1
from crirm.daemon.placement.participants import (
    Create,
    Remove,
    RemovePod,
    RunPod,
    Start,
    Stop,
    StopPod,
    Update,
    participant,
)
from crirm.model.cpuset import CPUSet
from crirm.model.qos import QoSClass
from crirm.model.workload import ContainerState, TopologyHint
from crirm.rpc.held import Answer
from tests.unit.daemon.nodes import (
    ID,
    FakeHeld,
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

    from crirm.daemon.placement.participant import Participant


async def test_a_created_container_has_its_cpus_in_the_request_and_its_id_in_the_state(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    held, reply = node.call(Create, create_request(), good(v1.CreateContainerResponse(container_id=ID)))
    assert held.forwarded is not None
    assert CPUSet.parse("0-1") == decode.create_request(held.forwarded).cpus
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
    node.call(Create, create_request(), answer)
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
        node.call(RunPod, request, good(v1.RunPodSandboxResponse(pod_sandbox_id=name)))
        node.call(Create, create_request(pod=name), good(v1.CreateContainerResponse(container_id=f"c-{name}")))
    assert {pod.qos for pod in node.engine.state.workload.pods.values()} == {QoSClass.BURSTABLE}
    assert capsys.readouterr().err.count("does not tell its QoS class") == 1


async def test_a_container_without_room_is_refused_in_words(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    held, _ = node.call(Create, create_request(cpus=9))
    assert held.refused == (Status.RESOURCE_EXHAUSTED, "wants 9 CPUs, 8 are free and one must stay")


@pytest.mark.parametrize(
    ("annotations", "sentence"),
    [pytest.param({"intel.com/resources": "{"}, "pod shop/web, annotation intel.com/resources", id="malformed JSON")],
)
async def test_a_bad_annotation_is_refused_with_its_place(
    nursery: trio.Nursery, annotations: dict[str, str], sentence: str
) -> None:
    held, _ = with_pod(nursery, annotations).call(Create, create_request())
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
        held, create = FakeHeld(), Create(node)
        create.request(bytes(request), held)
        await held.decided.wait()
        create.reply(answer)
        assert bytes(request) == held.forwarded
        assert not node.engine.state.workload.containers
        assert node.doubts == doubts, why


async def test_a_request_that_is_none_is_refused(nursery: trio.Nursery) -> None:
    held = FakeHeld()
    Create(with_pod(nursery)).request(b"\xff\xff", held)
    assert held.refused is not None
    assert held.refused[0] is Status.INVALID_ARGUMENT


async def test_hints_are_looked_up_before_the_decision(nursery: trio.Nursery) -> None:
    hint = TopologyHint("/sys/devices/x", cpus=CPUSet.of(1))
    node = with_pod(nursery, hints=(hint,))
    held = FakeHeld()
    Create(node).request(bytes(create_request(mounts=("/data",))), held)
    assert held.forwarded is None
    await held.decided.wait()
    (container,) = node.engine.state.workload.containers.values()
    assert (hint,) == container.hints
    assert [place.path for place in node.asked_about] == ["/data"]


async def test_hints_can_be_declined(nursery: trio.Nursery) -> None:
    node = with_pod(nursery, {"topologyhints.cri-resource-manager.intel.com/pod": "false"})
    held, _ = node.call(Create, create_request(mounts=("/data",)))
    assert held.forwarded is not None
    assert not node.asked_about


async def test_a_caller_that_leaves_during_the_look_up_reserves_nothing(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    create, held = Create(node), FakeHeld()
    create.request(bytes(create_request(mounts=("/data",))), held)
    create.abandoned()
    await node.found.wait()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert not node.engine.state.workload.containers


async def test_nothing_reaches_the_runtime_before_its_decision_is_kept(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    node.keeps = []
    creation, resize = FakeHeld(), FakeHeld()
    Create(node).request(bytes(create_request("d")), creation)
    Update(node).request(bytes(update(4)), resize)
    assert (creation.forwarded, resize.forwarded) == (None, None)
    for then in node.keeps:
        then()
    assert None not in (creation.forwarded, resize.forwarded)


async def test_a_caller_that_leaves_before_that_leaves_nothing_behind(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    node.keeps, before = [], node.engine.state
    for one, request in ((Create(node), create_request("d")), (Update(node), update(4))):
        one.request(bytes(request), FakeHeld())
        assert before.policy != node.engine.state.policy
        one.abandoned()
        assert (before.policy, before.adjustments) == (node.engine.state.policy, node.engine.state.adjustments)


async def test_what_cannot_be_kept_is_undone_and_refused(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    node.keeps, before = [], node.engine.state
    for one, request in ((Create(node), create_request("d")), (Update(node), update(4))):
        held = FakeHeld()
        one.request(bytes(request), held)
        assert before.policy != node.engine.state.policy
        node.give_up("the disk is full")
        assert (held.forwarded, held.refused) == (None, (Status.UNAVAILABLE, "the disk is full"))
        assert (before.policy, before.adjustments) == (node.engine.state.policy, node.engine.state.adjustments)


async def test_while_nothing_can_be_kept_nothing_is_granted_and_all_else_passes(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    node.unkept, before = "the disk is full", node.engine.state
    for one, request in ((Create(node), create_request("d")), (Update(node), update(4))):
        held = FakeHeld()
        one.request(bytes(request), held)
        assert held.refused == (Status.UNAVAILABLE, "the disk is full")
    assert before is node.engine.state
    node.call(Stop, v1.StopContainerRequest(container_id=ID), good(v1.StopContainerResponse()))
    assert (states(node), granted(node)) == ([ContainerState.EXITED], [])


async def test_a_containers_life_is_followed_and_its_grant_ends_with_it(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    node.call(Start, v1.StartContainerRequest(container_id=ID), good(v1.StartContainerResponse()))
    assert states(node) == [ContainerState.RUNNING]
    node.call(Stop, v1.StopContainerRequest(container_id=ID[:13]), good(v1.StopContainerResponse()))
    assert (states(node), granted(node)) == ([ContainerState.EXITED], [])
    node.call(Remove, v1.RemoveContainerRequest(container_id=ID), Answer(Status.NOT_FOUND.value, None))
    assert not states(node)


async def test_a_start_or_stop_that_fails_changes_nothing(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    before = node.engine.state
    node.call(Start, v1.StartContainerRequest(container_id=ID), Answer(Status.UNKNOWN.value, None))
    node.call(Start, v1.StartContainerRequest(container_id=ID), Answer(Status.NOT_FOUND.value, None))
    node.call(Stop, v1.StopContainerRequest(container_id=ID), Answer(Status.DEADLINE_EXCEEDED.value, None))
    assert before is node.engine.state


@pytest.mark.parametrize(
    ("end", "request_", "left"),
    [
        pytest.param(StopPod, v1.StopPodSandboxRequest(pod_sandbox_id="p1"), (1, 1), id="stopped"),
        pytest.param(RemovePod, v1.RemovePodSandboxRequest(pod_sandbox_id="p1"), (0, 0), id="removed"),
    ],
)
async def test_a_pod_takes_its_containers_along(
    nursery: trio.Nursery, end: type[StopPod], request_: v1.StopPodSandboxRequest, left: tuple[int, int]
) -> None:
    node = with_container(nursery)
    node.call(end, request_, good(v1.StopPodSandboxResponse()))
    workload = node.engine.state.workload
    assert ([], left) == (granted(node), (len(workload.pods), len(workload.containers)))


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        pytest.param(RunPod, pod_request(uid="u2"), id="a pod may be there"),
        pytest.param(Start, v1.StartContainerRequest(container_id=ID), id="a container may have started"),
        pytest.param(StopPod, v1.StopPodSandboxRequest(pod_sandbox_id="p1"), id="a pod may have stopped"),
    ],
)
async def test_after_a_call_with_unknown_outcome_the_runtime_is_asked(
    nursery: trio.Nursery, call: type[Participant], request_: betterproto.Message
) -> None:
    node = with_container(nursery)
    before = node.engine.state
    node.call(call, request_, Answer(Status.UNAVAILABLE.value, None, certain=False))
    assert (1, before) == (node.doubts, node.engine.state)


async def test_only_calls_that_matter_are_taken_part_in(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    assert {method for _, method in METHODS if participant(node, method)} == INTERCEPTED
    assert [participant(node, method) for method in ("ListContainers", "Version", "ExecSync", "")] == [None] * 4


@pytest.mark.parametrize(
    ("hints", "refused"),
    [pytest.param("true", False, id="nobody"), pytest.param("strict", True, id="but those who insist on them")],
)
async def test_hints_that_cannot_be_looked_up_stop(nursery: trio.Nursery, hints: str, refused: bool) -> None:
    node = with_pod(nursery, {"topologyhints.cri-resource-manager.intel.com": hints})

    def fail(_places: object) -> tuple[TopologyHint, ...]:
        raise OSError("strange firmware")

    node.intake.find_hints = fail
    held = FakeHeld()
    Create(node).request(bytes(create_request(mounts=("/data",))), held)
    await held.decided.wait()
    assert refused is (held.forwarded is None)
    assert held.refused is None or "do not tell where they are" in held.refused[1]


@pytest.mark.parametrize("field", [6, 7])
async def test_a_resize_whose_sets_are_no_texts_leaves_nothing_behind(nursery: trio.Nursery, field: int) -> None:
    node = with_container(nursery)
    before, held = node.engine.state, FakeHeld()
    wrong = bytes([field << 3, 5])
    Update(node).request(bytes(update(4)) + bytes([2 << 3 | 2, len(wrong)]) + wrong, held)
    assert held.refused is not None
    assert held.refused[0] is Status.INVALID_ARGUMENT
    assert before is node.engine.state
