"""Handlers that take and return bytes, made from a service's methods, with faults and counters."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import attrs
from betterproto.casing import snake_case
from grpclib import GRPCError
from grpclib.const import Cardinality, Handler, Status

from crirm.sim.index import quoted
from crirm.sim.padding import GARBAGE, with_size, with_unknown_fields
from crirm.sim.settings import V1, V1ALPHA2
from crirm.sim.waiting import sleep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import betterproto
    from grpclib._typing import IServable
    from grpclib.server import Stream

    from crirm.sim.calls import Calls
    from crirm.sim.faults import Fault, Faults
    from crirm.sim.model import Model

    Bytes = Stream[bytes, bytes]

NOT_IN_V1ALPHA2 = frozenset(
    {
        "CheckpointPod",
        "ListMetricDescriptors",
        "ListPodSandboxMetrics",
        "RestorePod",
        "RuntimeConfig",
        "StreamContainerStats",
        "StreamContainers",
        "StreamImages",
        "StreamPodSandboxMetrics",
        "StreamPodSandboxStats",
        "StreamPodSandboxes",
        "UpdatePodSandboxResources",
    }
)
"""Methods that came after Kubernetes 1.25, the last release that had runtime.v1alpha2."""
REMEMBERED = frozenset(
    {
        "ContainerStatus",
        "ImageStatus",
        "ListContainers",
        "ListImages",
        "ListMetricDescriptors",
        "ListPodSandbox",
        "PodSandboxStatus",
        "RuntimeConfig",
        "Status",
        "Version",
    }
)
"""Methods whose answer depends on nothing but the request and the state, not on the time."""
REMEMBERED_ANSWERS = 1024


class Memory:
    """Encoded answers, valid until the state changes."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._version = model.version
        self._answers: dict[tuple[str, bytes], bytes] = {}

    def get(self, path: str, request: bytes) -> bytes | None:
        """Return the answer that was given to the same *request* in the same state, or None."""
        if self._version != self._model.version or len(self._answers) >= REMEMBERED_ANSWERS:
            self._answers.clear()
            self._version = self._model.version
        return self._answers.get((path, request))

    def put(self, path: str, request: bytes, answer: bytes) -> None:
        """Remember an answer of the current state."""
        self._answers[path, request] = answer


@attrs.frozen
class Method:
    """One method: its path, request type and implementation.

    Attributes:
        path: ``/package.Service/Method``.
        request_type: the message class of the request.
        answer: the service's method; returns a message, or an asynchronous iterator of messages.
    """

    path: str
    request_type: type[betterproto.Message]
    answer: Callable[[Any], Any]
    is_streaming: bool

    @property
    def name(self) -> str:
        """The name without package and service."""
        return self.path.rpartition("/")[2]


def methods_of(service: IServable, package: str) -> list[Method]:
    """Return the methods of *service* that *package* has, under their paths in it."""
    methods = []
    for path, entry in service.__mapping__().items():
        name = path.rpartition("/")[2]
        if package != V1ALPHA2 or name not in NOT_IN_V1ALPHA2:
            answer = getattr(service, snake_case(name))
            path_there = path.replace(f"/{V1}.", f"/{package}.")
            methods.append(Method(path_there, entry.request_type, answer, entry.cardinality.server_streaming))
    return methods


class Methods:
    """Makes handlers of methods."""

    def __init__(self, model: Model, faults: Faults, calls: Calls) -> None:
        self._faults = faults
        self._calls = calls
        self._memory = Memory(model)

    def handler(self, method: Method) -> Handler:
        """Return the handler of *method*."""
        serve = self._streaming(method) if method.is_streaming else self._unary(method)
        cardinality = Cardinality.UNARY_STREAM if method.is_streaming else Cardinality.UNARY_UNARY
        return Handler(serve, cardinality, bytes, bytes)

    def _unary(self, method: Method) -> Callable[[Bytes], Awaitable[None]]:
        path, name, is_remembered = method.path, method.name, method.name in REMEMBERED

        async def answer(request: bytes) -> bytes:
            known = self._memory.get(path, request) if is_remembered else None
            if known is None:
                known = bytes(await method.answer(parsed(method, request)))
                if is_remembered:
                    self._memory.put(path, request, known)
            return known

        async def serve(stream: Bytes) -> None:
            with self._calls.track(path):
                fault = self._faults.take(name)
                request = await received(stream)
                if fault is None:
                    await stream.send_message(await answer(request))
                    return
                acted = await answer(request) if fault.acts else None
                await strike(fault, stream)
                await stream.send_message(altered(fault, acted if acted is not None else await answer(request)))

        return serve

    def _streaming(self, method: Method) -> Callable[[Bytes], Awaitable[None]]:
        async def serve(stream: Bytes) -> None:
            with self._calls.track(method.path):
                fault = self._faults.take(method.name)
                request = await received(stream)
                if fault is not None:
                    await strike(fault, stream)
                messages: Any = method.answer(parsed(method, request))
                async with aclosing(messages):
                    async for message in messages:
                        encoded = bytes(message)
                        await stream.send_message(encoded if fault is None else altered(fault, encoded))

        return serve


async def received(stream: Bytes) -> bytes:
    """asyncio-flavoured: return the one request of a call."""
    request = await stream.recv_message()
    if request is None:
        raise GRPCError(Status.INTERNAL, "cardinality violation: received no request message")
    return request


def parsed(method: Method, request: bytes) -> betterproto.Message:
    """Return *request* decoded.

    Raises:
        GRPCError: INTERNAL if it is malformed, with a Go server's message.
    """
    try:
        return method.request_type().parse(request)
    except EOFError as fault:
        raise GRPCError(Status.INTERNAL, "grpc: error unmarshalling request: unexpected EOF") from fault
    except Exception as fault:  # betterproto has no error type of its own
        raise GRPCError(Status.INTERNAL, f"grpc: error unmarshalling request: {fault}") from fault


async def strike(fault: Fault, stream: Bytes) -> None:
    """asyncio-flavoured: apply *fault* before an answer; returns only if there is one."""
    if fault.delay_s:
        await sleep(fault.delay_s)
    if fault.disconnect:
        stream._stream._transport.abort()  # grpclib has no public way to drop a connection
        fault = attrs.evolve(fault, hang=True)
    if fault.hang:
        await sleep(float("inf"))
    if fault.code is not None:
        raise GRPCError(fault.code, fault.message or None, fault.details or None)


def altered(fault: Fault, message: bytes) -> bytes:
    """Return *message* as modified by *fault*."""
    if fault.garbage:
        return GARBAGE
    if fault.unknown_fields:
        message = with_unknown_fields(message)
    return with_size(message, fault.oversize_bytes)


class Mapping(dict[str, Handler]):
    """Handlers by path; for an unknown path one that replies like a Go server."""

    def get(self, path: str, _default: object = None) -> Handler:
        """Return the handler for *path*."""
        return self[path] if path in self else self._refusal(path)

    def _refusal(self, path: str) -> Handler:
        service, _, name = path.removeprefix("/").rpartition("/")
        if not service:
            return _refusing(f"malformed method name: {quoted(path)}")
        is_known = any(known.startswith(f"/{service}/") for known in self)
        return _refusing(f"unknown method {name} for service {service}" if is_known else f"unknown service {service}")


def _refusing(message: str) -> Handler:
    async def serve(_stream: Bytes) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, message)

    return Handler(serve, Cardinality.STREAM_STREAM, bytes, bytes)
