from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest
from click.testing import CliRunner

from crirm.cli.sim import command
from crirm.cri.proto.runtime import v1
from crirm.sim.faults import FaultSyntaxError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIST = "/runtime.v1.RuntimeService/ListContainers"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], grpc.Channel]]:
    path = tmp_path / "s.sock"
    options = ["--pods", "2", "--containers-per-pod", "3", "--fault", "Status:code=ABORTED,message=no"]
    argv = [sys.executable, "-c", "from crirm.cli.main import main; main()", "sim", "--socket", str(path), *options]
    with (
        subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process,
        grpc.insecure_channel(f"unix:{path}") as channel,
    ):
        yield process, channel
        process.kill()


def test_serves_until_sigterm(served: tuple[subprocess.Popen[str], grpc.Channel], tmp_path: Path) -> None:
    process, channel = served
    listed = channel.unary_unary(LIST)(b"", timeout=20, wait_for_ready=True)
    assert len(v1.ListContainersResponse().parse(listed).containers) == 6
    with pytest.raises(grpc.RpcError, match="no"):
        channel.unary_unary("/runtime.v1.RuntimeService/Status")(b"", timeout=5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []


def test_help_shows_how_to_order_a_fault() -> None:
    shown = CliRunner().invoke(command, ["--help"]).output
    assert "--fault 'CreateContainer:code=UNAVAILABLE,times=2'" in shown


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        pytest.param(["--api", "v2"], "'v2' is not one of", id="an unknown api version"),
        pytest.param(["--pods", "-1"], "-1 is not in the range", id="less than no pods"),
    ],
)
def test_bad_option(argv: list[str], complaint: str) -> None:
    result = CliRunner().invoke(command, argv)
    assert result.exit_code == 2
    assert complaint in result.output


def test_bad_fault_is_named_before_anything_is_served(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--socket", str(tmp_path / "s.sock"), "--fault", "Status:explode"])
    assert isinstance(result.exception, FaultSyntaxError)
    assert list(tmp_path.iterdir()) == []
