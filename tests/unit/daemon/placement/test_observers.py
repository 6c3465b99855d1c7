"""Calls that pass and are observed: whatever comes, they end in an event, or in doubt."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.placement.intake import Intake
from crirm.rpc.compression import Packed
from crirm.rpc.tap import Latency, Outcome
from tests.unit.daemon.nodes import FakeNode, pod_request

if TYPE_CHECKING:
    import trio

REQUEST = bytes(pod_request())
REPLY = bytes(v1.RunPodSandboxResponse(pod_sandbox_id="p1"))
BOMB = gzip.compress(bytes(1 << 20))


def outcome(status: int = 0, *, certain: bool = True) -> Outcome:
    return Outcome(status, "", Latency(0.0, 0.0, 0.0), certain)


@pytest.mark.parametrize(
    ("request_", "reply", "end", "pods", "doubts"),
    [
        pytest.param(REQUEST, REPLY, outcome(), 1, 0, id="a good one"),
        pytest.param(Packed.of(gzip.compress(REQUEST), b"gzip"), Packed.of(gzip.compress(REPLY), b"gzip"), outcome(),
                     1, 0, id="a compressed one"),
        pytest.param(REQUEST, Packed.of(REPLY, b"snappy"), outcome(), 0, 1, id="one in an unknown encoding"),
        pytest.param(Packed.of(BOMB, b"gzip"), REPLY, outcome(), 0, 1, id="one that unpacks to very much"),
        pytest.param(REQUEST, None, outcome(), 0, 1, id="one without a reply"),
        pytest.param(None, REPLY, outcome(), 0, 1, id="one without a request"),
        pytest.param(REQUEST, None, outcome(Status.CANCELLED.value, certain=False), 0, 1, id="one that is cut off"),
        pytest.param(REQUEST, None, outcome(Status.UNAVAILABLE.value), 0, 0, id="one that surely never happened"),
        pytest.param(None, None, outcome(Status.INTERNAL.value), 0, 0, id="one that failed before it was whole"),
    ],
)  # fmt: skip
async def test_what_is_made_of(
    nursery: trio.Nursery, request_: bytes | None, reply: bytes | None, end: Outcome, pods: int, doubts: int
) -> None:
    node = FakeNode(nursery)
    tap = node.observer("RunPodSandbox")
    assert tap is not None
    if request_ is not None:
        tap.request(request_)
    if reply is not None:
        tap.reply(reply)
    tap.close(end)
    assert (len(node.engine.state.workload.pods), node.doubts) == (pods, doubts)


async def test_a_fault_of_ours_does_not_reach_the_call(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeNode(nursery)

    def broken(_self: Intake, _id: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Intake, "key_of", broken)
    for method in ("StartContainer", "StopContainer", "RemoveContainer"):
        tap = node.observer(method)
        assert tap is not None
        tap.request(bytes(v1.StartContainerRequest(container_id="c")))
        tap.close(outcome())
    assert node.doubts == 3
