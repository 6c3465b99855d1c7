from __future__ import annotations

import socket
from pathlib import Path

import pytest

from crirm.sim.listening import SocketError, bound_socket


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "sim.sock")


def test_socket_is_removed_at_the_end(path: str) -> None:
    with bound_socket(path) as sock:
        assert sock.getsockname() == path
        assert Path(path).stat().st_mode & 0o777 == 0o660
    assert not Path(path).exists()


def test_stale_socket_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with bound_socket(path):
        pass


def test_live_socket_is_left_alone(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(path)
        live.listen()
        with pytest.raises(SocketError, match="in use by another process"), bound_socket(path):
            pass
    assert Path(path).exists()


def test_file_is_left_alone(path: str) -> None:
    Path(path).write_text("precious")
    with pytest.raises(SocketError, match="not a socket"), bound_socket(path):
        pass
    assert Path(path).read_text() == "precious"


@pytest.mark.parametrize(
    "bad",
    [pytest.param("/no/such/folder/s.sock", id="no folder"), pytest.param("/tmp/" + "x" * 120, id="too long")],
)
def test_bad_path(bad: str) -> None:
    with pytest.raises(SocketError, match="cannot listen here"), bound_socket(bad):
        pass


def test_another_ones_socket_is_not_removed(path: str) -> None:
    with bound_socket(path):
        Path(path).unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
    assert Path(path).exists()
