"""Servers on real Unix sockets, run on a thread of their own, so that clients of any kind can call them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs
import grpc
import trio
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from crirm.errors import CrirmError
from crirm.kube.config_service import serve_config
from crirm.kube.proto import v1
from crirm.rpc import bridge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path


@attrs.define
class Accepted:
    """Takes what comes, and answers as told."""

    reason: str = ""
    errors: dict[str, str] = attrs.field(factory=dict)
    raises: Exception | None = None
    configs: list[tuple[str, Mapping[str, str]]] = attrs.field(factory=list)
    adjustments: list[tuple[str, Mapping[str, Any]]] = attrs.field(factory=list)
    began: threading.Event = attrs.field(factory=threading.Event)
    go_on: threading.Event = attrs.field(factory=threading.Event)
    held: bool = False

    async def set_config(self, node_name: str, data: Mapping[str, str]) -> str:
        self.began.set()
        if self.held:
            await trio.to_thread.run_sync(self.go_on.wait)
        if self.raises:
            raise self.raises
        self.configs.append((node_name, data))
        return self.reason

    async def set_adjustment(self, node_name: str, adjustments: Mapping[str, Any]) -> Mapping[str, str]:
        if self.raises:
            raise self.raises
        self.adjustments.append((node_name, adjustments))
        return self.errors


@contextmanager
def on_a_thread(main: Callable[..., Awaitable[None]]) -> Iterator[None]:
    """Run the Trio-flavoured *main* until the block is left; what it raises before it has started is raised here."""
    ready, failures = threading.Event(), list[BaseException]()
    cancel: list[Callable[[], None]] = []

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            token = trio.lowlevel.current_trio_token()
            cancel.append(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))
            try:
                await nursery.start(main)
            except CrirmError as error:
                failures.append(error)
                return
            ready.set()
            await trio.sleep_forever()

    def target() -> None:
        try:
            bridge.run(run)
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=target, name="server")
    thread.start()
    assert ready.wait(20)
    try:
        if not failures:
            yield
    finally:
        with suppress(trio.RunFinishedError):
            cancel[0]()
        thread.join(20)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


@contextmanager
def config_server(path: Path, accepted: Accepted) -> Iterator[None]:
    async def main(*, task_status: trio.TaskStatus[None]) -> None:
        await serve_config(str(path), accepted, task_status=task_status)

    with on_a_thread(main):
        yield


@contextmanager
def channel(path: Path) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"unix:{path}", options=[("grpc.use_local_subchannel_pool", 1)]) as opened:
        yield opened


# --- a node agent ------------------------------------------------------------------------------------------------


class FakeAgent(v1.AgentBase):
    """Serves v1.Agent by the generated code and grpclib, and remembers what it was asked."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[Any] = []

    def _answer(self, request: Any, default: Any) -> Any:
        self.asked.append(request)
        answer = self.answers.get(type(request).__name__, default)
        if isinstance(answer, Status):
            raise GRPCError(answer, "as told")
        return answer

    async def get_node(self, request: v1.GetNodeRequest) -> v1.GetNodeReply:
        return self._answer(request, v1.GetNodeReply('{"metadata": {"name": "n1"}}'))  # type: ignore[no-any-return]

    async def patch_node(self, request: v1.PatchNodeRequest) -> v1.PatchNodeReply:
        return self._answer(request, v1.PatchNodeReply())  # type: ignore[no-any-return]

    async def update_node_capacity(self, request: v1.UpdateNodeCapacityRequest) -> v1.UpdateNodeCapacityReply:
        return self._answer(request, v1.UpdateNodeCapacityReply())  # type: ignore[no-any-return]

    async def health_check(self, request: v1.HealthCheckRequest) -> v1.HealthCheckReply:
        return self._answer(request, v1.HealthCheckReply())  # type: ignore[no-any-return]


class FakeKubelet(v1.PodResourcesListerBase):
    """Serves v1.PodResourcesLister for given pods, and remembers what it was asked.

    Args:
        pods: what it knows.
        get: whether Get is enabled.
        silent: whether it never answers.
    """

    def __init__(self, *pods: v1.PodResources, get: bool = True, silent: bool = False) -> None:
        self.pods, self.enabled, self.silent = pods, get, silent
        self.asked: list[str] = []

    async def list(self, request: v1.ListPodResourcesRequest) -> v1.ListPodResourcesResponse:
        self.asked.append("List")
        assert bytes(request) == b""
        return v1.ListPodResourcesResponse(list(self.pods))

    async def get(self, request: v1.GetPodResourcesRequest) -> v1.GetPodResourcesResponse:
        """Answer as the kubelet does: errors without a code of their own are UNKNOWN."""
        self.asked.append("Get")
        if self.silent:
            await asyncio.sleep(3600)
        if not self.enabled:
            raise GRPCError(Status.UNKNOWN, "PodResources API Get method disabled")
        for pod in self.pods:
            if (pod.name, pod.namespace) == (request.pod_name, request.pod_namespace):
                return v1.GetPodResourcesResponse(pod)
        raise GRPCError(Status.UNKNOWN, f"pod {request.pod_name} in namespace {request.pod_namespace} not found")


@contextmanager
def agent_server(path: Path, agent: FakeAgent | FakeKubelet) -> Iterator[None]:
    async def start() -> Server:
        server = Server([agent])
        await server.start(path=str(path))
        return server

    async def stop(server: Server) -> None:
        server.close()
        await server.wait_closed()

    async def main(*, task_status: trio.TaskStatus[None]) -> None:
        server = await bridge.call_asyncio(start)
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await bridge.call_asyncio(stop, server)

    with on_a_thread(main):
        yield
