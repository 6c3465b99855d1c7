"""v1.Config on a real socket: the bytes on the wire, and that nothing a caller does disturbs the server."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from grpclib.client import Channel
from hypothesis import given
from hypothesis import strategies as st

from crirm.cri.message import MalformedError
from crirm.errors import CrirmError
from crirm.kube import grpc_server
from crirm.kube.config_service import SET_ADJUSTMENT, SET_CONFIG, WHOLE, read_set_adjustment, read_set_config
from crirm.kube.grpc_server import MAX_REQUEST_BYTES, MAX_WAITING
from crirm.kube.proto import v1
from crirm.system.unix_socket import SocketInUseError, SocketUnusableError
from tests.unit.kube.rig import Accepted, channel, config_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 20.0
CONFIG_ON_THE_WIRE = b"\x0a\x02n1\x12\x0d\x0a\x06policy\x12\x03A: \x12\x08\x0a\x04dump\x12\x00"
ADJUSTMENT_ON_THE_WIRE = b'\x0a\x02n1\x12\x09{"a": {}}'


def ask(path: Path, method: str, request: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
    with channel(path) as opened:
        return bytes(opened.unary_unary(method)(request, timeout=timeout_s))


def failure(path: Path, method: str, request: bytes, timeout_s: float = TIMEOUT_S) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        ask(path, method, request, timeout_s)
    return caught.value.code(), caught.value.details()


def insist(path: Path, request: bytes) -> bytes:
    """Ask until there is room."""
    while True:
        try:
            return ask(path, SET_CONFIG, request)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise


def test_a_configuration_arrives_as_it_stands_on_the_wire(short_path: Path) -> None:
    accepted = Accepted()
    with config_server(short_path / "c.sock", accepted):
        assert ask(short_path / "c.sock", SET_CONFIG, CONFIG_ON_THE_WIRE) == b""
    assert accepted.configs == [("n1", {"policy": "A: ", "dump": ""})]


def test_a_rejection_is_field_1_of_the_answer(short_path: Path) -> None:
    with config_server(short_path / "c.sock", Accepted(reason="no: ä")):
        assert ask(short_path / "c.sock", SET_CONFIG, b"") == b"\x0a\x06no: \xc3\xa4"


def test_adjustments_arrive_and_errors_go_back_by_name(short_path: Path) -> None:
    accepted = Accepted(errors={"a": "bad"})
    with config_server(short_path / "c.sock", accepted):
        assert ask(short_path / "c.sock", SET_ADJUSTMENT, ADJUSTMENT_ON_THE_WIRE) == b"\x0a\x08\x0a\x01a\x12\x03bad"
    assert accepted.adjustments == [("n1", {"a": {}})]


def test_the_generated_client_on_grpclib_is_understood(short_path: Path) -> None:
    accepted = Accepted(reason="no", errors={"a": "bad"})

    async def talk() -> tuple[v1.SetConfigReply, v1.SetAdjustmentReply]:
        opened = Channel(path=str(short_path / "c.sock"))
        try:
            stub = v1.ConfigStub(opened)
            config = await stub.set_config(v1.SetConfigRequest("n1", {"policy": "x"}))
            return config, await stub.set_adjustment(v1.SetAdjustmentRequest("n1", "{}"))
        finally:
            opened.close()
            await asyncio.sleep(0)

    with config_server(short_path / "c.sock", accepted):
        assert asyncio.run(talk()) == (v1.SetConfigReply("no"), v1.SetAdjustmentReply({"a": "bad"}))
    assert accepted.configs == [("n1", {"policy": "x"})]


def test_the_field_numbers_read_are_those_of_the_proto_file() -> None:
    config = v1.SetConfigRequest("n1", {"policy": "A: ", "dump": ""})
    assert v1.SetConfigRequest().parse(CONFIG_ON_THE_WIRE) == config
    assert read_set_config(bytes(config)) == ("n1", config.config)
    adjustment = v1.SetAdjustmentRequest("n1", '{"a": {}}')
    assert bytes(adjustment) == ADJUSTMENT_ON_THE_WIRE
    assert read_set_adjustment(bytes(adjustment)) == ("n1", adjustment.adjustment)


@pytest.mark.parametrize(
    ("method", "raised", "answer"),
    [
        pytest.param(SET_CONFIG, CrirmError("no room"), v1.SetConfigReply("no room"), id="refused"),
        pytest.param(
            SET_ADJUSTMENT, CrirmError("no room"), v1.SetAdjustmentReply({WHOLE: "no room"}), id="all refused"
        ),
        pytest.param(SET_CONFIG, KeyError("x"), "a bug in crirm", id="a bug"),
        pytest.param(SET_ADJUSTMENT, KeyError("x"), "a bug in crirm", id="a bug with adjustments"),
    ],
)
def test_what_goes_wrong_inside_is_an_answer_and_no_status(
    short_path: Path, method: str, raised: Exception, answer: object
) -> None:
    with config_server(short_path / "c.sock", Accepted(raises=raised)):
        reply = ask(short_path / "c.sock", method, b"")
    assert answer.encode() in reply if isinstance(answer, str) else bytes(answer) == reply  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("{", "$ is not JSON", id="no JSON"),
        pytest.param("[]", "$ is a JSON list; write an object of names and specs", id="a list"),
        pytest.param("[" * 100_000, "$ is not JSON", id="nested beyond all measure"),
    ],
)
def test_adjustments_that_are_no_object_are_refused_as_a_whole(short_path: Path, text: str, reason: str) -> None:
    with config_server(short_path / "c.sock", Accepted()):
        request = bytes(v1.SetAdjustmentRequest("n1", text))
        errors = v1.SetAdjustmentReply().parse(ask(short_path / "c.sock", SET_ADJUSTMENT, request)).errors
    assert errors.keys() == {WHOLE}
    assert errors[WHOLE].startswith(reason)


@pytest.mark.parametrize("text", [pytest.param("", id="empty"), pytest.param("null", id="null")])
def test_no_adjustments_at_all_take_those_of_before_away(short_path: Path, text: str) -> None:
    accepted = Accepted()
    with config_server(short_path / "c.sock", accepted):
        ask(short_path / "c.sock", SET_ADJUSTMENT, bytes(v1.SetAdjustmentRequest("n1", text)))
    assert accepted.adjustments == [("n1", {})]


@pytest.mark.parametrize(
    ("request_bytes", "code", "reason"),
    [
        pytest.param(CONFIG_ON_THE_WIRE[:-3], "INVALID_ARGUMENT", "declares 8 bytes, but 5 are left", id="cut off"),
        pytest.param(b"\x08\x01", "INVALID_ARGUMENT", "field 1 is not length-delimited", id="a number"),
        pytest.param(b"\x0a\x01\xff", "INVALID_ARGUMENT", "field 1 is not UTF-8 at byte 0", id="not UTF-8"),
        pytest.param(b"\x12\x05\x0a\x03abc\x12", "INVALID_ARGUMENT", "not a protobuf message", id="half an entry"),
        pytest.param(bytes(MAX_REQUEST_BYTES + 1), "RESOURCE_EXHAUSTED", "the limit is 1114112", id="too large"),
    ],
)
def test_what_is_no_request_is_refused_and_the_next_one_is_served(
    short_path: Path, request_bytes: bytes, code: str, reason: str
) -> None:
    accepted = Accepted()
    with config_server(short_path / "c.sock", accepted):
        status, text = failure(short_path / "c.sock", SET_CONFIG, request_bytes)
        assert (code, True) == (status.name, reason in text)
        ask(short_path / "c.sock", SET_CONFIG, CONFIG_ON_THE_WIRE)
    assert len(accepted.configs) == 1


def test_the_largest_configuration_passes(short_path: Path) -> None:
    accepted, text = Accepted(), "x" * (1 << 20)
    with config_server(short_path / "c.sock", accepted):
        ask(short_path / "c.sock", SET_CONFIG, bytes(v1.SetConfigRequest("n1", {"policy": text})))
    assert [("n1", {"policy": text})] == accepted.configs


def test_another_method_is_unknown(short_path: Path) -> None:
    with config_server(short_path / "c.sock", Accepted()):
        assert failure(short_path / "c.sock", "/v1.Config/Get", b"")[0] is grpc.StatusCode.UNIMPLEMENTED


def test_a_compressed_message_is_refused_with_a_sentence(short_path: Path) -> None:
    with config_server(short_path / "c.sock", Accepted()), channel(short_path / "c.sock") as opened:
        with pytest.raises(grpc.RpcError) as caught:
            opened.unary_unary(SET_CONFIG)(bytes(1000), timeout=TIMEOUT_S, compression=grpc.Compression.Gzip)
        assert "compressed messages are not supported" in caught.value.details()


def test_a_change_that_was_begun_is_seen_through_when_its_caller_gives_up(short_path: Path) -> None:
    accepted = Accepted(held=True)
    with config_server(short_path / "c.sock", accepted), channel(short_path / "c.sock") as opened:
        call = opened.unary_unary(SET_CONFIG).future(CONFIG_ON_THE_WIRE, timeout=TIMEOUT_S)
        assert accepted.began.wait(TIMEOUT_S)
        call.cancel()
        accepted.held = False
        accepted.go_on.set()
        opened.unary_unary(SET_CONFIG)(b"", timeout=TIMEOUT_S)  # comes after it, in order
    assert accepted.configs == [("n1", {"policy": "A: ", "dump": ""}), ("", {})]


def test_requests_are_worked_on_one_after_another_and_beyond_a_few_are_refused(short_path: Path) -> None:
    accepted = Accepted(held=True)
    path = short_path / "c.sock"
    with config_server(path, accepted), ThreadPoolExecutor(MAX_WAITING) as callers:
        calls = [callers.submit(insist, path, b"\x0a\x01%d" % number) for number in range(MAX_WAITING)]
        assert accepted.began.wait(TIMEOUT_S)
        code, text = None, ""
        while code is not grpc.StatusCode.RESOURCE_EXHAUSTED:  # until all of them are inside
            code, text = failure(path, SET_CONFIG, b"", 0.05)
        assert text == f"crirm already handles {MAX_WAITING} requests; try again"
        accepted.held = False
        accepted.go_on.set()
        assert [call.result() for call in calls] == [b""] * MAX_WAITING
    assert {(str(number), ()) for number in range(MAX_WAITING)} == {
        (name, tuple(data)) for name, data in accepted.configs
    }


def test_a_message_that_never_ends_takes_no_place_for_ever(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "READ_WITHIN_S", 0.05)
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait(TIMEOUT_S)
        yield from ()

    with config_server(short_path / "c.sock", Accepted()), channel(short_path / "c.sock") as opened:
        try:
            with pytest.raises(grpc.RpcError) as caught:
                opened.stream_unary(SET_CONFIG)(nothing(), timeout=TIMEOUT_S)
        finally:
            over.set()
        assert caught.value.details() == "the message was incomplete after 0.05 s"
        assert ask(short_path / "c.sock", SET_CONFIG, b"") == b""


def test_a_call_that_ends_without_a_message_is_refused(short_path: Path) -> None:
    with config_server(short_path / "c.sock", Accepted()), channel(short_path / "c.sock") as opened:
        with pytest.raises(grpc.RpcError) as caught:
            opened.stream_unary(SET_CONFIG)(iter(()), timeout=TIMEOUT_S)
        assert caught.value.details() == "the call ended within its message"


@given(st.binary(max_size=64) | st.builds(lambda cut: CONFIG_ON_THE_WIRE[:cut] + b"\x12\xff", st.integers(0, 40)))
def test_any_bytes_are_a_request_or_malformed(message: bytes) -> None:
    for read in (read_set_config, read_set_adjustment):
        try:
            node_name, _ = read(message)
        except MalformedError:
            continue
        assert isinstance(node_name, str)


def test_a_connection_that_is_no_grpc_disturbs_nobody(short_path: Path) -> None:
    accepted, path = Accepted(), short_path / "c.sock"
    with config_server(path, accepted), socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(path))
        rude.sendall(b"GET / HTTP/1.1\r\n\r\n" * 1000)
        ask(path, SET_CONFIG, CONFIG_ON_THE_WIRE)
    assert len(accepted.configs) == 1


# --- the socket --------------------------------------------------------------------------------------------------


def test_only_our_own_user_may_connect_and_nothing_stays_behind(short_path: Path) -> None:
    path = short_path / "missing" / "c.sock"
    with config_server(path, Accepted()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_stale_socket_is_replaced(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(short_path / "c.sock"))
    with config_server(short_path / "c.sock", Accepted()):
        assert ask(short_path / "c.sock", SET_CONFIG, b"") == b""


def test_a_socket_that_somebody_serves_is_left_alone(short_path: Path) -> None:
    with (
        config_server(short_path / "c.sock", Accepted()),
        pytest.raises(SocketInUseError, match=r"choose another socket with --config-socket"),
        config_server(short_path / "c.sock", Accepted()),
    ):
        pass


def test_something_else_than_a_socket_is_left_alone(short_path: Path) -> None:
    (short_path / "c.sock").write_text("mine")
    with (
        pytest.raises(SocketUnusableError, match=r"a regular file, not a socket.*--config-socket"),
        config_server(short_path / "c.sock", Accepted()),
    ):
        pass
    assert (short_path / "c.sock").read_text() == "mine"
