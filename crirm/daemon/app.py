"""The daemon: its tasks, the order in which they start, and the order in which they stop.

    serve
    ├─ signals             opened before anything else; the first SIGTERM drains, the second ends the grace
    └─ service             what calls depend on; cancelled last
       ├─ runtime link     connect → identify → started() → watch; one more for an image socket of its own
       ├─ dump, watchdog
       └─ server           accepts once the links have started; READY=1 follows

Stop: the gate shuts, calls in flight get a grace period, the connections close, the service tasks are cancelled, and
the socket file goes. Whatever fails before READY=1 ends the start with its own sentence.
"""

from __future__ import annotations

import gc
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.cri.dump_rules import DumpRules
from crirm.cri.methods import INTERCEPTED
from crirm.daemon.control import control_listener, serve_control
from crirm.daemon.dumper import Dumper
from crirm.daemon.link import Link
from crirm.daemon.relay import Relay, is_endless
from crirm.daemon.settings import control_socket_beside
from crirm.errors import CrirmError
from crirm.logs import get_logger, toggle_full_debug
from crirm.rpc.client import Pool
from crirm.rpc.http2 import Flusher
from crirm.rpc.server import Refusal, Served, Server, open_server
from crirm.system import systemd
from crirm.system.unix_socket import open_listener, owner_of

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterator

    from crirm.daemon.relay import Deciding
    from crirm.daemon.settings import Settings
    from crirm.rpc.tap import Outcome, Tap

    Watch = Callable[[bytes, Outcome], None]

log = get_logger("daemon")

NOTHING = "none"  # the policy that places nothing

STOPPING = Refusal(Status.UNAVAILABLE, "crirm is stopping and takes no new calls")


@attrs.frozen
class Stop:
    """Somebody wants the daemon to end: first politely, then at once."""

    asked: trio.Event = attrs.field(factory=trio.Event)
    insisted: trio.Event = attrs.field(factory=trio.Event)


async def serve(
    settings: Settings, watch: Watch | None = None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the daemon until a signal ends it; started once it accepts calls.

    Args:
        settings: what it is told.
        watch: told the path and the outcome of every call.
        task_status: told once calls are accepted.

    Raises:
        CrirmError: it cannot start, or cannot go on; the reason is for the operator.
    """
    stop = Stop()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1) as signals:
        async with trio.open_nursery() as app:
            app.start_soon(_obey, signals, stop)
            await _run(settings, stop, watch, task_status)
            app.cancel_scope.cancel()


async def _obey(signals: AsyncIterator[int], stop: Stop) -> None:
    async for number in signals:
        match number:
            case signal.SIGUSR1:
                toggle_full_debug()
            case signal.SIGHUP:
                log.info("no configuration file to read again")
            case _ if stop.asked.is_set():
                log.warning("asked to stop a second time: calls in flight are cut off")
                stop.insisted.set()
            case _:
                stop.asked.set()


async def _run(settings: Settings, stop: Stop, watch: Watch | None, task_status: trio.TaskStatus[None]) -> None:
    flusher = Flusher()
    async with trio.open_nursery() as service:
        service.start_soon(systemd.watchdog)
        rules = DumpRules.parse(settings.dump_rules)
        dumper = Dumper(
            rules,
            file=settings.dump_file,
            show_secrets=settings.dump_secrets,
            intercepted=INTERCEPTED if settings.policy.name != NOTHING else frozenset(),
            count_period_s=settings.dump_count_period_s,
        )
        await service.start(dumper.run)
        relay = await _make_relay(settings, flusher, service)
        if await _start_links(service, relay, stop):
            await service.start(_control, settings, relay.node)
            with _listening(settings) as sock:
                async with open_server(sock, _served(relay, dumper, watch), flusher) as server:
                    gc.freeze()  # what was imported stays: a collection that walks it holds calls up for 30 ms
                    systemd.notify_ready(f"serving on {sock.getsockname()}")
                    log.info("serving", socket=sock.getsockname())
                    task_status.started()
                    await stop.asked.wait()
                    await _drain(server, stop, settings.grace_s)
        service.cancel_scope.cancel()
    log.info("stopped")


async def _make_relay(settings: Settings, flusher: Flusher, service: trio.Nursery) -> Relay:
    relay = _relay(settings, flusher)
    if settings.policy.name != NOTHING:
        from crirm.daemon.node import open_node  # noqa: PLC0415 - a daemon that only relays stays small

        node = await open_node(settings, relay.runtime.pool, service)
        relay.node = node
        relay.runtime.on_up = node.on_up
        service.start_soon(node.run)
    return relay


async def _control(
    settings: Settings, node: Deciding | None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer questions until cancelled; a daemon that nobody can ask serves all the same."""
    path = settings.control_socket or control_socket_beside(settings.relay_socket)
    try:
        with control_listener(path) as sock:
            task_status.started()
            await serve_control(sock, node)
    except CrirmError as error:
        log.warning("crirm status and crirm explain will not work", reason=str(error))
        task_status.started()


def _relay(settings: Settings, flusher: Flusher) -> Relay:
    runtime = Link("RuntimeService", Pool(settings.runtime_socket, flusher), settings.allow_untested_runtimes)
    match settings.image_socket:
        case "-":
            return Relay(runtime, None)
        case "default" | settings.runtime_socket:
            return Relay(runtime, runtime)
        case other:
            return Relay(runtime, Link("ImageService", Pool(other, flusher), settings.allow_untested_runtimes))


async def _start_links(service: trio.Nursery, relay: Relay, stop: Stop) -> bool:
    """Start every link, however long the runtime lets us wait; False when we are asked to stop meanwhile."""
    links = {id(link): link for link in (relay.runtime, relay.images) if link is not None}
    async with trio.open_nursery() as starting:
        starting.start_soon(_cancel_when, stop.asked, starting.cancel_scope)
        for link in links.values():
            await service.start(link.maintain)
        starting.cancel_scope.cancel()
    return not stop.asked.is_set()


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _served(relay: Relay, tap: Tap, watch: Watch | None) -> Served:
    def finished(path: bytes, outcome: Outcome) -> None:
        relay.finished(path, outcome)
        if watch is not None:
            watch(path, outcome)

    return Served(route=relay.route, tap=tap, finished=finished)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """Hold the relay's socket: the one that systemd passed, or one of our own whose file goes with us."""
    inherited = systemd.inherited_listener()
    if inherited is not None:
        yield inherited
        return
    sock = open_listener(settings.relay_socket, owner_of(settings.runtime_socket))
    try:
        yield sock
    finally:
        sock.remove_file()


async def _drain(server: Server, stop: Stop, grace_s: float) -> None:
    """Let calls in flight finish, for *grace_s* seconds at most."""
    systemd.notify_stopping(f"waiting for {len(server.calls)} calls")
    server.shut_gate(STOPPING, is_endless)
    log.info("stopping", calls_in_flight=len(server.calls), grace_s=grace_s)
    async with trio.open_nursery() as draining:
        draining.cancel_scope.deadline = trio.current_time() + grace_s
        draining.start_soon(_cancel_when, stop.insisted, draining.cancel_scope)
        await server.wait_idle()
        await server.hang_up("crirm has stopped")
        draining.cancel_scope.cancel()
    if server.calls:
        log.warning("calls were cut off", calls=[c.path.decode("ascii", "replace") for c in server.calls])
