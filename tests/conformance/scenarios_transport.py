"""gRPC itself, on a runtime that tells what it received: messages, metadata, deadlines, cancellation, statuses."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING, Any

import attrs

from tests.conformance.client import GrpcioClient, unary
from tests.conformance.cri import CANCELLED, DEADLINE_EXCEEDED, OK, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.client import Client, Metadata, Reply
    from tests.conformance.echo_runtime import EchoRuntime, SeenCall

Outcome = dict[str, Any]

_MIB = 1 << 20
_UNKNOWN_METHOD = "/crirm.test.Echo/NotThoughtOfYet"
_CREATE_CONTAINER = "/runtime.v1.RuntimeService/CreateContainer"
_LIST_CONTAINERS = "/runtime.v1.RuntimeService/ListContainers"


@attrs.frozen
class Wire:
    """A client in front, and the runtime behind, whatever lies between."""

    client: Client
    runtime: EchoRuntime

    @property
    def shows_status_details(self) -> bool:
        """grpclib's client keeps that trailer to itself."""
        return isinstance(self.client, GrpcioClient)

    def compressed(self) -> Metadata:
        """What makes grpcio compress its messages, and the runtime its answer; grpclib cannot compress."""
        wishes = (("grpc-internal-encoding-request", "gzip"), ("x-compress", "1"))
        return wishes if isinstance(self.client, GrpcioClient) else ()

    def empty_value(self, key: str) -> Metadata:
        """Metadata without a value, from a client that sends such; grpclib's does not."""
        return ((key, ""),) if isinstance(self.client, GrpcioClient) else ()

    def call(
        self, path: str, request: bytes, metadata: Metadata = (), timeout_s: float = 30.0
    ) -> tuple[Reply, SeenCall]:
        reply = unary(self.client, path, request, metadata=metadata, timeout_s=timeout_s)
        return reply, self.runtime.seen[-1]


def sizes(wire: Wire) -> Outcome:
    """Messages of all sizes, both ways, on a method that CRI has and on one that nobody has."""
    seen: Outcome = {}
    for path in (_LIST_CONTAINERS, _UNKNOWN_METHOD):
        for size in (0, 1, 16_379, 16_384, 65_535, 65_536, 1_000_003, 20 * _MIB):
            request = _noise(size)
            reply, call = wire.call(path, request)
            assert call.path == path
            assert call.request == request
            assert reply.message == request
            seen[f"{path} {size}"] = reply.code
    return seen


def largest_message(wire: Wire) -> Outcome:
    """64 MiB both ways: more than the kubelet's and containerd's limit of 16."""
    request = _noise(64 * _MIB)
    reply, call = wire.call(_LIST_CONTAINERS, request)
    assert call.request == request
    assert reply.message == request
    return {"code": reply.code}


def unknown_fields(wire: Wire) -> Outcome:
    """A request and an answer with fields at three depths that no release of CRI has."""
    request = nested_unknown_fields()
    reply, call = wire.call(_CREATE_CONTAINER, request)
    assert call.request == request
    assert reply.message == request
    return {"code": reply.code}


def metadata_arrives(wire: Wire) -> Outcome:
    """What the caller sends, the runtime gets: text, bytes, keys that repeat, values that are empty."""
    sent: Metadata = (
        ("x-plain", "as it is"),
        *wire.empty_value("x-empty"),
        ("x-twice", "one"),
        ("x-twice", "two"),
        ("x-percent", "100% = %41"),
        ("x-bytes-bin", bytes(range(256))),
        ("x-none-bin", b""),
        ("x-long", "y" * 5000),
        ("authorization", "Bearer abc"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    )
    _, call = wire.call(_UNKNOWN_METHOD, b"", metadata=sent)
    keys = {key for key, _ in sent}
    arrived = sorted((pair for pair in call.metadata if pair[0] in keys), key=lambda pair: pair[0])
    assert arrived == sorted(sent, key=lambda pair: pair[0])
    others = sorted(key for key, _ in call.metadata if key not in keys)
    return {"arrived": [(key, _printable(value)) for key, value in arrived], "others": others}


def metadata_returns(wire: Wire) -> Outcome:
    """Initial and trailing metadata of an answer, of a failure, and of a failure without an answer."""
    early: Metadata = (
        ("x-return-bytes-bin", b"\x00\xff\x10"),
        *wire.empty_value("x-return-empty"),
        ("x-return-text", "early"),
    )
    late: Metadata = (
        ("x-trail-bytes-bin", b"\xfe\x00"),
        ("x-trail-text", "late"),
        ("x-trail-twice", "one"),
        ("x-trail-twice", "two"),
    )
    seen: Outcome = {}
    for name, wishes in (
        ("answer", ()),
        ("answer and failure", (("x-status", "9"), ("x-status-text", "no"))),
        ("failure", (("x-status", "9"), ("x-status-text", "no"), ("x-count", "0"))),
    ):
        reply, _ = wire.call(_UNKNOWN_METHOD, b"body", metadata=(*early, *late, *wishes))
        assert tuple(pair for pair in reply.initial if pair[0].startswith("x-return-")) == early
        assert tuple(pair for pair in reply.trailing if pair[0].startswith("x-trail-")) == late
        seen[name] = _described(reply)
    return seen


def compressed_messages(wire: Wire) -> Outcome:
    """A caller that compresses is understood, by a runtime that answers compressed as well."""
    request = bytes(_MIB)
    reply, call = wire.call(_LIST_CONTAINERS, request, metadata=wire.compressed())
    assert call.request == request
    assert reply.message == request
    return {"code": reply.code}


def statuses(wire: Wire) -> Outcome:
    """Every status code with texts of all kinds, before and after an answer."""
    texts = ("plain", "", "100% of \u2603 and\nlines\ttabs", 'quotes " and \\', "x" * 3000, " spaces around ")
    seen: Outcome = {}
    for code in range(17):
        text = texts[code % len(texts)]
        for count in ("0", "1"):
            wishes = (("x-status", str(code)), ("x-status-text-bin", text.encode()), ("x-count", count))
            reply, _ = wire.call(_UNKNOWN_METHOD, b"body", metadata=wishes)
            if code != OK:
                assert (reply.code, reply.text) == (code, text)
            seen[f"{code} {count}"] = _described(reply)
    return seen


def status_details(wire: Wire) -> Outcome:
    """The trailer with a status' details, bytes as they are."""
    wishes = (("x-status", "3"), ("x-status-text", "bad"), ("x-details-bin", b"\x08\x03\x12\x03bad\xff\x00"))
    reply, _ = wire.call(_UNKNOWN_METHOD, b"", metadata=wishes)
    if wire.shows_status_details:
        assert dict(reply.trailing)["grpc-status-details-bin"] == b"\x08\x03\x12\x03bad\xff\x00"
    return _described(reply)


def deadline_arrives(wire: Wire) -> Outcome:
    """The runtime learns how long it has; of a caller that waits for ever, it learns that."""
    _, limited = wire.call(_UNKNOWN_METHOD, b"", timeout_s=20)
    assert limited.time_remaining_s is not None
    assert 10 < limited.time_remaining_s <= 20.5
    return {"limited": True}


def deadline_passes(wire: Wire) -> Outcome:
    """A runtime that does not answer in time: the caller is told when it asked to be, and the runtime is freed."""
    began = time.monotonic()
    reply, call = wire.call(_UNKNOWN_METHOD, b"", metadata=(("x-hold", "1"),), timeout_s=0.5)
    assert reply.code == DEADLINE_EXCEEDED
    assert 0.4 < time.monotonic() - began < 5
    assert call.over.wait(5)
    return {"code": reply.code}


def caller_cancels(wire: Wire) -> Outcome:
    """A call that its caller gives up is over for the runtime as well."""
    known = len(wire.runtime.seen)
    call = wire.client.start(_UNKNOWN_METHOD, b"", metadata=(("x-hold", "1"),))
    wait_until(lambda: len(wire.runtime.seen) > known)
    call.cancel()
    assert wire.runtime.seen[-1].over.wait(5)
    reply = call.finish()
    assert reply.code == CANCELLED
    return {"code": reply.code}


def stream_of_messages(wire: Wire) -> Outcome:
    """Many messages for one request, with a good and a bad end."""
    seen: Outcome = {}
    for name, wishes in (("good", ()), ("bad", (("x-status", "14"), ("x-status-text", "gone")))):
        reply, _ = wire.call(_UNKNOWN_METHOD, _noise(1000), metadata=(("x-count", "500"), *wishes))
        assert len(reply.messages) == 500
        assert set(reply.messages) == {_noise(1000)}
        seen[name] = (reply.code, reply.text)
    none, _ = wire.call(_UNKNOWN_METHOD, b"", metadata=(("x-count", "0"),))
    assert (none.code, none.messages) == (OK, ())
    return seen


def endless_stream(wire: Wire) -> Outcome:
    """Messages come as they are sent, not at the end; and stop when the caller has had enough."""
    call = wire.client.start(_UNKNOWN_METHOD, b"again", metadata=(("x-count", "-1"),))
    messages = iter(call)
    assert [next(messages) for _ in range(1000)] == [b"again"] * 1000
    call.cancel()
    assert wire.runtime.seen[-1].over.wait(5)
    code = call.finish().code
    assert code == CANCELLED
    return {"code": code}


def nested_unknown_fields() -> bytes:
    """A CreateContainerRequest with unknown fields beside, in, and two levels within its known ones.

    Field 900 of every wire type at each depth; known fields out of order and one of them twice.
    """
    unknown = (
        _tag(900, 0) + b"\x96\x01" + _tag(901, 2) + b"\x03new" + _tag(902, 5) + b"abcd" + _tag(903, 1) + b"8 bytes."
    )
    metadata = _field(1, _field(1, b"name") + unknown)
    config = _field(2, metadata + unknown + _field(2, _field(1, b"image") + unknown))
    return unknown + config + _field(1, b"first") + _field(1, b"pod") + unknown


def _field(number: int, content: bytes) -> bytes:
    return _tag(number, 2) + _varint(len(content)) + content


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _noise(size: int) -> bytes:
    """Bytes that repeat late and compress badly, the same for the same size."""
    block = b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(2048))
    return (block * (size // len(block) + 1))[:size]


def _described(reply: Reply) -> Outcome:
    return {
        "code": reply.code,
        "text": reply.text,
        "messages": [message.decode() for message in reply.messages],
        "initial": [(key, _printable(value)) for key, value in reply.initial],
        "trailing": [(key, _printable(value)) for key, value in reply.trailing],
    }


def _printable(value: str | bytes) -> str:
    return value if isinstance(value, str) else base64.b64encode(value).decode()


SCENARIOS: tuple[Callable[[Wire], Outcome], ...] = (
    sizes,
    largest_message,
    unknown_fields,
    metadata_arrives,
    metadata_returns,
    compressed_messages,
    statuses,
    status_details,
    deadline_arrives,
    deadline_passes,
    caller_cancels,
    stream_of_messages,
    endless_stream,
)
