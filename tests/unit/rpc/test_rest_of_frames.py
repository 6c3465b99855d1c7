"""A runtime whose frame never ends: what reads as the head of one may be garbage, and all answers would go into it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection

from crirm.rpc import bridge
from crirm.rpc.client import Pool
from crirm.rpc.grpc_wire import RpcError
from tests.unit.rpc.rig import OK, REPLY, in_guest_mode, open_rig

if TYPE_CHECKING:
    from pathlib import Path

DATA_HEAD = b"\x00\x40\x00\x00\x00\x00\x00\x00\x01"  # of 16 KiB on stream 1
PATH = "/runtime.v1.RuntimeService/Version"


@pytest.mark.parametrize(
    ("said", "trickles"),
    [
        pytest.param(DATA_HEAD, False, id="only the head of a frame, then silence"),
        pytest.param(DATA_HEAD, True, id="only the head of a frame, then a trickle"),
        pytest.param(DATA_HEAD + b"x" * 100, False, id="a part of a frame, then silence"),
        pytest.param(DATA_HEAD + b"x" * 100, True, id="a part of a frame, then a trickle"),
        pytest.param(b"\x00\x00", False, id="a part of a head, then silence"),
    ],
)
def test_a_frame_that_never_ends_ends_its_connection(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, trickles: bool
) -> None:
    monkeypatch.setattr("crirm.rpc.rest_of_frames.REST_WITHIN_S", 0.1)

    async def main() -> None:
        pool = Pool(str(short_path / "r.sock"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_runtime, listener, said, trickles)
            await pool.connect()
            with trio.fail_after(20), pytest.raises(RpcError, match="rest of a frame did not arrive"):
                await pool.unary(PATH, b"", timeout_s=15)
            assert not pool.connected
            nursery.cancel_scope.cancel()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path / "r.sock"))
        listener.listen()
        bridge.run(main)


async def _runtime(listener: socket.socket, said: bytes, trickles: bool) -> None:
    """Greet, wait for a call, and answer with *said*; then with a byte now and then, if it *trickles*."""
    with trio.socket.from_stdlib_socket(listener.dup()) as accepting:
        connection, _ = await accepting.accept()
    with connection:
        peer = H2Connection(H2Configuration(client_side=False))
        peer.initiate_connection()
        await connection.send(peer.data_to_send())
        while not peer.streams:
            peer.receive_data(await connection.recv(1 << 16))
        await connection.send(peer.data_to_send() + said)
        while trickles:
            await trio.sleep(0.01)
            try:
                await connection.send(b"\0")
            except OSError:
                return
        await trio.sleep_forever()


SAID = pytest.mark.parametrize(
    "said",
    [
        pytest.param(DATA_HEAD + b"x" * 100, id="a part of a frame"),
        pytest.param(b"\0\0", id="a part of a head"),
        pytest.param(b"\0\0\1\1\0\0\0\0\1\x88", id="a part of a header block"),
    ],
)


@SAID
@in_guest_mode
async def test_a_spliced_connection_ends_too(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr("crirm.rpc.rest_of_frames.REST_WITHIN_S", 0.05)
    async with open_rig() as rig:
        await rig.call()
        rig.beyond.raw += said
        await rig.settle()
        await trio.sleep(0.15)
        await rig.settle()
        assert rig.beyond.transport.closed
        assert rig.kubelet.transport.closed
        ((_, outcome),) = rig.outcomes
        assert outcome.status == 14
        assert "rest of a frame did not arrive" in outcome.message
        assert rig.idle


@in_guest_mode
async def test_half_a_frame_is_no_fault_of_the_runtime_while_its_caller_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crirm.rpc.rest_of_frames.REST_WITHIN_S", 0.05)
    async with open_rig() as rig:
        stream = await rig.call()
        rig.beyond.h2.send_headers(stream, REPLY)
        rig.beyond.h2.send_headers(stream, OK, end_stream=True)
        data = rig.beyond.h2.data_to_send()
        rig.beyond.other.data_received(data[:-1])
        rig.downstream.pause_writing()
        await trio.sleep(0.2)
        assert not rig.beyond.transport.closed
        rig.downstream.resume_writing()
        rig.beyond.other.data_received(data[-1:])
        await rig.settle()
        assert rig.kubelet.streams[stream].headers == [REPLY, OK]
        assert rig.idle
