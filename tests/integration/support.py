"""The relay and the runtime as processes, and what tests do to them and ask of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import grpc

from tests.conformance.client import GrpcioClient, GrpclibClient, unary
from tests.conformance.cri import wait_until
from tests.daemons import CRIRM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.conformance.client import Client

VERSION = "/runtime.v1.RuntimeService/Version"
EVENTS = "/runtime.v1.RuntimeService/GetContainerEvents"
ECHO = "/crirm.test.Echo/Unary"
ECHO_STREAM = "/crirm.test.Echo/ServerStream"
ECHO_REQUESTS = "/crirm.test.Echo/ClientStream"
_STATE = "/crirm.test.Echo/State"

OK, CANCELLED, DEADLINE_EXCEEDED, NOT_FOUND, UNIMPLEMENTED, UNAVAILABLE = 0, 1, 4, 5, 12, 14
MIB = 1 << 20
SLACK_BYTES = 32 * MIB  # what a Python process may take for itself while it works
_WITHIN_S = 30.0
_QUIET_POLLS = 15


class TidyGrpclibClient(GrpclibClient):
    """Lets its transport finish before the loop stops, else the interpreter warns of it in some later test."""

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        super().close()

    async def _hang_up(self) -> None:
        self._channel.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


CLIENTS: Mapping[str, Callable[[Path], Client]] = {"grpcio": GrpcioClient, "grpclib": TidyGrpclibClient}


class Process(Protocol):
    """What is needed of a process."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float = ...) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


@attrs.frozen(eq=False)
class Program:
    """A crirm command that runs; what it prints is in its log."""

    process: Process
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def records(self, event: str) -> list[dict[str, Any]]:
        """The records of *event*, where the command logs as JSON."""
        lines = [line for line in self.log.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return [record for line in lines if (record := json.loads(line))["event"] == event]

    def sentences(self) -> list[str]:
        """What is printed besides log records."""
        return [line for line in self.log.splitlines() if not line.startswith("{")]

    def wait_log(self, text: str, times: int = 1) -> None:
        """Wait until *text* was printed that often."""

        def printed() -> bool:
            assert self.process.poll() is None or self.log.count(text) >= times, f"{text!r} never came: {self.log}"
            return self.log.count(text) >= times

        wait_until(printed, _WITHIN_S)

    def wait_exit(self) -> int:
        return self.process.wait(_WITHIN_S)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end, and return how it did."""
        self.send(signal.SIGTERM)
        return self.wait_exit()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def resident_bytes(self) -> int:
        pages = self._proc("statm").split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    @property
    def peak_bytes(self) -> int:
        """The most that was ever resident."""
        status = dict(line.split(":", 1) for line in self._proc("status").splitlines())
        return int(status["VmHWM"].split()[0]) << 10

    def wait_quiet(self) -> None:
        """Wait until the process has nothing more to do for now: its processor time stands still."""
        seen: list[list[str]] = []

        def stands_still() -> bool:
            seen.append(self._proc("stat").rpartition(")")[2].split()[11:13])
            return len(seen) > _QUIET_POLLS and seen[-_QUIET_POLLS:] == seen[-1:] * _QUIET_POLLS

        wait_until(stands_still, _WITHIN_S)

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text()


class Stage:
    """A directory with sockets, and everything that runs on them until the test is over."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.runtime_socket = place / "c.sock"
        self.relay_socket = place / "r.sock"
        self.cleanup = ExitStack()
        self._programs: list[Program] = []

    def run(self, argv: Sequence[object], environment: Mapping[str, str] | None = None) -> Program:
        """Start *argv* and do not wait for anything."""
        log_path = self.place / f"{len(self._programs)}.log"
        log_path.touch()
        program = Program(self.spawn([str(word) for word in argv], log_path, environment or {}), log_path)
        self._programs.append(program)
        return program

    def spawn(self, argv: Sequence[str], log_path: Path, environment: Mapping[str, str]) -> Process:
        """Start *argv*; whatever it prints goes to *log_path*."""
        with log_path.open("wb") as log_file:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                close_fds=False,
            )

    def starting_runtime(self, *args: object, socket: Path | None = None) -> Program:
        """An embedded runtime that was just started."""
        return self.run([CRIRM, "sim", "--socket", socket or self.runtime_socket, *args])

    def runtime(self, *args: object, socket: Path | None = None) -> Program:
        """An embedded runtime that serves."""
        program = self.starting_runtime(*args, socket=socket)
        program.wait_log("embedded runtime is serving")
        return program

    def starting_relay(
        self, *args: object, prefix: Sequence[object] = (), environment: Mapping[str, str] | None = None
    ) -> Program:
        """A relay that was just started; *args* may name other sockets than those of the stage."""
        argv = [*prefix, CRIRM, "serve", "--log-format", "json"]
        argv += ["--relay-socket", self.relay_socket, "--runtime-socket", self.runtime_socket, *args]
        return self.run(argv, environment)

    def relay(self, *args: object) -> Program:
        """A relay that serves."""
        program = self.starting_relay(*args)
        program.wait_log('"serving"')
        return program

    def both(self, *relay_args: object, runtime_args: Sequence[object] = ()) -> tuple[Program, Program]:
        """A runtime, and a relay that serves it; started at the same time, which takes half as long."""
        runtime = self.starting_runtime(*runtime_args)
        return runtime, self.relay(*relay_args)

    def wait_open_files(self, program: Program, count: int) -> None:
        """Wait until *program* has no more than *count* open files."""
        wait_until(lambda: program.open_files <= count, _WITHIN_S)

    def client(self, kind: str = "grpcio", socket: Path | None = None) -> Client:
        """A client of the relay, or of *socket*, with a connection of its own."""
        client = CLIENTS[kind](socket or self.relay_socket)
        self.cleanup.callback(client.close)
        return client

    def watch(self, socket: Path | None = None) -> RuntimeWatch:
        """An eye on the embedded runtime, past the relay."""
        return RuntimeWatch(self.client(socket=socket or self.runtime_socket))

    def close(self) -> None:
        """End everything, and find no program that met a fault of its own."""
        self.cleanup.close()
        for program in self._programs:
            program.kill()
        faults = [program.log for program in self._programs if "Traceback" in program.log]
        assert not faults, "\n".join(faults)


@attrs.frozen
class RuntimeWatch:
    """What the embedded runtime knows of the calls that reach it."""

    _client: Client

    def count(self, kind: str, path: str) -> int:
        """How many calls of *path* are ``in_flight``, ``answered``, ``failed`` or ``cancelled``."""
        state = json.loads(unary(self._client, _STATE, b"").message)
        found = state[kind].get(path, 0)
        assert isinstance(found, int)
        return found

    def wait(self, kind: str, path: str, count: int = 1) -> None:
        wait_until(lambda: self.count(kind, path) == count, _WITHIN_S)


class HeldCall:
    """A call that lasts until the test ends it: its request is not whole before."""

    def __init__(self, stage: Stage) -> None:
        self._released = threading.Event()
        channel = grpc.insecure_channel(
            f"unix:{stage.relay_socket}", [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        )
        self._answer = channel.stream_unary(ECHO_REQUESTS).future(self._messages(), timeout=_WITHIN_S)
        stage.cleanup.callback(channel.close)
        stage.cleanup.callback(self._released.set)

    def _messages(self) -> Iterator[bytes]:
        yield b"held"
        self._released.wait()
        yield b" and finished"

    @property
    def is_over(self) -> bool:
        return bool(self._answer.done())

    def finish(self) -> bytes:
        """Complete the request and return the answer."""
        self._released.set()
        answer = self._answer.result(_WITHIN_S)
        assert isinstance(answer, bytes)
        return answer


def unprivileged() -> list[str]:
    """What to put before a command so that it runs without root's rights."""
    if os.geteuid() != 0:
        return []
    return [sys.executable, str(Path(__file__).with_name("as_nobody.py"))]
