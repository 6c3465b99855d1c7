from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from crirm.system.doctor import Host, Verdict
from crirm.system.doctor.sockets import check_relay_socket
from crirm.system.unix_socket import open_listener
from tests.unit.system.doctor.tree import verdicts

if TYPE_CHECKING:
    from pathlib import Path

RELAY, RUNTIME = "/run/relay.sock", "/run/runtime.sock"


@pytest.fixture
def host(short_path: Path) -> Host:
    (short_path / "run").mkdir()
    return Host(short_path)


def test_a_free_path_is_fine(host: Host) -> None:
    assert verdicts(check_relay_socket(host, RELAY, RUNTIME)) == [Verdict.OK]


def test_a_stale_socket_warns(host: Host) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(host.path(RELAY)))
    assert verdicts(check_relay_socket(host, RELAY, RUNTIME)) == [Verdict.WARNING]


def test_a_file_in_its_place_fails(host: Host) -> None:
    host.path(RELAY).write_text("")
    assert verdicts(check_relay_socket(host, RELAY, RUNTIME)) == [Verdict.FAIL]


def test_a_served_socket_is_fine(host: Host) -> None:
    with open_listener(str(host.path(RELAY)), None):
        assert verdicts(check_relay_socket(host, RELAY, RUNTIME)) == [Verdict.OK]


@pytest.mark.parametrize(("mode", "verdict"), [(0o660, Verdict.OK), (0o666, Verdict.WARNING)])
def test_those_may_connect_who_may_connect_to_the_runtime(host: Host, mode: int, verdict: Verdict) -> None:
    with open_listener(str(host.path(RUNTIME)), None), open_listener(str(host.path(RELAY)), None):
        os.chmod(host.path(RELAY), mode)  # noqa: PTH101  # reads as the shell command does
        assert verdicts(check_relay_socket(host, RELAY, RUNTIME)) == [verdict]
