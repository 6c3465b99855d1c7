"""The runtime and crirm itself restart while calls go on: none hangs, none is mixed up, service resumes by itself."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest
from grpclib.exceptions import StreamTerminatedError

from tests.conformance.client import unary
from tests.conformance.cri import wait_until
from tests.integration.core_runtime import core_runtime
from tests.integration.load import Load
from tests.integration.support import CLIENTS, ECHO, ECHO_REQUESTS, EVENTS, OK, UNAVAILABLE, VERSION, HeldCall, Stage

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.integration.support import Program

CALLERS = 16
STATUS = "/runtime.v1.RuntimeService/Status"

ends = pytest.mark.parametrize("end", [pytest.param(True, id="SIGTERM"), pytest.param(False, id="SIGKILL")])


def _end(program: Program, politely: bool) -> None:
    if politely:
        assert program.stop() == 0
    else:
        program.kill()


@ends
def test_calls_fail_at_once_while_the_runtime_is_away_and_work_when_it_is_back(stage: Stage, end: bool) -> None:
    runtime, relay = stage.both()
    client = stage.client()
    with Load(stage.relay_socket, CALLERS) as load:
        load.wait_more(OK, 100)
        _end(runtime, end)
        load.wait_more(UNAVAILABLE, 2 * CALLERS)
        relay.wait_log("runtime is gone")
        # far less than the pauses between two tries to connect, if calls waited for those
        refused = unary(client, VERSION, b"", timeout_s=1.0)
        assert refused.code == UNAVAILABLE
        assert str(stage.runtime_socket) in refused.text
        stage.runtime()
        load.wait_more(OK, 100)
    assert set(load.ended) == {OK, UNAVAILABLE}
    assert load.mixed_up == []
    assert (relay.log.count("runtime is gone"), relay.log.count("runtime is back")) == (1, 1)
    assert relay.stop() == 0
    assert relay.records("stopping")[0]["calls_in_flight"] == 0


@ends
def test_calls_in_the_runtime_end_with_it(stage: Stage, end: bool) -> None:
    runtime, _ = stage.both()
    stream = stage.client("grpclib").start(EVENTS, b"", timeout_s=60.0)
    held = stage.client().start(EVENTS, b"", timeout_s=60.0)
    stage.watch().wait("in_flight", EVENTS, 2)
    _end(runtime, end)
    assert [stream.finish().code, held.finish().code] == [UNAVAILABLE, UNAVAILABLE]


def test_a_runtime_that_stops_in_good_order_finishes_its_calls(stage: Stage) -> None:
    with core_runtime(stage.runtime_socket) as runtime:
        relay = stage.relay()
        client = stage.client()
        begun = client.start(ECHO, b"begun")
        assert runtime.begun.wait(30.0)
        over = runtime.begin_to_stop()
        relay.wait_log("runtime is gone")
        assert unary(client, VERSION, b"").code == UNAVAILABLE
        runtime.may_go_on.set()
        assert begun.finish().message == b"begun"
        assert over.wait(30.0)
    stage.runtime()
    wait_until(lambda: unary(client, VERSION, b"").code == OK)


def test_a_runtime_that_drops_the_connection_of_one_caller_is_found_again_by_it(stage: Stage) -> None:
    _, relay = stage.both(runtime_args=["--fault", "Status:disconnect,times=1"])
    client, other = stage.client(), stage.client()
    assert unary(other, VERSION, b"").code == OK
    assert unary(client, STATUS, b"").code == UNAVAILABLE
    assert [unary(each, STATUS, b"").code for each in (other, client)] == [OK, OK]
    assert not relay.records("runtime is gone; calls fail until it is back")


def test_a_runtime_that_comes_back_as_an_untested_one_is_not_used(stage: Stage) -> None:
    runtime, relay = stage.both()
    client = stage.client()
    runtime.kill()
    relay.wait_log("runtime is gone")
    other = stage.runtime("--name", "dockershim")
    wait_until(lambda: any("dockershim" in r["reason"] for r in relay.records("waiting for the runtime")))
    assert unary(client, VERSION, b"").code == UNAVAILABLE
    other.kill()
    stage.runtime()
    wait_until(lambda: unary(client, VERSION, b"").code == OK)


@ends
def test_callers_find_crirm_again_after_its_restart(stage: Stage, end: bool) -> None:
    _, relay = stage.both()
    with Load(stage.relay_socket, CALLERS) as load:
        load.wait_more(OK, 100)
        _end(relay, end)
        load.wait_more(UNAVAILABLE)
        second = stage.relay()
        load.wait_more(OK, 100)
    assert set(load.ended) == {OK, UNAVAILABLE}
    assert load.mixed_up == []
    assert ("stale socket" in second.log) is not end
    assert relay.records("cut off calls in flight") == []
    assert second.records("cannot serve the control socket") == []


def test_callers_that_were_idle_find_crirm_again(stage: Stage) -> None:
    _, relay = stage.both()
    clients = [stage.client(kind) for kind in CLIENTS]
    assert [_is_answered(client) for client in clients] == [True, True]
    relay.kill()
    stage.relay()
    for client in clients:
        wait_until(partial(_is_answered, client))


def _is_answered(client: Client) -> bool:
    try:
        return unary(client, VERSION, b"").code == OK
    except StreamTerminatedError:  # grpclib's, for a connection that was lost
        return False


def test_a_daemon_that_waits_for_its_last_call_still_has_its_socket(stage: Stage) -> None:
    _, relay = stage.both("--grace", "3600")
    held = HeldCall(stage)
    stage.watch().wait("in_flight", ECHO_REQUESTS)
    relay.send(signal.SIGTERM)
    relay.wait_log('"stopping"')
    second = stage.starting_relay()
    assert second.wait_exit() == 73
    assert held.finish() == b"held and finished"
    assert relay.wait_exit() == 0
