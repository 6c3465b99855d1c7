"""v1.Agent called over a real socket: what goes out, what comes back, and every way in which an agent can fail."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from grpclib.const import Status

from crirm.kube.agent_client import AgentClient, AgentDisabledError, AgentError, Patch
from crirm.kube.proto import v1
from crirm.rpc import bridge
from tests.unit.kube.rig import Accepted, FakeAgent, agent_server, config_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Ask = Callable[[AgentClient], Awaitable[Any]]


def answer(path: Path, ask: Ask) -> Any:
    return bridge.run(ask, AgentClient(str(path)))


def failure(path: Path | str, ask: Ask) -> str:
    with pytest.raises(AgentError) as caught:
        bridge.run(ask, AgentClient(str(path)))
    return str(caught.value)


async def health(client: AgentClient) -> str:
    return await client.health_check()


async def node(client: AgentClient) -> dict[str, Any]:
    return await client.get_node()


async def patch(client: AgentClient) -> None:
    name = "/metadata/labels/example.com~1tier"
    await client.patch_node([Patch("add", name, "gold"), Patch("add", "/spec/x", {"a": None}), Patch("remove", name)])


async def capacity(client: AgentClient) -> None:
    await client.update_node_capacity({"example.com/cores": "4"})


@pytest.mark.parametrize(
    ("ask", "request_", "wire", "expected"),
    [
        pytest.param(node, v1.GetNodeRequest(), b"", {"metadata": {"name": "n1"}}, id="the node"),
        pytest.param(health, v1.HealthCheckRequest(), b"", "", id="health"),
        pytest.param(
            lambda client: client.health_check("config-status"),
            v1.HealthCheckRequest("config-status"),
            b"\x0a\x0dconfig-status",
            "",
            id="a query",
        ),
        pytest.param(
            capacity,
            v1.UpdateNodeCapacityRequest({"example.com/cores": "4"}),
            b"\x0a\x16\x0a\x11example.com/cores\x12\x014",
            None,
            id="capacity",
        ),
        pytest.param(
            patch,
            v1.PatchNodeRequest(
                [
                    v1.JsonPatch("add", "/metadata/labels/example.com~1tier", '"gold"'),
                    v1.JsonPatch("add", "/spec/x", '{"a": null}'),
                    v1.JsonPatch("remove", "/metadata/labels/example.com~1tier"),
                ]
            ),
            b'\x0a\x31\x0a\x03add\x12\x22/metadata/labels/example.com~1tier\x1a\x06"gold"'
            b'\x0a\x1b\x0a\x03add\x12\x07/spec/x\x1a\x0b{"a": null}'
            b"\x0a\x2c\x0a\x06remove\x12\x22/metadata/labels/example.com~1tier",
            None,
            id="patches, with values in JSON",
        ),
    ],
)
def test_what_is_asked_and_answered(short_path: Path, ask: Ask, request_: Any, wire: bytes, expected: object) -> None:
    agent = FakeAgent({})
    with agent_server(short_path / "a.sock", agent):
        assert answer(short_path / "a.sock", ask) == expected
    assert agent.asked == [request_]
    assert bytes(request_) == wire


def test_trouble_is_told_in_the_agents_words(short_path: Path) -> None:
    agent = FakeAgent({"HealthCheckRequest": v1.HealthCheckReply("config error: no")})
    with agent_server(short_path / "a.sock", agent):
        assert answer(short_path / "a.sock", health) == "config error: no"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(Status.PERMISSION_DENIED, "answers PERMISSION_DENIED: as told", id="Kubernetes refuses"),
        pytest.param(Status.UNIMPLEMENTED, "does not serve /v1.Agent/GetNode (as told)", id="an older agent"),
        pytest.param(v1.GetNodeReply(""), "its Node object is not JSON", id="nothing"),
        pytest.param(v1.GetNodeReply("[1]"), "its Node object is a JSON list instead of an object", id="no object"),
    ],
)
def test_an_agent_that_fails(short_path: Path, reply: object, reason: str) -> None:
    path = short_path / "a.sock"
    with agent_server(path, FakeAgent({"GetNodeRequest": reply})):
        assert failure(path, node).startswith(f"the node agent at {path}: {reason}")


def test_another_service_on_the_socket_is_told_from_an_agent(short_path: Path) -> None:
    with config_server(short_path / "a.sock", Accepted()):
        assert "does not serve /v1.Agent/HealthCheck" in failure(short_path / "a.sock", health)


def test_an_agent_that_is_not_there(short_path: Path) -> None:
    assert "socket not found; is it running?" in failure(short_path / "a.sock", health)


def test_an_agent_that_has_died(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(short_path / "a.sock"))
    assert "cannot be reached: Connection refused" in failure(short_path / "a.sock", health)


def test_an_agent_that_says_nothing_is_waited_for_until_the_deadline(short_path: Path) -> None:
    async def hurried(client: AgentClient) -> str:
        return await client.health_check(timeout_s=0.05)

    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(short_path / "a.sock"))
        mute.listen()
        assert "no answer to /v1.Agent/HealthCheck within 0.05 s" in failure(short_path / "a.sock", hurried)


@pytest.mark.parametrize("word", ["", "disabled"])
def test_an_agent_that_is_disabled_is_not_asked(word: str) -> None:
    assert not AgentClient(word).enabled
    with pytest.raises(AgentDisabledError, match="HealthCheck needs the node agent, which is disabled; set its socket"):
        bridge.run(health, AgentClient(word))
