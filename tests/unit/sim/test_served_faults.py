"""Faults of a served runtime, as a client meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.sim.faults import Fault
from crirm.sim.padding import GARBAGE, with_unknown_fields
from tests.unit.sim.nodes import pod_config
from tests.unit.sim.serving import SERVICE, STATUS, Client, eventually, with_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.sim.runtime import Runtime


@pytest.mark.parametrize(
    ("fault", "code", "text", "details"),
    [
        pytest.param(
            Fault("Status", code=Status.UNAVAILABLE, message="not now", details=b"\x00\xff"),
            Status.UNAVAILABLE,
            "not now",
            b"\x00\xff",
            id="a status with details",
        ),
        pytest.param(Fault("*", code=Status.ABORTED), Status.ABORTED, None, None, id="every method"),
        pytest.param(Fault("Version", code=Status.ABORTED), Status.OK, None, None, id="another method"),
    ],
)
def test_fault_status(fault: Fault, code: Status, text: str | None, details: bytes | None) -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        runtime.faults.add(fault)
        reply = await client.raw(STATUS, b"")
        assert (reply.status, reply.text, reply.details) == (code, text, details)

    with_runtime(body)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        pytest.param(Fault("Version", garbage=True), lambda _good, got: got == GARBAGE, id="garbage"),
        pytest.param(
            Fault("Version", unknown_fields=True), lambda good, got: got == with_unknown_fields(good), id="odd fields"
        ),
        pytest.param(
            Fault("Version", oversize_bytes=20 << 20), lambda _good, got: abs(len(got) - (20 << 20)) < 5, id="20 MiB"
        ),
        pytest.param(Fault("Version", delay_s=0.001, times=1), lambda good, got: got == good, id="only late"),
    ],
)
def test_fault_alters_the_answer_once(fault: Fault, check: Callable[[bytes, bytes], bool]) -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        good = (await client.raw(f"{SERVICE}/Version", b"")).messages[0]
        runtime.faults.add(fault)
        assert check(good, (await client.raw(f"{SERVICE}/Version", b"")).messages[0])

    with_runtime(body)


def test_fault_may_strike_after_the_work() -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        runtime.faults.add(Fault("RunPodSandbox", acts=True, code=Status.UNAVAILABLE, times=1))
        request = bytes(v1.RunPodSandboxRequest(pod_config()))
        first, second = [(await client.raw(f"{SERVICE}/RunPodSandbox", request)).status for _ in range(2)]
        assert (first, second) == (Status.UNAVAILABLE, Status.FAILED_PRECONDITION)

    with_runtime(body)


def test_hanging_call_is_seen_and_its_end_too() -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        runtime.faults.add(Fault("Status", hang=True))
        with pytest.raises(TimeoutError):
            await client.raw(STATUS, b"", timeout_s=0.2)
        await eventually(lambda: runtime.calls.cancelled[STATUS] == 1)
        assert runtime.calls.in_flight[STATUS] == 0

    with_runtime(body)


def test_fault_drops_the_connection_and_the_next_one_is_fine() -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        runtime.faults.add(Fault("Status", disconnect=True, times=1))
        with pytest.raises(Exception, match=r"[Cc]onnection"):
            await client.raw(STATUS, b"")
        assert (await client.raw(STATUS, b"")).status is Status.OK

    with_runtime(body)
