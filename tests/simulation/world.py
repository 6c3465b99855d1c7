"""One run: the models, crirm's lives, and the checks, put together."""

from __future__ import annotations

import itertools
import tempfile
import zlib
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from crirm.model.cpuset import CPUSet
from crirm.policy.api import Constraints, CPUConstraint
from crirm.rpc.runtime_half import RuntimeHalf
from tests.simulation import clocks
from tests.simulation import life as lives
from tests.simulation.caller import Caller
from tests.simulation.checks import Checks
from tests.simulation.client import Client
from tests.simulation.disk import Disk
from tests.simulation.habits import HABITS
from tests.simulation.host import Host
from tests.simulation.kubelet import Kubelet
from tests.simulation.life import Life
from tests.simulation.loop import VirtualLoop
from tests.simulation.port import Mishap, Port, Told
from tests.simulation.runtime import ModelRuntime
from tests.simulation.wires import pair, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crirm.rpc import bridge
    from tests.simulation.scenario import Scenario

LOG_KEPT = 400
PATIENT_S = 120.0  # the kubelet's default; others may cancel calls without having told a deadline
RESTART_S = (0.5, 3.0)  # systemd's RestartSec, and Python's start
LATE_HALF_S = 0.05


@attrs.define(eq=False)
class World:
    """Everything of one run.

    Args:
        scenario: what is to happen.
        nursery: of the models.
        directory: real, for the few files beside the state.
        watched: see `Checks`.
    """

    scenario: Scenario
    nursery: trio.Nursery
    directory: Path
    watched: frozenset[str] | None = None
    loop: VirtualLoop = attrs.field(init=False)
    host: Host = attrs.field(init=False)
    disk: Disk = attrs.field(factory=Disk, init=False)
    runtime: ModelRuntime = attrs.field(init=False)
    kubelet: Kubelet = attrs.field(init=False)
    checks: Checks = attrs.field(init=False)
    life: Life | None = attrs.field(default=None, init=False)
    ports: list[Port] = attrs.field(factory=list, init=False)
    mishaps: list[Mishap] = attrs.field(factory=list, init=False)
    runtime_down: bool = attrs.field(default=False, init=False)
    disk_hangs_until_s: float = attrs.field(default=0.0, init=False)
    halves_until_s: float = attrs.field(default=0.0, init=False)  # what is written arrives in two pieces
    restarts: int = attrs.field(default=0, init=False)
    events: int = attrs.field(default=0, init=False)
    log: deque[tuple[float, str, str]] = attrs.field(factory=lambda: deque(maxlen=LOG_KEPT), init=False)
    _drawn: Counter[str] = attrs.field(factory=Counter, init=False)
    _numbers: Any = attrs.field(factory=lambda: itertools.count(1), init=False)
    _end_life: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        """Build the models."""
        scenario = self.scenario
        self.loop = VirtualLoop(lambda error: self.checks.fail("crirm raises", repr(error)))
        self.host = Host(scenario.host)
        self.checks = Checks(self, self.watched)
        self.host.written = self.checks.written
        self.runtime = ModelRuntime(
            HABITS[scenario.runtime], self.host, self.draw, lambda: int(clocks.wall_s() * 1e9), self.checks.started,
            self._lifetime_s, self.nursery, self.loop, self._panic,
        )  # fmt: skip
        kubelets = self.caller()
        kubelets.tells_deadline = scenario.call_s == PATIENT_S or bool(scenario.seed % 2)
        listeners = self.caller() if scenario.streams == 1 else kubelets  # the only stream would be taken for ever
        self.kubelet = Kubelet(
            kubelets, listeners, self.draw, scenario.evented, self.nursery, scenario.call_s, self.checks.uncreated
        )

    # --- chance --------------------------------------------------------------------------------------------------

    def draw(self, what: str, least: float, most: float) -> float:
        """Return a number of the seed; those of one name do not depend on how often others were drawn."""
        self._drawn[what] += 1
        part = zlib.crc32(f"{self.scenario.seed}/{what}/{self._drawn[what]}".encode()) / (1 << 32)
        return least + (most - least) * part

    def thread_takes_s(self, fn: object) -> float:
        """Return how long a call in a thread takes."""
        if getattr(fn, "__name__", "") in {"_write_now", "sync"} and self.disk_hangs_until_s > trio.current_time():
            return self.disk_hangs_until_s - trio.current_time()
        return self.draw("thread", 0.0002, 0.004)

    def constraints(self) -> Constraints:
        """Return what bounds every policy: one reserved CPU."""
        return Constraints(reserved=CPUConstraint(cpus=CPUSet([0])))

    def _lifetime_s(self, uid: str, name: str, _attempt: int) -> float | None:
        worker = self.kubelet.workers.get(uid)
        if worker is None:
            return None
        return next((one.lifetime_s for one in worker.spec.containers if one.name == name), None)

    def note(self, what: str) -> None:
        """Keep a line for whoever looks into a failure."""
        self.log.append((trio.current_time(), "", what))

    # --- connections ---------------------------------------------------------------------------------------------

    def caller(self) -> Caller:
        """Return a new client of crirm."""
        return Caller(self._dial, self.checks.overdue, self.checks.ungreeted, self._numbers)

    def _dial(self) -> Client | None:
        life = self.life
        if life is None or life.dead or life.server is None:
            return None
        client, connection = Client(self.checks.forbidden), life.server.new_connection()
        near, far = pair(client, connection, self.loop, self._split)
        life.sockets.append(far)
        client.connection_made(near)
        self.loop.call_soon(self._accept, connection, far)
        return client

    def _accept(self, connection: bridge.Protocol, far: Any) -> None:
        if not far.cut:
            connection.connection_made(far)

    def connect_to_runtime(self, connection: bridge.Protocol) -> None:
        """Connect crirm to the runtime.

        Raises:
            ConnectionRefusedError: it is down.
        """
        life = self.life
        if self.runtime_down or life is None or life.dead:
            raise ConnectionRefusedError("nobody listens")
        checks = self.checks
        told = Told(self.mishap, self.kill, checks.answered, checks.lost, checks.unwelcome, checks.forbidden)
        port = Port(self.runtime, self.scenario.streams, told, of_caller=isinstance(connection, RuntimeHalf))
        near, far = pair(connection, port, self.loop, self._split)
        life.sockets.append(near)
        self.ports = [port, *(one for one in self.ports if not one.lost)]
        connection.connection_made(near)
        port.connection_made(far)

    def _split(self, data: bytes) -> Iterable[tuple[float, bytes]]:
        """Return what is written at once, or some of it a good deal later than the rest; see `wires.Socket`."""
        if trio.current_time() >= self.halves_until_s:
            return whole(data)
        at = int(self.draw("half", 0.0, len(data)))
        return (0.0, data[:at]), (self.draw("late half", 0.0, LATE_HALF_S), data[at:])

    def mishap(self, method: str) -> Mishap | None:
        """Return what happens to this call of *method*, if anything does."""
        self.events += 1
        for mishap in self.mishaps:
            if mishap.method == method:
                self.mishaps.remove(mishap)
                self.note(f"{method}: {mishap.what} {mishap.delay_s:g}")
                return mishap
        return None

    def drop_connections(self) -> None:
        """End the runtime's connections."""
        ports, self.ports = self.ports, []
        for port in ports:
            port.close()
        self.checks.disturbed()

    def cut(self, whose: str, which: int, *, reset: bool) -> None:
        """End one connection of many.

        Args:
            whose: ``caller``: one that the runtime has with a caller; ``pool``: one that it has with the pool;
                ``kubelet``: the kubelet's with crirm.
            which: of them.
            reset: what was sent is thrown away.
        """
        self.checks.disturbed()
        if whose == "kubelet":
            self.kubelet.caller.hang_up()
            return
        ports = [port for port in self.ports if not port.lost and port.of_caller is (whose == "caller")]
        if ports:
            ports[which % len(ports)].close(reset=reset)

    def restart_runtime(self, down_s: float) -> None:
        """Restart the runtime; containers go on."""
        self.runtime_down = True
        self.drop_connections()
        self.loop.call_later(down_s, self._runtime_is_back)

    def _runtime_is_back(self) -> None:
        self.runtime_down = False

    def _panic(self) -> None:
        if not self.runtime_down:
            self.note("the runtime panics")
            self.restart_runtime(self.draw("panic", *RESTART_S))

    # --- crirm's lives -------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Run crirm, and again when it was killed, for ever."""
        while True:
            async with trio.open_nursery() as nursery:
                life = self.life = Life(self, nursery)
                try:
                    await lives.live(self, life)
                except* Exception as group:  # noqa: BLE001 - told
                    if not life.dead:
                        self.checks.fail("crirm dies", repr(group.exceptions))
                nursery.cancel_scope.cancel()
            life.dead = True
            life.loop.die()
            self.ports = []
            for socket in life.sockets:
                socket.cut = socket.other.cut = True
                socket.other.protocol.connection_lost(None)
            await trio.sleep(self.draw("restart", *RESTART_S))

    def kill(self) -> None:
        """Kill crirm; it is started again."""
        if self.life is not None and not self.life.dead:
            self.restarts += 1
            self.note("crirm is killed")
            self.checks.killed()
            self.life.kill()


async def run(
    scenario: Scenario, play: Callable[[World], Any], clock: clocks.JumpingClock, watched: frozenset[str] | None = None
) -> World:
    """Play *scenario* to its end, and return what there was."""
    with tempfile.TemporaryDirectory(prefix="crirm-sim-", dir="/dev/shm") as place:
        async with trio.open_nursery() as nursery:
            world = World(scenario, nursery, Path(place), watched)
            lives.enter(world)
            clock.loop = world.loop
            nursery.start_soon(world.live)
            nursery.start_soon(world.kubelet.run)
            await play(world)
            world.events += world.loop.called
            world.checks.over = True
            nursery.cancel_scope.cancel()
        clock.loop = None  # calls in threads end before
    return world
