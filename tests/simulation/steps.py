"""What steps do: one method for each kind."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from crirm.cri.message import MalformedError
from crirm.model.cpuset import CPUSet
from crirm.rpc.grpc_wire import RpcError
from tests.simulation import clocks, messages
from tests.simulation.pods import PodSpec
from tests.simulation.port import Mishap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulation.caller import Caller
    from tests.simulation.scenario import Step
    from tests.simulation.world import World

_CONFIG = "policy:\n  Active: {}\n  AllowLiveSwitch: true\n  ReservedResources: {{CPU: 'cpuset:0'}}\n"
CONFIGS = {
    "static": _CONFIG.format("static"),
    "topology-aware": _CONFIG.format("topology-aware"),
    "topology-aware-shared": _CONFIG.format("topology-aware") + "  topology-aware: {PreferSharedCPUs: true}\n",
    "topology-aware-caches": _CONFIG.format("topology-aware") + "  topology-aware: {CachePools: true}\n",
    "static-kubelet": _CONFIG.format("static")
    + "  static: {CPUManagerPolicyOptions: {distribute-cpus-across-numa: true, strict-cpu-reservation: true}}\n",
    "none": "policy:\n  Active: none\n  AllowLiveSwitch: true\n",
}
AGAIN_S = 2.0
CRICTL = "crictl"  # the namespace of pods that are not the kubelet's


@attrs.frozen
class Steps:
    """Does steps in a world."""

    world: World

    def do(self, step: Step) -> None:
        """Do *step*; what takes time goes on by itself."""
        self.world.events += 1
        self.world.note(f"step {step.kind} {dict(step.args)}")
        getattr(self, step.kind)(**step.args)

    # --- what users do -------------------------------------------------------------------------------------------

    def pod(self, **args: Any) -> None:
        """Run a pod."""
        self.world.kubelet.run_pod(PodSpec.of(args))

    def delete(self, name: str) -> None:
        """Delete a pod."""
        self.world.kubelet.delete(name)

    def resize(self, pod: str, container: str, millicpu: int) -> None:
        """Resize a container in place."""
        self.world.kubelet.resize(pod, container, millicpu)

    def second_sandbox(self, pod: str, for_s: float) -> None:
        """Run another sandbox with the UID of a pod, as somebody with crictl may, and remove it after a while."""
        self.world.nursery.start_soon(self._second_sandbox, pod, for_s)

    async def _second_sandbox(self, pod: str, for_s: float) -> None:
        caller = self.world.caller()
        with suppress(RpcError, MalformedError):  # the runtime may have made it all the same
            parent, nothing = f"/kubepods/pod{pod}", messages.Resources()
            request = messages.run_pod(f"{pod}-again", pod, CRICTL, 0, {}, parent, nothing)
            await caller.call("RunPodSandbox", request)
        await trio.sleep(for_s)
        for ident in [one.id for one in self.world.runtime.pods.values() if (one.uid, one.namespace) == (pod, CRICTL)]:
            await self._until_done(caller, "StopPodSandbox", ident)
            await self._until_done(caller, "RemovePodSandbox", ident)

    async def _until_done(self, caller: Caller, method: str, ident: str) -> None:
        while True:
            with suppress(RpcError):
                await caller.call(method, messages.by_id(ident))
                return
            await trio.sleep(AGAIN_S)

    def configure(self, config: str) -> None:
        """Take another configuration into use."""
        life = self.world.life
        if life is None or life.dead or life.daemon is None or life.daemon.configurations is None:
            return
        self.world.checks.disturbed(30.0)
        life.nursery.start_soon(life.daemon.configurations.activate, config, CONFIGS[config])

    def adjust(self, document: Mapping[str, Any]) -> None:
        """Send adjustments."""
        life = self.world.life
        if life is None or life.dead or life.daemon is None or life.daemon.configurations is None:
            return
        self.world.checks.disturbed(10.0)
        life.nursery.start_soon(life.daemon.configurations.set_adjustment, "node", document)

    def subscribe(self, for_s: float) -> None:
        """Let somebody else listen to events, through crirm."""
        self.world.nursery.start_soon(self._subscribe, for_s)

    async def _subscribe(self, for_s: float) -> None:
        with trio.move_on_after(for_s):
            await self.world.caller().listen(lambda _event: None)

    # --- what goes wrong -----------------------------------------------------------------------------------------

    def mishap(self, method: str, what: str, delay_s: float = 0.0) -> None:
        """Let the next call of a method go wrong."""
        self.world.mishaps.append(Mishap(method, what, delay_s))

    def kill(self) -> None:
        """Kill crirm."""
        self.world.kill()

    def drop(self) -> None:
        """Let the runtime end its connections."""
        self.world.drop_connections()

    def cut(self, whose: str, which: int, reset: bool) -> None:
        """End one connection; see ``World.cut``."""
        self.world.cut(whose, which, reset=reset)

    def half_frames(self, for_s: float) -> None:
        """Let what is written arrive in two pieces."""
        self.world.halves_until_s = max(self.world.halves_until_s, trio.current_time() + for_s)

    def restart_runtime(self, down_s: float) -> None:
        """Restart the runtime; containers go on."""
        self.world.restart_runtime(down_s)

    def slow_lists(self, by_s: float, for_s: float) -> None:
        """Let lists take long."""
        self._for(for_s, "lists_take_s", value=by_s, after=0.0)

    def slow_updates(self, by_s: float, for_s: float) -> None:
        """Let updates take long."""
        self.world.checks.disturbed(for_s + by_s)
        self._for(for_s, "updates_take_s", value=by_s, after=0.0)

    def failing_updates(self, for_s: float) -> None:
        """Let updates fail."""
        self.world.checks.disturbed(for_s + 30.0)
        self._for(for_s, "updates_fail", value=True, after=False)

    def lose_events(self, for_s: float) -> None:
        """Let events be lost."""
        self._for(for_s, "events_lost", value=True, after=False)

    def full_disk(self, for_s: float) -> None:
        """Let the disk be full."""
        self.world.disk.full = self.world.checks.state_lost = True
        self._later(for_s, self._disk_has_room)

    def _disk_has_room(self) -> None:
        self.world.disk.full = False

    def hanging_disk(self, for_s: float) -> None:
        """Let writes hang."""
        self.world.checks.state_lost = True
        self.world.disk_hangs_until_s = trio.current_time() + for_s

    def clock(self, by_s: float) -> None:
        """Set the wall clock."""
        clocks.set_wall_clock(by_s)

    def drift(self, which: int, cpus: str) -> None:
        """Write other CPUs into the cgroup of a container that runs."""
        running = sorted(box.id for box in self.world.runtime.running())
        if running:
            self.world.checks.disturbed(40.0)
            self.world.host.cgroups[running[which % len(running)]].cpus = CPUSet.parse(cpus)

    def offline(self, cpu: int, for_s: float) -> None:
        """Take a CPU offline, and bring it back."""
        self.world.host.online -= CPUSet([cpu])
        self.world.checks.disturbed(40.0)
        self._later(for_s, partial(self._online, cpu))

    def _online(self, cpu: int) -> None:
        self.world.host.online |= CPUSet([cpu])
        self.world.checks.disturbed(40.0)

    # --- both ----------------------------------------------------------------------------------------------------

    def _for(self, for_s: float, name: str, *, value: Any, after: Any) -> None:
        setattr(self.world.runtime, name, value)
        self._later(for_s, partial(setattr, self.world.runtime, name, after))

    def _later(self, delay_s: float, then: Any) -> None:
        self.world.loop.call_later(delay_s, then)

    def check(self) -> None:
        """A quiet moment is waited for; see ``play``."""
