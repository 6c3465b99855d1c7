"""gRPC through crirm is gRPC as if crirm were not there; two clients, and a runtime that shows what it received."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.echo_runtime import EchoRuntime
from tests.conformance.records import CLIENTS
from tests.conformance.scenarios_transport import SCENARIOS, Wire
from tests.daemons import running_daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.scenarios_transport import Outcome


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("t")
    return {"runtime": folder / "runtime.sock", "relay": folder / "relay.sock", "log": folder / "relay.log"}


@pytest.fixture(scope="module")
def runtime(sockets: dict[str, Path]) -> Iterator[EchoRuntime]:
    echo = EchoRuntime(sockets["runtime"])
    yield echo
    echo.close()


@pytest.fixture(scope="module")
def relay(sockets: dict[str, Path], runtime: EchoRuntime) -> Iterator[Path]:
    assert runtime is not None  # the relay waits for it
    arguments = ("serve", "--relay-socket", sockets["relay"], "--runtime-socket", sockets["runtime"])
    with running_daemon(*arguments, socket_path=sockets["relay"], log_path=sockets["log"]):
        yield sockets["relay"]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("scenario", [pytest.param(scenario, id=scenario.__name__) for scenario in SCENARIOS])
def test_transport(
    scenario: Callable[[Wire], Outcome], client: str, sockets: dict[str, Path], runtime: EchoRuntime, relay: Path
) -> None:
    direct, relayed = CLIENTS[client](sockets["runtime"]), CLIENTS[client](relay)
    try:
        expected = scenario(Wire(direct, runtime))
        assert scenario(Wire(relayed, runtime)) == expected
    finally:
        direct.close()
        relayed.close()
