from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from grpclib.const import Status

from tests.unit.sim.serving import Client, Reply, eventually, with_grpcio, with_runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from crirm.sim.runtime import Runtime

ECHO = "/crirm.test.Echo"


def ask(
    method: str, *requests: bytes, timeout_s: float | None = None, metadata: Mapping[str, str | bytes] | None = None
) -> Reply:
    async def body(_runtime: Runtime, client: Client) -> Reply:
        return await client.raw(f"{ECHO}/{method}", *requests, metadata=metadata, timeout_s=timeout_s)

    return with_runtime(body)


@pytest.mark.parametrize(
    ("method", "requests", "metadata", "messages"),
    [
        pytest.param("Unary", [b"\xff\x00"], {}, [b"\xff\x00"], id="unary: any bytes"),
        pytest.param("Unary", [b""], {}, [b""], id="unary: no bytes"),
        pytest.param("ServerStream", [b"a"], {"x-count": "3"}, [b"a"] * 3, id="server stream: as many as wanted"),
        pytest.param("ServerStream", [b"a"], {"x-count": "0"}, [], id="server stream: none"),
        pytest.param("ClientStream", [b"a", b"", b"b"], {}, [b"ab"], id="client stream: joined"),
        pytest.param("Bidi", [b"a", b"", b"b"], {}, [b"a", b"", b"b"], id="both: one each"),
        pytest.param("Unary", [b"a"], {"x-size": "3"}, [b"\0\0\0"], id="a size"),
        pytest.param("Unary", [b"a"], {"x-delay": "0.001"}, [b"a"], id="late"),
    ],
)
def test_messages(method: str, requests: list[bytes], metadata: dict[str, str], messages: list[bytes]) -> None:
    reply = ask(method, *requests, metadata=metadata)
    assert (reply.status, reply.messages) == (Status.OK, messages)


def test_metadata_come_back_twice() -> None:
    reply = ask("Unary", b"", metadata={"a": "1", "b-bin": b"\x00\xff"})
    assert reply.initial.items() >= {"echo-a": "1", "echo-b-bin": b"\x00\xff"}.items()
    assert dict(reply.trailing) == {"trailer-a": "1", "trailer-b-bin": b"\x00\xff"}


def test_deadline_is_shown() -> None:
    assert "echo-timeout" not in ask("Unary", b"").initial
    assert ask("Unary", b"", timeout_s=30).initial["echo-timeout"] in ("29S", "30S")


@pytest.mark.parametrize(
    ("method", "metadata", "messages"),
    [
        pytest.param("Unary", {}, [], id="instead of the one message"),
        pytest.param("ServerStream", {"x-count": "2"}, [b"a", b"a"], id="after some messages"),
        pytest.param("Bidi", {}, [b"a"], id="after the last message"),
        pytest.param("ServerStream", {"x-trailers-only": "1"}, [], id="in trailers only"),
    ],
)
def test_status(method: str, metadata: dict[str, str], messages: list[bytes]) -> None:
    wish: dict[str, str | bytes] = {
        "x-status": "9",
        "x-message-bin": "nicht jetzt: ü".encode(),
        "x-details-bin": b"\x08\x09",
    }
    reply = ask(method, b"a", metadata={**wish, **metadata})
    assert (reply.status, reply.text, reply.details) == (Status.FAILED_PRECONDITION, "nicht jetzt: ü", b"\x08\x09")
    assert reply.messages == messages
    assert ("echo-x-status" in reply.initial) is ("x-trailers-only" not in metadata)


def test_state_tells_what_is_under_way_and_what_was_cancelled() -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        with pytest.raises(TimeoutError):
            await client.raw(f"{ECHO}/Unary", b"", metadata={"x-delay": "60"}, timeout_s=0.1)
        await eventually(lambda: runtime.calls.cancelled[f"{ECHO}/Unary"] == 1)
        state = json.loads((await client.raw(f"{ECHO}/State", b"")).messages[0])
        assert state == {"in_flight": {}, "answered": {}, "failed": {}, "cancelled": {f"{ECHO}/Unary": 1}}

    with_runtime(body)


def test_grpcio_sees_order_and_repetition_of_metadata() -> None:
    def body(channel: grpc.Channel) -> None:
        sent = [("k", "1"), ("k", "2"), ("b-bin", b"\x01")]
        _, call = channel.unary_unary(f"{ECHO}/Unary").with_call(b"", metadata=sent, timeout=5)
        echoed = [(name, value) for name, value in call.initial_metadata() if name in ("echo-k", "echo-b-bin")]
        assert sorted(echoed) == [("echo-b-bin", b"\x01"), ("echo-k", "1"), ("echo-k", "2")]
        assert [value for name, value in call.trailing_metadata() if name == "trailer-k"] == ["1", "2"]

    with_grpcio(body)


def test_grpcio_talks_both_ways() -> None:
    def body(channel: grpc.Channel) -> None:
        replies = channel.stream_stream(f"{ECHO}/Bidi")(iter([b"a", b"b"]), timeout=5)
        assert list(replies) == [b"a", b"b"]

    with_grpcio(body)
