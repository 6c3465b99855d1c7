"""Lives of crirm: the real daemon over models, begun, killed and begun again on the same disk."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import attrs
import hpack.hpack
import hpack.table
import trio

import crirm.daemon.app
import crirm.daemon.node
import crirm.daemon.relay.link
import crirm.daemon.state.persistence
import crirm.rpc.server
from crirm.daemon.app import Daemon, Stop
from crirm.daemon.configuration.in_force import begin
from crirm.daemon.settings import DISABLED, Settings
from crirm.policy.api import Choice
from crirm.rpc import bridge
from crirm.rpc.client import RuntimeConnection
from tests.simulation.host import ModelCgroups, ModelSights
from tests.simulation.loop import LoopOfLife

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from crirm.daemon.decider import Decider
    from crirm.daemon.node import DecidingNode
    from crirm.rpc.calls import Handler, HeldCall, Refusal
    from crirm.rpc.server import Route, Served, Server
    from tests.simulation.disk import ModelStore
    from tests.simulation.wires import Socket
    from tests.simulation.world import World

DUMP_NOTHING = "off:*"


@attrs.define(eq=False)
class Life:
    """One process of crirm.

    Args:
        world: in which it lives.
        nursery: of its tasks.
    """

    world: World
    nursery: trio.Nursery
    daemon: Daemon | None = None
    server: Server | None = None
    dead: bool = False
    sockets: list[Socket] = attrs.field(factory=list)
    relay: Any = None
    held: dict[object, tuple[bytes, float]] = attrs.field(factory=dict)  # calls: their path, and when they began
    loop: LoopOfLife = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Have a loop."""
        self.loop = LoopOfLife(self.world.loop)

    @property
    def node(self) -> DecidingNode | None:
        """What decides now, if anything does."""
        return self.relay.deciding() if self.relay is not None else None

    def kill(self) -> None:
        """End it as ``kill -9`` does: nothing that it has not done yet is done."""
        self.dead, self.server = True, None
        self.loop.die()
        for socket in self.sockets:
            socket.cut = socket.other.cut = True
        self.nursery.cancel_scope.cancel()
        for socket in self.sockets:
            if isinstance(socket.protocol, RuntimeConnection):  # tasks that wait for the runtime are shielded
                socket.protocol.fail("killed")


def settings_of(world: World) -> Settings:
    """Return what crirm is told at its start."""
    policy = Choice(world.scenario.policy, constraints=world.constraints())
    return Settings(
        relay_socket="/sim/relay.sock",
        runtime_socket="/sim/runtime.sock",
        config_socket=DISABLED,
        agent_socket=DISABLED,
        state_dir=str(world.directory),
        policy=policy,
        dump_rules=DUMP_NOTHING,
    )


async def live(world: World, life: Life) -> None:
    """Run crirm until it is killed; it never ends by itself."""
    settings = settings_of(world)
    in_force = begin(settings)
    life.daemon = Daemon(settings, in_force, Stop(), None)
    await life.daemon.run(trio.TASK_STATUS_IGNORED)


# --- what stands for the outside of the daemon ----------------------------------------------------------------------

_worlds: list[World] = []


def enter(world: World) -> None:
    """Let what follows happen in *world*."""
    _worlds[:] = [world]


def _world() -> World:
    return _worlds[0]


async def _in_thread(
    fn: Callable[..., Any], *args: Any, abandon_on_cancel: bool = False, limiter: Any = None, **_more: Any
) -> Any:
    """Stand for ``trio.to_thread.run_sync``: a pause, in which anything may happen, and then all of it at once."""
    if limiter is not None:
        async with limiter:
            return await _in_thread(fn, *args, abandon_on_cancel=abandon_on_cancel)
    world = _world()
    life = world.life
    await world.loop.pause(world.thread_takes_s(fn), firmly=not abandon_on_cancel)
    if life is not None and life.dead:
        await trio.lowlevel.checkpoint_if_cancelled()
        raise OSError(errno.EIO, "the process is dead")
    world.events += 1
    return fn(*args)


async def _call_asyncio(fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    await trio.sleep(_world().draw("crossing", 0.0002, 0.001))
    return await fn(*args)


async def _connect(protocol: bridge.Protocol, _path: str) -> None:
    world = _world()
    await world.loop.pause(world.draw("connect", 0.0, 0.0005))
    world.connect_to_runtime(protocol)


def _loop() -> Any:
    world = _world()
    return world.loop if world.life is None else world.life.loop


def _spawn(fn: Callable[..., Awaitable[None]], *args: Any) -> None:
    life = _world().life
    if life is not None and not life.dead:
        life.nursery.start_soon(partial(fn, *args))


async def _is_other_file(_path: str) -> bool:
    return False


@contextmanager
def _listening(*_args: Any) -> Iterator[Any]:
    yield SimpleNamespace(getsockname=lambda: "/sim/relay.sock")


def _counted(path: bytes, handler: Handler) -> Handler:
    """Have *handler* tell which calls it has, those among them whose caller is gone."""

    async def handle(call: HeldCall) -> bytes | None:
        life = _world().life
        if life is None:
            return await handler(call)
        life.held[call] = path, trio.current_time()
        try:
            return await handler(call)
        finally:
            del life.held[call]

    return handle


@asynccontextmanager
async def _open_server(_sock: object, served: Served) -> AsyncIterator[Server]:
    def route(path: bytes) -> Route | Refusal:
        found = served.route(path)
        if isinstance(found, crirm.rpc.server.Route) and found.handler is not None:
            return attrs.evolve(found, handler=_counted(path, found.handler))
        return found

    server = crirm.rpc.server.Server(attrs.evolve(served, route=route, connect=_connect))
    life = _world().life
    if life is not None and not life.dead:
        life.server = server
    try:
        yield server
    finally:
        server.close("crirm has ended")  # whoever waits for an answer would wait for ever
        if life is not None:
            life.server = None


@contextmanager
def _control_listener(_path: str) -> Iterator[None]:
    yield None


async def _serve_control(_sock: object, _answers: object) -> None:
    await trio.sleep_forever()


async def _no_watchdog() -> None:
    """There is no systemd."""


def _relay(settings: Settings, decider: Decider) -> Any:
    relay = _RELAY(settings, decider)
    life = _world().life
    if life is not None:
        life.relay = relay
    return relay


_RELAY = crirm.daemon.app._relay


def _nothing(*_args: object) -> None:
    """Do nothing."""


_NO_LOG = SimpleNamespace(debug=_nothing)
_SYSTEMD = SimpleNamespace(
    inherited_listener=_nothing, watchdog=_no_watchdog, notify_ready=_nothing, notify_stopping=_nothing
)


class _Store:
    """Stands for the class ``Store``."""

    @staticmethod
    def open(_directory: str, _clock: object = None, *, patience_s: float = 0.0) -> ModelStore:  # noqa: ARG004
        world = _world()
        return world.disk.open(world.life)


def _rescued(_directory: str) -> tuple[Any, float]:
    disk = _world().disk
    return {table: dict(rows) for table, rows in disk.rows.items()}, disk.latest_s


class _HostSights:
    """Stands for the class ``HostSights``."""

    @staticmethod
    def of(_root: object) -> ModelSights:
        world = _world()
        return ModelSights(world.host, lambda: world.loop.pause(world.draw("sight", 0.0002, 0.004)))


_APP = crirm.daemon.app
_TWINS: Final[tuple[tuple[Any, str, Any], ...]] = (
    (trio.to_thread, "run_sync", _in_thread),
    (bridge, "call_asyncio", _call_asyncio),
    (bridge, "connect_unix", _connect),
    (bridge, "spawn", _spawn),
    (bridge, "loop", _loop),
    (hpack.hpack, "log", _NO_LOG),  # several lines for each header, and nobody reads them
    (hpack.table, "log", _NO_LOG),
    (bridge, "rest_of", lambda transport: transport.rest),
    (crirm.daemon.relay.link, "is_other_file", _is_other_file),
    (crirm.daemon.node, "HostSights", _HostSights),
    (crirm.daemon.node, "Cgroups", lambda _root: ModelCgroups(_world().host)),
    (crirm.daemon.state.persistence, "Store", _Store),
    (crirm.daemon.state.persistence, "rescued", _rescued),
    (_APP, "gc", SimpleNamespace(collect=_nothing, freeze=_nothing, set_threshold=_nothing)),
    (_APP, "systemd", _SYSTEMD),
    (_APP, "check_unserved", _nothing),
    (_APP, "_listening", _listening),
    (_APP, "open_server", _open_server),
    (_APP, "control_listener", _control_listener),
    (_APP, "serve_control", _serve_control),
    (_APP, "_relay", _relay),
)
"""What stands for the outside of the daemon: where it is looked up, its name there, and its twin."""


def install() -> None:
    """Put every twin in the place of what it stands for; once, in a process that does nothing else."""
    for place, name, twin in _TWINS:
        if not hasattr(place, name):
            raise LookupError(f"{place.__name__} has no {name} any more: the simulation stands for something else now")
        setattr(place, name, twin)
