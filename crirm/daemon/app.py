"""The daemon: its tasks, the order in which they start, and the order in which they stop.

    serve
    ├─ signals             opened first; the first SIGTERM drains, the second ends the grace period
    └─ service             everything calls depend on; cancelled last
       ├─ runtime link     connect → identify → started() → watch; a second one for a separate image socket
       ├─ dump, watchdog, control socket
       ├─ configuration    watches the forced file, or listens for the node agent
       └─ requests         held calls, one task each
          └─ server        accepts once the links have started; READY=1 follows

Stop: new calls are refused, calls in flight get a grace period, connections close, the service tasks are cancelled, and
the socket file is removed. A failure before READY=1 ends the start with its reason.
"""

from __future__ import annotations

import gc
import signal
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio
from grpclib.const import Status

from crirm.cri.dump_rules import DumpRules
from crirm.daemon.configuration.agent import greet_agent
from crirm.daemon.configuration.change import Reconfiguration
from crirm.daemon.configuration.in_force import Configurations, InForce, begin
from crirm.daemon.configuration.overrides import Overrides
from crirm.daemon.control import Answers, control_listener, serve_control
from crirm.daemon.decider import Decider
from crirm.daemon.dump.dumper import Dumper
from crirm.daemon.places import control_socket_beside
from crirm.daemon.relay.link import Link
from crirm.daemon.relay.router import Relay, is_endless
from crirm.daemon.settings import NOTHING, intercepted_by
from crirm.errors import CrirmError
from crirm.logs import configure, get_logger, toggle_full_debug
from crirm.rpc.calls import Refusal
from crirm.rpc.client import Pool
from crirm.rpc.server import Served, Server, open_server
from crirm.system import systemd
from crirm.system.unix_socket import check_unserved, make_directory_of, open_listener, owner_of

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from crirm.admission.admission import Overriding
    from crirm.daemon.settings import Settings
    from crirm.rpc.tap import Outcome, Tap

    Note = Callable[[bytes, Outcome], None]
    Serving = Callable[..., Awaitable[None]]

log = get_logger("daemon")

COLLECTED_AT: Final = 700  # new objects; Python's own threshold until 3.12
STOPPING = Refusal(Status.UNAVAILABLE, "crirm is stopping and accepts no new calls")


@attrs.frozen
class Stop:
    """Requests to stop the daemon: gracefully, then immediately."""

    asked: trio.Event = attrs.field(factory=trio.Event)
    insisted: trio.Event = attrs.field(factory=trio.Event)


async def serve(
    settings: Settings, note: Note | None = None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the daemon until a signal ends it; started once it accepts calls.

    Args:
        settings: from the command line and the environment.
        note: receives the path and outcome of every call.
        task_status: started once calls are accepted.

    Raises:
        CrirmError: it cannot start or continue; the reason is for the operator.
    """
    stop = Stop()
    heard = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, settings.reload_signal or signal.SIGHUP}
    with trio.open_signal_receiver(*heard) as signals:
        in_force = await trio.to_thread.run_sync(begin, settings)
        if in_force.settings.log != settings.log:
            configure(in_force.settings.log)
        async with trio.open_nursery() as app:
            daemon = Daemon(settings, in_force, stop, note)
            app.start_soon(daemon.obey, signals)
            await daemon.run(task_status)
            app.cancel_scope.cancel()


@attrs.define
class Daemon:
    """The running daemon.

    Args:
        base: settings of the command line and the environment.
        in_force: the configuration at the start.
        stop: ends it.
        note: receives the path and outcome of every call.
        configurations: None until the runtime has answered.
    """

    base: Settings
    in_force: InForce
    stop: Stop
    note: Note | None
    configurations: Configurations | None = None
    _reload: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def obey(self, signals: AsyncIterator[int]) -> None:
        """Handle signals until cancelled."""
        async for number in signals:
            match number:
                case signal.SIGUSR1:
                    toggle_full_debug()
                case self.base.reload_signal:
                    self._reload.set()
                case signal.SIGHUP:
                    log.info("ignoring SIGHUP: another signal reloads the configuration")
                case _ if self.stop.asked.is_set():
                    log.warning("second stop signal: cutting off calls in flight")
                    self.stop.insisted.set()
                case _:
                    self.stop.asked.set()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Serve until a stop is requested."""
        settings = self.in_force.settings
        inherited = systemd.inherited_listener()
        if inherited is None:  # otherwise a second instance would place containers before it failed
            check_unserved(settings.relay_socket, "--relay-socket")
            make_directory_of(settings.relay_socket)  # fail now; we may listen much later
        async with trio.open_nursery() as service:  # everything calls depend on; cancelled last
            service.start_soon(systemd.watchdog)
            dumper, decider = _dumper(settings), Decider()
            await service.start(dumper.run)
            relay = _relay(settings, decider)
            overrides = Overrides.kept_in(settings.state_dir, decider)
            await _place(settings, relay, service, decider, overrides.override)
            if await _start_links(service, relay, self.stop):
                change = Reconfiguration(decider, relay.runtime, dumper, service, settings, overrides.override)
                self.configurations = Configurations(self.base, self.in_force, change, overrides)
                await self._start_asking(service, decider, self.configurations)
                async with trio.open_nursery() as requests:  # held calls; cancelled after the grace period
                    served = _served(relay, dumper, self.note, requests)
                    with _listening(settings, inherited) as sock:
                        async with open_server(sock, served) as server:  # accepts connections; ends first
                            requests.start_soon(_recall, relay.runtime, server)
                            requests.start_soon(_ready_for_more, decider)
                            systemd.notify_ready(f"serving on {sock.getsockname()}")
                            log.info("serving", socket=sock.getsockname())
                            task_status.started()
                            await self.stop.asked.wait()
                            await _drain(server, self.stop, settings.grace_s)
                    requests.cancel_scope.cancel()
            service.cancel_scope.cancel()
        log.info("stopped")

    async def _start_asking(self, service: trio.Nursery, decider: Decider, configurations: Configurations) -> None:
        """Start the interfaces besides CRI: control socket, reload signal, node agent."""
        control = self.base.control_socket or control_socket_beside(self.base.relay_socket)
        answering = partial(_control, control, Answers(decider.who, configurations))
        await service.start(_serve_if_it_can_be, "cannot serve the control socket", answering)
        service.start_soon(self._reload_when_asked, configurations)
        if self.base.forced_config:
            service.start_soon(configurations.follow_file)
        if self.base.config_interface:
            from crirm.kube.config_service import serve_config  # noqa: PLC0415 - 80 ms, and most nodes have no agent

            hearing = partial(serve_config, self.base.config_interface, configurations)
            await service.start(_serve_if_it_can_be, "cannot serve the node agent", hearing)
        if self.base.node_agent:
            service.start_soon(greet_agent, self.base.node_agent)

    async def _reload_when_asked(self, configurations: Configurations) -> None:
        while True:
            await self._reload.wait()
            self._reload = trio.Event()
            await configurations.reload()


def _dumper(settings: Settings) -> Dumper:
    return Dumper(
        DumpRules.parse(settings.dump_rules),
        file=settings.dump_file,
        show_secrets=settings.dump_secrets,
        intercepted=intercepted_by(settings.policy),
        count_period_s=settings.dump_count_period_s,
    )


async def _place(
    settings: Settings, relay: Relay, service: trio.Nursery, decider: Decider, override: Overriding
) -> None:
    """Start the deciding half if a policy places containers or a trace is recorded."""
    if settings.policy.name == NOTHING and not settings.record:
        return
    from crirm.daemon.node import open_node  # noqa: PLC0415 - a daemon that only relays stays small

    decider.node = await open_node(settings, relay.runtime.pool, service, override, decider.changing)
    service.start_soon(decider.node.run)


async def _serve_if_it_can_be(
    what_if_not: str, serving: Serving, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve an optional interface; a socket that cannot be created is only a warning."""
    try:
        await serving(task_status=task_status)
    except CrirmError as error:
        log.warning(what_if_not, reason=str(error))
        task_status.started()


async def _control(path: str, answers: Answers, *, task_status: trio.TaskStatus[None]) -> None:
    with control_listener(path) as sock:
        task_status.started()
        await serve_control(sock, answers)


def _relay(settings: Settings, decider: Decider) -> Relay:
    allowed = settings.allow_untested_runtimes
    runtime = Link("RuntimeService", Pool(settings.runtime_socket), allowed, decider.on_up)
    match settings.image_socket:
        case "-":
            return Relay(runtime, None, decider.who)
        case "default" | settings.runtime_socket:
            return Relay(runtime, runtime, decider.who)
        case other:
            return Relay(runtime, Link("ImageService", Pool(other), allowed), decider.who)


async def _start_links(service: trio.Nursery, relay: Relay, stop: Stop) -> bool:
    """Start every link, waiting for the runtime as long as it takes; False if a stop is requested meanwhile."""
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


def _served(relay: Relay, tap: Tap, note: Note | None, requests: trio.Nursery) -> Served:
    def finished(path: bytes, outcome: Outcome) -> None:
        relay.finished(path, outcome)
        if note is not None:
            note(path, outcome)

    return Served(
        route=relay.route,
        runtime=relay.reachable,
        nursery=requests,
        tap=tap,
        finished=finished,
        listens=(lambda: True) if note is not None else relay.tells,
    )


async def _ready_for_more(decider: Decider) -> None:
    """Import what was put off, and end the start: collections leave out what was imported, which takes 30 ms to walk.

    The command line has put collections off; those to come are small and hold no call up.
    """
    if decider.node is not None:
        await decider.node.first_needs()
    gc.collect(0)
    gc.freeze()
    gc.set_threshold(COLLECTED_AT)


async def _recall(runtime: Link, server: Server) -> None:
    """Make callers that got UNAVAILABLE reconnect each time the runtime is back."""
    while True:
        await runtime.back()
        server.runtime_is_back()


@contextmanager
def _listening(settings: Settings, inherited: socket.socket | None) -> Iterator[socket.socket]:
    """Provide the relay's socket: the one systemd passed, or our own, whose file is removed at the end."""
    if inherited is not None:
        yield inherited
        return
    sock = open_listener(settings.relay_socket, owner_of(settings.runtime_socket))
    try:
        yield sock
    finally:
        sock.remove_file()


async def _drain(server: Server, stop: Stop, grace_s: float) -> None:
    """Let calls in flight finish, for at most *grace_s* seconds."""
    systemd.notify_stopping(f"waiting for {len(server.calls)} calls")
    server.shut_gate(STOPPING, is_endless)
    log.info("stopping", calls_in_flight=len(server.calls), grace_s=grace_s)
    async with trio.open_nursery() as draining:
        draining.cancel_scope.deadline = trio.current_time() + grace_s
        draining.start_soon(_cancel_when, stop.insisted, draining.cancel_scope)
        await server.wait_idle()
        await server.hang_up("crirm stopped")
        draining.cancel_scope.cancel()
    if server.calls:
        log.warning("cut off calls in flight", calls=[path.decode("ascii", "replace") for path in server.calls])
