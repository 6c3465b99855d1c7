"""Pods that crirm gets to know when a container is asked for in them."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.model.qos import QoSClass
from crirm.rpc.calls import Answer
from tests.unit.daemon.nodes import ID, FakeCall, FakeNode, create_request, good, granted, pod_request, states, with_pod

METADATA = v1.PodSandboxMetadata(name="web", uid="u1", namespace="shop")
POD = v1.PodSandboxStatus(id="p1", metadata=METADATA, labels={"app": "web"}, annotations={"a": "b"})
INFO = {"info": json.dumps({"config": {"linux": {"cgroup_parent": "/kubepods/burstable/podu1"}}})}
TOLD = v1.PodSandboxStatusResponse(status=POD, info=INFO)
TERSE = v1.PodSandboxStatusResponse(status=POD)


def asked(described: bool = False) -> v1.CreateContainerRequest:
    request = create_request()
    if described:
        request.sandbox_config = pod_request().config
    return request


async def created(node: FakeNode, request: v1.CreateContainerRequest) -> FakeCall:
    held = await node.begin("CreateContainer", request)
    await held.decided.wait()
    return held


@pytest.mark.parametrize(
    ("answer", "described", "qos", "doubts"),
    [
        pytest.param(TOLD, False, QoSClass.BURSTABLE, 0, id="the runtime tells"),
        pytest.param(TOLD, True, QoSClass.BURSTABLE, 0, id="the runtime knows best"),
        pytest.param(TERSE, True, QoSClass.GUARANTEED, 0, id="what it leaves out the request tells"),
        pytest.param(Status.UNAVAILABLE, True, QoSClass.GUARANTEED, 1, id="it does not answer, the request tells"),
    ],
)
async def test_a_container_of_a_pod_whose_making_nobody_heard_of_is_placed(
    nursery: trio.Nursery, answer: v1.PodSandboxStatusResponse | Status, described: bool, qos: QoSClass, doubts: int
) -> None:
    node = FakeNode(nursery)
    node.call("RunPodSandbox", pod_request(), Answer(Status.UNAVAILABLE.value, None, certain=False))
    node.runtime.answers["PodSandboxStatus"], before = answer, node.doubts
    held = await created(node, asked(described))
    await held.reply(good(v1.CreateContainerResponse(container_id=ID)))
    (pod,) = node.engine.state.workload.pods.values()
    assert (pod.id, pod.uid, pod.qos) == ("p1", "u1", qos)
    assert v1.CreateContainerRequest().parse(held.forwarded or b"").config.linux.resources.cpuset_cpus == "0-1"
    assert (granted(node), node.doubts - before) == (["0-1"], doubts)


async def test_who_cannot_be_asked_about_is_passed_on_and_doubted(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    held = await created(node, asked())
    assert (held.forwarded, node.engine.state.workload.pods) == (bytes(asked()), {})
    assert node.doubts == 1
    assert [method for method, _ in node.runtime.calls] == ["PodSandboxStatus"], "it is asked once"


async def test_a_pod_that_is_removed_while_the_runtime_is_asked_does_not_come_back(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    node.runtime.answers["PodSandboxStatus"], node.runtime.answering = TOLD, trio.Event()
    held = await node.begin("CreateContainer", asked(described=True))
    await trio.testing.wait_all_tasks_blocked()
    node.call("RemovePodSandbox", v1.RemovePodSandboxRequest("p1"), good(v1.RemovePodSandboxResponse()))
    node.runtime.answering.set()
    await held.decided.wait()
    assert (held.forwarded, node.engine.state.workload.pods) == (bytes(asked(described=True)), {})


async def test_a_caller_that_leaves_meanwhile_leaves_nothing_behind(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    node.runtime.answers["PodSandboxStatus"] = TOLD
    node.runtime.answering = trio.Event()
    held = await node.begin("CreateContainer", asked())
    await held.leave()
    node.runtime.answering.set()
    await trio.testing.wait_all_tasks_blocked()
    assert (held.forwarded, held.refused, states(node)) == (None, None, [])


async def test_the_id_of_a_known_pod_may_be_shortened(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    request = create_request(pod="p")
    node.call("CreateContainer", request, good(v1.CreateContainerResponse(container_id=ID)))
    assert (granted(node), node.runtime.calls) == (["0-1"], [])


async def test_a_fault_in_the_answer_about_a_pod_costs_nobody_a_decision(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(_answer: bytes) -> None:
        raise ZeroDivisionError

    node = FakeNode(nursery)
    node.runtime.answers["PodSandboxStatus"] = TOLD
    monkeypatch.setattr("crirm.daemon.observation.meeting.pod_status", fault)
    held = await created(node, asked())
    assert held.forwarded is not None
