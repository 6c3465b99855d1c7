"""What leaves a container: commands run in it, streams to it, its log, and the events of its life."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from crirm.cri.proto.runtime import v1
from tests.conformance import websocket
from tests.conformance.cri import DEADLINE_EXCEEDED, OK, UNIMPLEMENTED, World, wait_until

if TYPE_CHECKING:
    from pathlib import Path

Outcome = dict[str, Any]

_STDIN, _STDOUT, _STDERR, _STATUS = range(4)
_LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP]) (.*)$")


def exec_sync(world: World) -> Outcome:
    """Output, errors and exit codes of commands; commands that are not there; containers that do not run."""
    with world.pod("exec") as pod:
        running = pod.run("running")
        created = pod.create("created")
        commands = {
            "stdout": (running, ("/bin/echo", "hello")),
            "stderr and exit code": (running, ("/bin/sh", "-c", "echo out; echo err >&2; exit 3")),
            "no output": (running, ("/bin/true",)),
            "no text": (running, ("/bin/head", "-c", "3", "/dev/zero")),
            "no such program": (running, ("/bin/not-there",)),
            "no command": (running, ()),
            "not started": (created, ("/bin/true",)),
        }
        seen: Outcome = {
            name: world.outcome("ExecSync", v1.ExecSyncRequest(container_id=container, cmd=list(command)))
            for name, (container, command) in commands.items()
        }
        slow = v1.ExecSyncRequest(container_id=running, cmd=["/bin/sleep", "60"], timeout=1)
        seen["timeout"] = world.outcome("ExecSync", slow)
    assert seen["stdout"]["reply"] == {"stdout": "aGVsbG8K"}
    assert seen["stderr and exit code"]["reply"] == {"stdout": "b3V0Cg==", "stderr": "ZXJyCg==", "exitCode": 3}
    assert seen["timeout"]["code"] in {DEADLINE_EXCEEDED, 2}
    assert all(seen[name]["code"] != OK for name in ("no such program", "no command", "not started"))
    return seen


def stream_urls(world: World) -> Outcome:
    """URLs for exec, attach and port-forward, and what the server behind them says to a plain request."""
    with world.pod("urls") as pod:
        container = pod.run("main")
        created = pod.create("created")
        command = ["/bin/true"]
        urls = {
            "exec": world.cri.call(
                "Exec", v1.ExecRequest(container_id=container, cmd=command, stdout=True), v1.ExecResponse
            ).url,
            "attach": world.cri.call(
                "Attach", v1.AttachRequest(container_id=container, stdout=True), v1.AttachResponse
            ).url,
            "port-forward": world.cri.call(
                "PortForward", v1.PortForwardRequest(pod_sandbox_id=pod.id, port=[80]), v1.PortForwardResponse
            ).url,
        }
        seen: Outcome = {name: (world.plain(url), websocket.get(url)) for name, url in urls.items()}
        seen["token of nobody"] = websocket.get(urls["exec"].rpartition("/")[0] + "/0000AAAA")
        seen["exec without streams"] = world.outcome("Exec", v1.ExecRequest(container_id=container, cmd=command))
        seen["exec not started"] = world.outcome("Exec", v1.ExecRequest(container_id=created, cmd=command, stdout=True))
        seen["attach not started"] = world.outcome("Attach", v1.AttachRequest(container_id=created, stdout=True))
    assert seen["exec"][0] == "<server>/exec/<token>"
    return seen


def exec_stream(world: World) -> Outcome:
    """Exec's URL works where the caller connects to it: a command runs behind it."""
    with world.pod("exec-stream") as pod:
        container = pod.run("main")
        request = v1.ExecRequest(
            container_id=container, cmd=["/bin/sh", "-c", "echo out; exit 4"], stdout=True, stderr=True
        )
        url = world.cri.call("Exec", request, v1.ExecResponse).url
        with closing(websocket.connect(url)) as stream:
            stream.read_until(lambda received: _STATUS in received)
            stdout = stream.received[_STDOUT].decode()
            status = json.loads(stream.received[_STATUS])
    assert stdout == "out\n"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "4"}]
    return {"stdout": stdout, "status": status}


def attach_stream(world: World) -> Outcome:
    """Attach's URL: what is written arrives at the container's shell, what that prints comes back."""
    with world.pod("attach") as pod:
        container = pod.run("main", "/bin/cat", stdin=True)
        request = v1.AttachRequest(container_id=container, stdin=True, stdout=True, stderr=True)
        url = world.cri.call("Attach", request, v1.AttachResponse).url
        with closing(websocket.connect(url)) as stream:
            stream.send(_STDIN, b"there and back\n")
            stream.read_until(lambda received: b"back" in received.get(_STDOUT, b""))
            back = stream.received[_STDOUT].decode()
    assert back == "there and back\n"
    return {"back": back}


def port_forward_stream(world: World) -> Outcome:
    """PortForward's URL reaches a port that something listens on in the pod's network: the host's, here."""
    with world.pod("forward") as pod, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=_echo_once, args=(listener,))
        thread.start()
        request = v1.PortForwardRequest(pod_sandbox_id=pod.id, port=[port])
        url = world.cri.call("PortForward", request, v1.PortForwardResponse).url
        with closing(websocket.connect(f"{url}?port={port}")) as stream:
            stream.send(0, b"ping")
            stream.read_until(lambda received: b"ping" in received.get(0, b""))
            back = stream.received[0]
        thread.join(timeout=10)
    assert back == port.to_bytes(2, "little") + b"ping"
    return {"back": back[2:].decode()}


def container_log(world: World) -> Outcome:
    """The log file in the format of CRI, and a new one after ReopenContainerLog."""
    script = "echo one; echo two >&2; trap 'exit 0' TERM; while true; do sleep 0.05; echo tick; done"
    with world.pod("log") as pod:
        container = pod.run("main", "/bin/sh", "-c", script)
        path = world.logs / "log" / "main.log"
        wait_until(lambda: {"stdout F tick", "stderr F two"} <= set(_log_lines(path)))
        rotated = path.with_suffix(".1")
        path.rename(rotated)
        reopened = world.outcome("ReopenContainerLog", v1.ReopenContainerLogRequest(container_id=container))
        wait_until(lambda: len(_log_lines(path)) >= 1)
        stop = v1.StopContainerRequest(container_id=container, timeout=10)
        world.cri.call("StopContainer", stop, v1.StopContainerResponse)
        ended = world.outcome("ReopenContainerLog", v1.ReopenContainerLogRequest(container_id=container))
    head = [line for line in _log_lines(rotated) if "tick" not in line]
    assert sorted(head) == ["stderr F two", "stdout F one"]  # two pipes: either may be read first
    assert set(_log_lines(path)) == {"stdout F tick"}
    assert reopened["code"] == OK
    return {"head": sorted(head), "reopened": reopened, "ended": ended}


def container_events(world: World) -> Outcome:
    """The events of one pod with one container, from the first to the last."""
    stream = world.cri.start("GetContainerEvents", v1.GetEventsRequest(), timeout_s=20)
    if not world.has_events:
        reply = stream.finish()
        assert reply.code == UNIMPLEMENTED
        return {"refused": {"code": reply.code, "text": world.plain(reply.text)}}
    with closing(_Collector(world, stream)) as collector:
        _wait_listening(world, collector)
        with world.pod("events") as pod:
            container = pod.run("main", "/bin/sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.05; done")
            stop = v1.StopContainerRequest(container_id=container, timeout=10)
            world.cri.call("StopContainer", stop, v1.StopContainerResponse)
            removal = v1.RemoveContainerRequest(container_id=container)
            world.cri.call("RemoveContainer", removal, v1.RemoveContainerResponse)
        wait_until(lambda: collector.kinds(pod.id)[-1:] == ["CONTAINER_DELETED_EVENT"])
        seen: Outcome = {"pod": collector.kinds(pod.id), "container": collector.kinds(container)}
    life = ["CONTAINER_CREATED_EVENT", "CONTAINER_STARTED_EVENT", "CONTAINER_STOPPED_EVENT", "CONTAINER_DELETED_EVENT"]
    assert seen == {"pod": life, "container": life}
    assert collector.code == 1  # CANCELLED
    return {**seen, "first": collector.first(pod.id)}


class _Collector:
    """Reads an endless stream of events in a thread until it is closed."""

    def __init__(self, world: World, call: Any) -> None:
        self._world = world
        self._call = call
        self._events: list[v1.ContainerEventResponse] = []
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()
        self.code = 0

    def _collect(self) -> None:
        for message in self._call:
            self._events.append(v1.ContainerEventResponse().parse(message))
        self.code = self._call.finish().code

    def kinds(self, subject: str) -> list[str]:
        return [event.container_event_type.name or "" for event in self._events if event.container_id == subject]

    def first(self, pod: str) -> Any:
        """What the first event of a pod says about it; later ones tell of a moment that has passed."""
        first = next(event for event in self._events if event.container_id == pod)
        return self._world.plain(first.pod_sandbox_status)

    def close(self) -> None:
        self._call.cancel()
        self._thread.join(timeout=10)


def _wait_listening(world: World, collector: _Collector) -> None:
    """Have pods come and go until one is noticed.

    containerd 1.7 hands each event to one listener, and to one that has left until it fails to reach it.
    """
    for number in range(10):
        with world.pod(f"probe-{number}") as pod:
            pass
        with suppress(AssertionError):
            wait_until(lambda: "CONTAINER_DELETED_EVENT" in collector.kinds(pod.id), within_s=0.5)
            return


def _again(world: World, request: v1.ExecRequest) -> str:
    """Another URL: each is good for one connection."""
    return world.cri.call("Exec", request, v1.ExecResponse).url


def _log_lines(path: Path) -> list[str]:
    text = path.read_text() if path.exists() else ""
    lines = [_LOG_LINE.fullmatch(line) for line in text.splitlines()]
    assert all(lines), text
    return [" ".join(line.groups()) for line in lines if line]


def _echo_once(listener: socket.socket) -> None:
    listener.settimeout(10)
    with suppress(OSError):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(100))


SCENARIOS = (exec_sync, stream_urls, exec_stream, attach_stream, port_forward_stream, container_log, container_events)
