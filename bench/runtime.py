"""A runtime that costs next to nothing: ``python -m bench.runtime SOCKET``.

It runs no containers, checks nothing and keeps what it is told as bytes. Against a real runtime, or the embedded one,
what a relay costs is a small part of every call; here it is the larger part. Other proxies can be put in front of it.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from bench.http2 import DATA, HEADERS, Connection, Headers, body, message
from bench.protobuf import bytes_field, number_field, pick, read, text_field

if TYPE_CHECKING:
    from collections.abc import Callable

NAME: Final = "containerd"  # what crirm has been tested with
_VERSION: Final = b"".join(text_field(n, text) for n, text in enumerate(("0.1.0", NAME, "v1.7.27", "v1"), start=1))
_READ_BYTES: Final = 1 << 18
_CREATED, _RUNNING, _EXITED = range(3)
_NOT_READY: Final = 1
_OK: Final[Headers] = ((":status", "200"), ("content-type", "application/grpc"))
_DONE: Final[Headers] = (("grpc-status", "0"), ("grpc-message", ""))
_UNKNOWN: Final[Headers] = (*_OK, ("grpc-status", "12"), ("grpc-message", "unknown method"))


@attrs.define
class _Record:
    """A pod, or a container in it: the fields that lists and statuses show, and the state."""

    id: str
    pod: str  # of a pod itself: empty
    config: bytes
    resources: bytes
    listed: bytes  # after the id, without the state
    made_ns: int
    state: int

    def times_and_state(self, state_field: int, made_field: int) -> bytes:
        return number_field(state_field, self.state) + number_field(made_field, self.made_ns)


class Runtime:
    """Answers calls: method name and request in, reply out; None where there is no such method."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._pods: dict[str, _Record] = {}
        self._containers: dict[str, _Record] = {}
        self._list_of_all: bytes | None = None
        self._methods: dict[str, Callable[[bytes], bytes]] = {
            "Version": lambda _: _VERSION,
            "Status": lambda _: b"",
            "RunPodSandbox": self._run_pod,
            "StopPodSandbox": self._stop_pod,
            "RemovePodSandbox": self._remove_pod,
            "ListPodSandbox": self._list_pods,
            "PodSandboxStatus": self._pod_status,
            "CreateContainer": self._create,
            "StartContainer": lambda request: self._set_state(request, _RUNNING),
            "StopContainer": lambda request: self._set_state(request, _EXITED),
            "RemoveContainer": self._remove,
            "UpdateContainerResources": self._update,
            "ContainerStatus": self._status,
            "ListContainers": self._list,
        }

    def answer(self, method: str, request: bytes) -> bytes | None:
        """Answer a call."""
        answer = self._methods.get(method)
        return None if answer is None else answer(request)

    def _run_pod(self, request: bytes) -> bytes:
        config = pick(request, 1)
        listed = bytes_field(2, pick(config, 1)) + _again(config, 6, 6) + _again(config, 7, 7)
        record = self._record("pod", "", config, b"", listed)
        self._pods[record.id] = record
        return text_field(1, record.id)

    def _stop_pod(self, request: bytes) -> bytes:
        if record := self._pods.get(_id(request)):
            record.state = _NOT_READY
        return b""

    def _remove_pod(self, request: bytes) -> bytes:
        self._pods.pop(_id(request), None)
        return b""

    def _list_pods(self, request: bytes) -> bytes:
        wanted = _Filter.of(request, labels=3)
        shown = (
            text_field(1, one.id) + one.listed + one.times_and_state(3, 4)
            for one in self._pods.values()
            if wanted.id in {"", one.id} and wanted.state in {None, one.state}
        )
        return b"".join(bytes_field(1, each) for each in shown)

    def _pod_status(self, request: bytes) -> bytes:
        one = self._pods[_id(request)]
        shown = text_field(1, one.id) + bytes_field(2, pick(one.config, 1)) + one.times_and_state(3, 4)
        return bytes_field(1, shown + _again(one.config, 6, 7) + _again(one.config, 7, 8))

    def _create(self, request: bytes) -> bytes:
        pod, config = pick(request, 1).decode(), pick(request, 2)
        image = pick(pick(config, 2), 1)
        listed = bytes_field(3, pick(config, 1)) + bytes_field(4, bytes_field(1, image)) + bytes_field(5, image)
        listed += _again(config, 9, 8) + _again(config, 10, 9)
        record = self._record("container", pod, config, pick(pick(config, 15), 1), text_field(2, pod) + listed)
        self._containers[record.id] = record
        self._list_of_all = None
        return text_field(1, record.id)

    def _set_state(self, request: bytes, state: int) -> bytes:
        if record := self._containers.get(_id(request)):
            record.state = state
            self._list_of_all = None
        return b""

    def _remove(self, request: bytes) -> bytes:
        self._containers.pop(_id(request), None)
        self._list_of_all = None
        return b""

    def _update(self, request: bytes) -> bytes:
        record = self._containers[_id(request)]
        kept = {number: value for number, value in read(record.resources) if number != 0}
        kept |= dict(read(pick(request, 2)))
        record.resources = b"".join(_field(number, value) for number, value in kept.items())
        return b""

    def _status(self, request: bytes) -> bytes:
        one = self._containers[_id(request)]
        image = pick(pick(one.config, 2), 1)
        shown = text_field(1, one.id) + bytes_field(2, pick(one.config, 1)) + one.times_and_state(3, 4)
        shown += bytes_field(8, bytes_field(1, image)) + bytes_field(9, image)
        shown += _again(one.config, 9, 12) + _again(one.config, 10, 13)
        return bytes_field(1, shown + bytes_field(16, bytes_field(1, one.resources)))

    def _list(self, request: bytes) -> bytes:
        if not request and self._list_of_all is not None:
            return self._list_of_all
        wanted = _Filter.of(request, labels=4)
        shown = (
            text_field(1, one.id) + one.listed + one.times_and_state(6, 7)
            for one in self._containers.values()
            if wanted.id in {"", one.id} and wanted.state in {None, one.state} and wanted.pod in {"", one.pod}
        )
        listed = b"".join(bytes_field(1, each) for each in shown)
        if not request:
            self._list_of_all = listed
        return listed

    def _record(self, kind: str, pod: str, config: bytes, resources: bytes, listed: bytes) -> _Record:
        name = f"{kind}{next(self._numbers):08}".encode().hex().ljust(64, "0")  # as long as those of containerd
        return _Record(name, pod, config, resources, listed, time.time_ns(), 0)


@attrs.frozen
class _Filter:
    id: str
    state: int | None
    pod: str

    @classmethod
    def of(cls, request: bytes, *, labels: int) -> _Filter:
        """Read the filter of a list's request; no caller here filters by labels."""
        fields = dict(read(pick(request, 1)))
        if labels in fields:
            raise ValueError("no filter by labels")
        state = dict(read(_bytes(fields[2]))).get(1, 0) if 2 in fields else None
        pod = _bytes(fields.get(3, b"")).decode() if labels != 3 else ""
        return cls(_bytes(fields.get(1, b"")).decode(), state if isinstance(state, int) else None, pod)


def _id(request: bytes) -> str:
    return pick(request, 1).decode()


def _bytes(value: int | bytes) -> bytes:
    return value if isinstance(value, bytes) else b""


def _field(number: int, value: int | bytes) -> bytes:
    return number_field(number, value) if isinstance(value, int) else bytes_field(number, value)


def _again(config: bytes, field: int, as_field: int) -> bytes:
    """Return all values of *field* under another number."""
    return b"".join(_field(as_field, value) for number, value in read(config) if number == field)


class _Caller:
    """One connection."""

    def __init__(self, to: socket.socket, runtime: Runtime) -> None:
        self.socket = to
        self._runtime = runtime
        self._connection = Connection(client=False)
        self._calls: dict[int, tuple[str, list[bytes]]] = {}

    def turn(self) -> bool:
        """Read once and answer; returns whether the connection lives."""
        try:
            data = self.socket.recv(_READ_BYTES)
            if data:
                self._take(data)
                self.socket.sendall(self._connection.out)
                self._connection.out.clear()
        except OSError:
            return False
        return bool(data)

    def _take(self, data: bytes) -> None:
        for kind, end, stream, payload in self._connection.feed(data):
            if kind == HEADERS:
                self._calls[stream] = self._connection.headers.decode(payload)[":path"], []
            elif kind == DATA and stream in self._calls:
                self._calls[stream][1].append(payload)
            else:
                self._calls.pop(stream, None)
                continue
            if end:
                path, pieces = self._calls.pop(stream)
                self._answer(stream, path, body(b"".join(pieces)))

    def _answer(self, stream: int, path: str, request: bytes) -> None:
        package_and_service, _, method = path.rpartition("/")
        reply = self._runtime.answer(method, request) if package_and_service == "/runtime.v1.RuntimeService" else None
        if reply is None:
            self._connection.end(stream, _UNKNOWN)
        else:
            self._connection.send(stream, _OK, message(reply), _DONE)
        self._connection.forget(stream)


def serve(path: Path) -> None:
    """Serve on the socket *path* until the process ends."""
    path.unlink(missing_ok=True)
    runtime, selector = Runtime(), selectors.DefaultSelector()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(128)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    caller = _Caller(listener.accept()[0], runtime)
                    selector.register(caller.socket, selectors.EVENT_READ, caller)
                elif not key.data.turn():
                    selector.unregister(key.fileobj)
                    key.data.socket.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
