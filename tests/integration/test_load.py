"""Many callers, endless streams and slow readers; and what is left of them in crirm afterwards."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.conformance.client import GrpcioClient, unary
from tests.conformance.cri import wait_until
from tests.integration.load import Load
from tests.integration.raw_caller import RawCaller
from tests.integration.support import CLIENTS, ECHO, ECHO_STREAM, EVENTS, OK, VERSION, Program, Stage

CALLERS = 64
MIB = 1 << 20
RUN_SANDBOX = "/runtime.v1.RuntimeService/RunPodSandbox"
# One window on each side of crirm, what asyncio and the kernel hold, and the allocator's own: far less than is offered.
ROOM_PER_STREAM_BYTES = 4 * MIB
SLACK_BYTES = 32 * MIB


def _expect_nothing_left(stage: Stage, relay: Program, open_files: int) -> None:
    stage.wait_open_files(relay, open_files)
    assert relay.stop() == 0
    assert relay.records("stopping")[0]["calls_in_flight"] == 0
    assert relay.sentences() == []


def test_64_callers_get_their_own_answers_and_leave_nothing_behind(stage: Stage) -> None:
    _, relay = stage.both()
    with Load(stage.relay_socket, 4) as warm:
        warm.wait_more(OK, 200)
    wait_until(lambda: relay.open_files <= idle_files, 1) if (idle_files := 0) else None
    before_files, before_bytes = relay.open_files, relay.resident_bytes
    with Load(stage.relay_socket, CALLERS) as load:
        load.wait_more(OK, 40 * CALLERS)
    assert set(load.ended) == {OK}
    assert load.mixed_up == []
    assert relay.resident_bytes - before_bytes < SLACK_BYTES
    _expect_nothing_left(stage, relay, before_files)
