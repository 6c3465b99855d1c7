"""The three acts: mutated requests, broken runtimes, floods; after each, a normal pod life."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

import attrs

from crirm.cri.proto.runtime import v1
from crirm.hosts.synthetic import write_tree
from tests.abuse import broken_runtimes, floods, mutations, wire
from tests.abuse.watcher import PATIENCE_S, Figures, Watcher
from tests.conformance.client import GrpcioClient, unary
from tests.conformance.cri import INVALID_ARGUMENT, OK, V1, Cri, wait_until
from tests.integration.deciding import HOST, Node
from tests.integration.support import MIB, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.conformance.client import Call
    from tests.integration.support import Program, Stage

POLICY = "topology-aware"
_CREATE = "/runtime.v1.RuntimeService/CreateContainer"
_AT_ONCE = 16  # mutated requests in flight
_CALL_S = 5.0  # a call's own deadline
_RECOVERS_S = 30.0  # until crirm has found a runtime that works again


@attrs.define
class Outcome:
    """What came of an act.

    Args:
        name: of the act.
        statuses: how often calls ended with which gRPC code.
        took_s: seconds, all in all.
        peak_bytes: the most memory that crirm has had resident, from its start on.
        others: what another caller has seen meanwhile.
    """

    name: str
    statuses: Counter[int]
    took_s: float
    peak_bytes: int
    others: Figures

    def __str__(self) -> str:
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(self.statuses.items()))
        return f"{self.name}: {self.took_s:.1f} s, peak {self.peak_bytes / MIB:.0f} MiB, {self.others}" + (
            f"; statuses {codes}" if codes else ""
        )


_STRICT_SIM = """
import sys
import crirm.sim.methods as methods
from crirm.cli.main import main
from grpclib import GRPCError, Status

parsed = methods.parsed

def strictly_parsed(method, request):  # betterproto takes a number where a message belongs, and falls over it later
    message = parsed(method, request)
    try:
        bytes(message)
    except Exception as fault:
        raise GRPCError(Status.INTERNAL, f"grpc: error unmarshalling request: {fault}") from fault
    return message

methods.parsed = strictly_parsed
main()
"""


def _node(stage: Stage) -> Node:
    """A machine with the embedded runtime, on which crirm does not run yet."""
    write_tree(HOST, _made(stage.place / "host"))
    _run_sim(stage)
    image = v1.PullImageRequest(image=v1.ImageSpec(image="busybox"))
    Cri(stage.client(socket=stage.runtime_socket), V1).call("PullImage", image, v1.PullImageResponse)
    return Node(stage, POLICY, stage.place / "state")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _run_sim(stage: Stage) -> None:
    runtime = stage.run([sys.executable, "-c", _STRICT_SIM, "sim", "--socket", stage.runtime_socket])
    runtime.wait_log("embedded runtime is serving")


def live(node: Node, uid: str) -> None:
    """A pod comes, has CPUs of its own, and goes."""
    container = node.run(uid, 2)
    assert node.told()[container], "no CPUs were granted"
    node.end(container)
    status = v1.ContainerStatusRequest(container_id=container)
    assert node.cri.reply("ContainerStatus", status).code != OK


def mutate(stage: Stage, count: int, seed: str) -> Outcome:
    """*count* mutated requests over the ten held calls."""
    node = _node(stage)
    relay = node.start()
    dice, statuses, began_s = random.Random(seed), Counter[int](), time.monotonic()
    client = stage.client()
    # The embedded runtime takes long to decode some of it; this one crirm answers by itself.
    with Watcher(stage.relay_socket, _CREATE, b"\xff", INVALID_ARGUMENT) as watcher:
        in_flight: deque[Call] = deque()
        for number in range(count):
            if not number % 500:
                originals = _about_something(node, f"seen{number}")
            method = mutations.METHODS[number % len(mutations.METHODS)]
            request = mutations.mutated(originals[method], dice)
            in_flight.append(client.start(node.cri.path(method), request, timeout_s=PATIENCE_S))
            if len(in_flight) >= _AT_ONCE:
                statuses[in_flight.popleft().finish().code] += 1
        statuses.update(call.finish().code for call in in_flight)
        figures = watcher.figures()
    _check_alive(relay)
    _clear(node)
    live(node, "after")
    assert not node.told(), "what is gone is still told of"
    return Outcome(
        f"{count} mutated requests, seed {seed}", statuses, time.monotonic() - began_s, relay.peak_bytes, figures
    )


def _about_something(node: Node, uid: str) -> dict[str, bytes]:
    """Valid requests about a pod and a container that are there; whatever was there before goes."""
    _clear(node)
    container = node.run(uid, 1)
    pod = node.cri.call("ListPodSandbox", v1.ListPodSandboxRequest(), v1.ListPodSandboxResponse).items[-1].id
    return {method: bytes(message) for method, message in mutations.requests(pod, container, uid).items()}


def _clear(node: Node) -> None:
    """Remove every pod, as the kubelet would."""
    listed = node.cri.call("ListPodSandbox", v1.ListPodSandboxRequest(), v1.ListPodSandboxResponse)
    for pod in listed.items:
        for method in ("StopPodSandbox", "RemovePodSandbox"):
            node.cri.reply(method, v1.StopPodSandboxRequest(pod_sandbox_id=pod.id))


def _check_alive(*programs: Program) -> None:
    for program in programs:
        assert program.process.poll() is None, program.log
        faults = [line for line in program.log.splitlines() if "Traceback" in line]
        assert not faults, "\n".join(faults)


def flood(stage: Stage, names: Iterable[str], for_s: float) -> Iterable[Outcome]:
    """Every flood of *names* for *for_s* seconds at most, from a caller that reads and from one that does not."""
    node = _node(stage)
    relay = node.start()
    for name in names:
        for hear in (True, False):
            began_s = time.monotonic()
            with Watcher(stage.relay_socket) as watcher, wire.Rude(stage.relay_socket) as caller:
                floods.play(floods.FLOODS[name], caller, for_s, hear=hear)
                figures = watcher.figures()
            assert not figures.failed, f"{name}: others' calls failed"
            _check_alive(relay)
            took_s = time.monotonic() - began_s
            title = f"{name}{'' if hear else ', unread'}: {'hung up on' if caller.hung_up else 'endured'}"
            yield Outcome(
                f"{title} after {caller.said_bytes / MIB:.1f} MiB", Counter(), took_s, relay.peak_bytes, figures
            )
    live(node, "after")


def break_down(stage: Stage, names: Iterable[str]) -> Iterable[Outcome]:
    """Every broken runtime of *names*; after each one that works again, in the end the embedded one and a pod life."""
    write_tree(HOST, _made(stage.place / "host"))
    node = Node(stage, POLICY, stage.place / "state")
    with broken_runtimes.FakeRuntime(stage.runtime_socket) as runtime:
        relay = node.start()
        for name in names:
            yield _break(stage, relay, runtime, name)
    stage.runtime_socket.unlink()
    _run_sim(stage)
    image = v1.PullImageRequest(image=v1.ImageSpec(image="busybox"))
    wait_until(lambda: node.cri.reply("PullImage", image).code == OK, _RECOVERS_S)
    live(node, "after")


def _break(stage: Stage, relay: Program, runtime: broken_runtimes.FakeRuntime, name: str) -> Outcome:
    began_s, statuses = time.monotonic(), Counter[int]()
    client = GrpcioClient(stage.relay_socket)
    try:
        with Watcher(stage.relay_socket) as watcher:
            for path in (broken_runtimes.RELAYED, broken_runtimes.HELD):
                runtime.greets = broken_runtimes.GREETINGS.get(name)
                runtime.answers = broken_runtimes.ANSWERS.get(name)
                if runtime.greets:
                    runtime.drop()
                statuses[_bounded(lambda: unary(client, path, b"\x0a\x01c", timeout_s=_CALL_S).code)] += 1  # noqa: B023
                runtime.greets = runtime.answers = None
                if name in broken_runtimes.SPOILED:
                    runtime.drop()
                wait_until(lambda: unary(client, VERSION, b"", timeout_s=_CALL_S).code == OK, _RECOVERS_S)
            figures = watcher.figures()
    finally:
        client.close()
    _check_alive(relay)
    return Outcome(f"runtime: {name}", statuses, time.monotonic() - began_s, relay.peak_bytes, figures)


def _bounded(call: Callable[[], int]) -> int:
    began_s = time.monotonic()
    code = call()
    assert time.monotonic() - began_s < PATIENCE_S, "a call hung"
    return code
