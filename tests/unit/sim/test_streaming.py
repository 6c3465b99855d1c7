from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from crirm.cri.proto.runtime import v1
from tests.unit.sim.serving import Client, start, with_runtime

if TYPE_CHECKING:
    import betterproto

    from crirm.sim.runtime import Runtime

UPGRADE = (
    "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n"
)


async def fetch(url: str, headers: str) -> bytes:
    """Everything the server sends until it closes."""
    host, _, target = url.removeprefix("http://").partition("/")
    name, port = host.split(":")
    async with await trio.open_tcp_stream(name, int(port)) as stream:
        await stream.send_all(f"GET /{target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())
        return b"".join([chunk async for chunk in stream])


async def exec_url(client: Client, *argv: str) -> str:
    _, container = await start(client, "sleep", "inf")
    request = v1.ExecRequest(container, list(argv), stdout=True)
    return (await client.call("Exec", request, v1.ExecResponse)).url


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Channel and content of the binary messages, up to the closing one; every size form is short enough here."""
    found = []
    while data[0] == 0x82:
        head, size = (2, data[1]) if data[1] < 126 else (4, int.from_bytes(data[2:4], "big"))
        found.append((data[head], data[head + 1 : head + size]))
        data = data[head + size :]
    assert data == b"\x88\x02\x03\xe8"
    return found


def test_exec_over_a_websocket() -> None:
    async def body(_runtime: Runtime, client: Client) -> bytes:
        url = await exec_url(client, "sh", "-c", "echo hello; head -c 300 /dev/zero; echo bad >&2; exit 3")
        return await fetch(url, UPGRADE)

    head, _, content = with_runtime(body).partition(b"\r\n\r\n")
    assert b"101 Switching Protocols" in head
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # the example of RFC 6455
    assert b"Sec-WebSocket-Protocol: v4.channel.k8s.io" in head
    *said, (channel, last) = frames(content)
    assert said == [(1, b"hello\n"), (1, bytes(300)), (2, b"bad\n")]
    assert (channel, json.loads(last)["details"]["causes"]) == (3, [{"reason": "ExitCode", "message": "3"}])


@pytest.mark.parametrize(
    ("argv", "outcome"),
    [
        pytest.param(["true"], "Success", id="success"),
        pytest.param(["sleep", "0.001"], "Success", id="after a while"),
        pytest.param(["nope"], "Failure", id="no such program"),
        pytest.param([], "Failure", id="no command"),
    ],
)
def test_exec_tells_how_it_ended(argv: list[str], outcome: str) -> None:
    async def body(_runtime: Runtime, client: Client) -> bytes:
        return await fetch(await exec_url(client, *argv), UPGRADE)

    [(channel, last)] = frames(with_runtime(body).partition(b"\r\n\r\n")[2])
    assert (channel, json.loads(last)["status"]) == (3, outcome)


def test_large_output_is_one_message() -> None:
    async def body(_runtime: Runtime, client: Client) -> bytes:
        return await fetch(await exec_url(client, "head", "-c", "70000", "/dev/zero"), "Upgrade: websocket\r\n")

    content = with_runtime(body).partition(b"\r\n\r\n")[2]
    assert content.startswith(b"\x82\x7f" + (70001).to_bytes(8, "big") + b"\x01\x00")


@pytest.mark.parametrize(
    ("headers", "times", "answer"),
    [
        pytest.param("", 1, b"400 Bad Request", id="without an upgrade"),
        pytest.param(UPGRADE, 2, b"404 Not Found", id="a second time"),
    ],
)
def test_exec_refused(headers: str, times: int, answer: bytes) -> None:
    async def body(_runtime: Runtime, client: Client) -> bytes:
        url = await exec_url(client, "true")
        return [await fetch(url, headers) for _ in range(times)][-1]

    assert answer in with_runtime(body).partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "head", [pytest.param(b"nonsense\r\n\r\n", id="no HTTP"), pytest.param(b"GET", id="half a line")]
)
def test_client_without_http_harms_nobody(head: bytes) -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        name, port = runtime.tokens.base_url.removeprefix("http://").split(":")
        async with await trio.open_tcp_stream(name, int(port)) as stream:
            await stream.send_all(head)
            await stream.send_eof()
            assert await stream.receive_some() == b""
        await client.call("Version", b"", v1.VersionResponse)

    with_runtime(body)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        pytest.param("Attach", v1.AttachResponse, id="attach"),
        pytest.param("PortForward", v1.PortForwardResponse, id="port-forward"),
    ],
)
def test_url_of_the_others(method: str, answer: type[betterproto.Message]) -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        pod, container = await start(client, "sleep", "inf")
        request = v1.AttachRequest(container, stdout=True) if method == "Attach" else v1.PortForwardRequest(pod, [80])
        url = (await client.call(method, request, answer)).url  # type: ignore[attr-defined]
        assert url.startswith(f"{runtime.tokens.base_url}/{method.lower()}/")
        assert b"400 Bad Request" in await fetch(url, UPGRADE)

    with_runtime(body)
