"""Signals other than those that end the daemon."""

from __future__ import annotations

import signal

from tests.conformance.client import unary
from tests.integration.support import OK, VERSION, Stage


def test_sigusr1_switches_full_debug_on_and_off(stage: Stage) -> None:
    _, relay = stage.both()
    client = stage.client()
    relay.send(signal.SIGUSR1)
    relay.wait_log("debug logging enabled")
    assert unary(client, VERSION, b"").code == OK
    relay.wait_log("call ended")
    (record,) = relay.records("call ended")
    assert (record["method"], record["status"], record["level"]) == (VERSION, "OK", "debug")
    assert {"before_ms", "runtime_ms", "after_ms"} <= set(record)
    relay.send(signal.SIGUSR1)
    relay.wait_log("debug logging restored")
    assert unary(client, VERSION, b"").code == OK
    assert relay.stop() == 0
    assert len(relay.records("call ended")) == 1


def test_sighup_is_harmless(stage: Stage) -> None:
    _, relay = stage.both()
    relay.send(signal.SIGHUP)
    relay.wait_log("ignoring the reload signal: no forced configuration file")
    assert unary(stage.client(), VERSION, b"").code == OK


def test_a_daemon_that_was_halted_goes_on_where_it_stopped(stage: Stage) -> None:
    _, relay = stage.both()
    client = stage.client()
    assert unary(client, VERSION, b"").code == OK
    relay.send(signal.SIGSTOP)
    call = client.start(VERSION, b"")
    relay.send(signal.SIGCONT)
    assert call.finish().code == OK
