"""Queries of the daemon: what is told when no answer comes."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from crirm.cli.control import NoDaemonError, ask

if TYPE_CHECKING:
    from pathlib import Path


def test_a_daemon_that_stops_before_it_answers_is_no_slow_one(short_path: Path) -> None:
    path = str(short_path / "c.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def stop() -> None:
            stream, _ = listener.accept()
            stream.recv(1 << 16)
            stream.close()

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(NoDaemonError, match="closed the connection before it answered"):
            ask(path, {"ask": "status"}, within_s=3600.0)
        thread.join()


def test_no_daemon_at_all(short_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="crirm is not running"):
        ask(str(short_path / "c.sock"), {"ask": "status"})
