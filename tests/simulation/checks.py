"""What must hold: at every start of a process, at every answer, and at every quiet moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from crirm.daemon.settings import NOTHING
from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.decision import NO_QUOTA, Adjustment
from crirm.model.workload import ContainerId, ContainerState
from crirm.policy.annotations import Keep, keeps
from crirm.rpc.forwarded import LONGEST_S

if TYPE_CHECKING:
    from crirm.daemon.node import DecidingNode
    from crirm.model.decision import State
    from crirm.model.resources import Requirements
    from crirm.model.workload import Container, ContainerKey
    from tests.simulation.life import Life
    from tests.simulation.runtime import Box
    from tests.simulation.world import World

REPAIRED_WITHIN_S = 0.5  # what a runtime has lost between create and start is read back and put right
ANSWERED_WITHIN_S = 5.0  # from the runtime's answer to the caller's
CALM_S = 10.0  # after a disturbance, before updates can be expected to be in order
ENDLESS = b"GetContainerEvents"
FORGOTTEN = "starts, and crirm does not know it"
BELIEF = "what the runtime was told is not what it has"
UNTOLD = "an update that failed is not tried again"
CONTRACT = "what a container keeps was changed"
KEPT_AFTER_S = 75.0  # two quiet moments without a disturbance between them
UNPLACED = "a container of an unknown pod runs on CPUs of another"


@attrs.frozen
class Violation:
    """Something that must not be.

    Args:
        rule: that is broken, in a few words that are always the same.
        at_s: when it was seen.
        what: exactly.
    """

    rule: str
    at_s: float
    what: str

    def __str__(self) -> str:
        return f"{self.rule}, at {self.at_s:.3f} s: {self.what}"


@attrs.frozen
class _Kept:
    """What a container had that keeps something, and what must be the same as long as it has to be that.

    Args:
        adjustment: what it had.
        asked: its requirements, which only others may change.
        policy: another one at the start of crirm places everybody anew.
        lost: whether the disk did not keep the state.
    """

    adjustment: Adjustment
    asked: Requirements
    policy: str
    lost: bool


@attrs.define(eq=False)
class Checks:
    """The checks of one world, and what they have found.

    Args:
        world: that is looked at.
        watched: the rules that count; None: all of them.
    """

    world: World
    watched: frozenset[str] | None = None
    found: list[Violation] = attrs.field(factory=list, init=False)
    quiet_moments: int = attrs.field(default=0, init=False)
    starts: int = attrs.field(default=0, init=False)
    over: bool = attrs.field(default=False, init=False)  # everything is ended, in any order
    state_lost: bool = attrs.field(default=False, init=False)  # the disk did not keep it, so a restart may forget
    _owned: dict[str, CPUSet] = attrs.field(factory=dict, init=False)
    _started_s: dict[str, float] = attrs.field(factory=dict, init=False)
    _answered_s: dict[bytes, float] = attrs.field(factory=dict, init=False)
    _lost_s: dict[bytes, float] = attrs.field(factory=dict, init=False)
    _kept: dict[ContainerKey, _Kept] = attrs.field(factory=dict, init=False)
    _disturbed_s: float = attrs.field(default=0.0, init=False)

    def fail(self, rule: str, what: str) -> None:
        """Take note of a violation."""
        if self.over or (self.watched is not None and rule not in self.watched):
            return
        self.found.append(Violation(rule, trio.current_time(), what))
        self.world.note(f"VIOLATION {rule}: {what}")

    def disturbed(self, for_s: float = 0.0) -> None:
        """Take note that something goes wrong, for some seconds: some rules cannot be kept then."""
        self._disturbed_s = max(self._disturbed_s, trio.current_time() + for_s)

    @property
    def calm_since_s(self) -> float:
        """Seconds since the last disturbance ended."""
        return trio.current_time() - self._disturbed_s

    # --- when a process starts -----------------------------------------------------------------------------------

    def written(self, container: str) -> None:
        """Take note that the kernel has other CPUs for a container."""

    def started(self, box: Box) -> None:
        """Check the start of a process."""
        self.starts += 1
        self._started_s[box.id] = trio.current_time()
        node = self._node()
        if node is None:
            return
        running = {other.id for other in self.world.runtime.running()}
        self._refresh(node, running)
        own = self._owned.get(box.id, NO_CPUS)
        self._check_owners(box, own, running)
        self._check_kept(node)
        if self.calm_since_s > CALM_S:
            if box.id in self._strangers(node) and node.engine.policy.name != NOTHING:
                self.fail(FORGOTTEN, self._name(box.id))
            self._check_belief(node, box)
            self._check_alone(node, box, own)
            self.world.nursery.start_soon(self._check_later, box)

    def _check_belief(self, node: DecidingNode, box: Box) -> None:
        """What crirm takes for told is what the runtime has, when nothing is on its way to it."""
        key = node.intake.key_of(ContainerId(box.id))
        told = node.engine.state.told.get(key) if key else None
        if key is None or told is None or told.cpus is None or key in node.engine.state.resizing:
            return
        if not node.effects.in_flight(key) and str(told.cpus) != box.resources.cpus:
            self.fail(BELIEF, f"{self._name(box.id)} starts with CPUs {box.resources.cpus}, and was told {told.cpus}")

    def _refresh(self, node: DecidingNode, running: set[str]) -> None:
        """Take over what crirm says of owners that it knows; those that it has forgotten keep what they had."""
        exclusive = node.engine.policy.exclusive(node.engine.state.policy)
        known: dict[str, CPUSet] = {
            c.id: exclusive.get(key, NO_CPUS) for key, c in node.engine.state.workload.containers.items() if c.id
        }
        for ident in [ident for ident in self._owned if ident not in running]:
            del self._owned[ident]
        self._owned.update({ident: known[ident] for ident in running if ident in known})

    def _check_owners(self, box: Box, own: CPUSet, running: set[str]) -> None:
        if self.state_lost:
            return
        for ident, cpus in self._owned.items():
            if ident != box.id and ident in running and cpus & own:
                name = self._name(ident)
                self.fail("two owners", f"{self._name(box.id)} starts with CPUs {own}, of which {name} owns {cpus}")

    def _check_alone(self, node: DecidingNode, box: Box, own: CPUSet) -> None:
        now_s = trio.current_time()
        for other in self.world.runtime.running():
            theirs = self.world.host.cpus_of(other.id)
            quick = now_s - self._started_s.get(other.id, 0.0) < REPAIRED_WITHIN_S
            if own and other.id != box.id and theirs & own and not quick and other.id not in self._strangers(node):
                what = (
                    f"{self._name(box.id)} starts on CPUs {own} of its own, and {self._name(other.id)} is on {theirs}"
                )
                self.fail("not exclusive when its owner starts", what)

    def _strangers(self, node: DecidingNode) -> set[str]:
        """Return the running containers that crirm has still to find."""
        known = {one.id for one in node.engine.state.workload.containers.values()}
        return {box.id for box in self.world.runtime.running() if box.id not in known}

    async def _check_later(self, box: Box) -> None:
        """Check that a container is on nobody's CPUs, as soon as what went wrong with its start can be put right."""
        await trio.sleep(REPAIRED_WITHIN_S)
        node = self._node()
        if node is None or self.calm_since_s < CALM_S or box.id not in self.world.host.cgroups:
            return
        cpus, running = self.world.host.cpus_of(box.id), {other.id for other in self.world.runtime.running()}
        for key, own in node.engine.policy.exclusive(node.engine.state.policy).items():
            owner = node.engine.state.workload.containers[key].id
            since_s = trio.current_time() - self._started_s.get(owner or "", trio.current_time())
            if owner in running and owner != box.id and cpus & own and since_s >= REPAIRED_WITHIN_S:
                what = f"{self._name(box.id)} has started on {cpus}, of which {self._name(owner)} owns {own}"
                known = box.id not in self._strangers(node)
                self.fail("starts on CPUs of another" if known else UNPLACED, what)

    def _name(self, ident: str | None) -> str:
        box = self.world.runtime.boxes.get(ident or "")
        if box is None:
            return str(ident)[:12]
        pod = self.world.runtime.pods.get(box.pod)
        return f"{pod.name if pod else box.pod[:12]}/{box.name}#{box.attempt}"

    def _node(self) -> DecidingNode | None:
        life = self.world.life
        return None if life is None or life.dead else life.node

    # --- answers -------------------------------------------------------------------------------------------------

    def answered(self, number: bytes) -> None:
        """Take note that the runtime has answered a call."""
        self._answered_s[number] = trio.current_time()

    def lost(self, number: bytes) -> None:
        """Take note that the runtime will not answer a call: its connection is gone.

        A crirm that was killed cannot tell its callers; they hear of it when its connections close, which is once the
        disk lets go of the process.
        """
        if self.world.life is not None and not self.world.life.dead:
            self._lost_s[number] = trio.current_time()

    def killed(self) -> None:
        """Take note that crirm was killed, with all that it had still to tell."""
        self.disturbed()
        self._lost_s.clear()

    def overdue(self, method: str, number: bytes, begun_s: float) -> None:
        """Check a call that ended by its deadline."""
        lost_s = self._lost_s.get(number)
        if lost_s is not None and lost_s < trio.current_time() - ANSWERED_WITHIN_S:
            self.fail("a lost call goes on", f"{method}: lost at {lost_s:.3f} s, and its caller waited in vain")
        if self._disturbed_s >= begun_s:
            return
        answered_s = self._answered_s.get(number)
        if answered_s is not None and answered_s < trio.current_time() - ANSWERED_WITHIN_S:
            self.fail("an answer is lost", f"{method}: answered at {answered_s:.3f} s, and its caller waited in vain")

    def ungreeted(self, method: str, begun_s: float) -> None:
        """Check a call that ended by its deadline before crirm had greeted its caller."""
        if self._disturbed_s < begun_s:
            self.fail("crirm does not greet", method)

    def forbidden(self, what: str) -> None:
        """Take note of what HTTP/2 forbids."""
        self.fail("HTTP/2 forbids it", what)

    def unwelcome(self) -> None:
        """Take note that crirm listens where that is at the cost of others."""
        self.fail("events are taken from others", f"crirm listens to {self.world.scenario.runtime}")

    def uncreated(self, pod: str, name: str) -> None:
        """Check in a moment that nothing is kept for a container whose creation has failed."""
        self.world.loop.call_later(ANSWERED_WITHIN_S, self._check_uncreated, pod, name)

    def _check_uncreated(self, pod: str, name: str) -> None:
        node, life = self._node(), self.world.life
        if node is None or life is None or life.server is None:
            return
        if self._is_creating():
            return
        for one in node.engine.state.workload.containers.values():
            if (one.pod, one.name, one.state) == (pod, name, ContainerState.CREATING):
                what = f"{node.engine.state.workload.full_name(one.key)} is being created, and no call creates it"
                self.fail("a grant without a container", what)

    def _is_creating(self) -> bool:
        life = self.world.life
        if life is None or life.server is None:
            return False
        calls = [*life.server.calls, *(path for path, _ in life.held.values())]
        return any(path.endswith(b"/CreateContainer") for path in calls)

    # --- quiet moments -------------------------------------------------------------------------------------------

    def quiet(self) -> None:
        """Check what must hold when nothing is going on."""
        self.quiet_moments += 1
        life = self.world.life
        if life is None or life.server is None:
            self.fail("crirm does not serve", "it was started, and the runtime is there")
            return
        if not self.world.kubelet.caller.in_flight:
            self._check_calls(life)
        node = self._node()
        if node is None:
            return
        state = node.engine.state
        by_id: dict[str, Container] = {one.id: one for one in state.workload.containers.values() if one.id}
        if state.policy != node.engine.policy.initial() or state.adjustments or by_id:
            self._check_known(node, by_id)
            self._check_kept(node)
            self._check_grants(state)
            self._check_shared_out(node)

    def _check_calls(self, life: Life) -> None:
        """Check calls of which nobody waits for the answer; those that came without a deadline may take their time."""
        longest_s = 0.0 if self.world.kubelet.caller.tells_deadline else LONGEST_S
        calls = life.server.calls if life.server is not None else []
        stuck = [path.decode() for path in calls if not path.endswith(ENDLESS)]
        stuck += [path.decode() for path, begun_s in life.held.values() if trio.current_time() - begun_s > longest_s]
        if stuck:
            self.fail("calls never end", ", ".join(stuck))

    def _check_known(self, node: DecidingNode, by_id: dict[str, Container]) -> None:
        state = node.engine.state
        for box in self.world.runtime.running():
            known, name = by_id.get(box.id), self._name(box.id)
            if known is None:
                self.fail("running but unknown", name)
            elif known.state is not ContainerState.RUNNING:
                self.fail("running but unknown", f"{name}: crirm says that it is {known.state.value}")
            elif known.key not in state.adjustments and node.engine.policy.name == NOTHING:
                continue
            elif known.key not in state.adjustments:
                self.fail("runs without a grant", name)
            else:
                self._check_values(box, state.adjustments[known.key], failed=known.key in node.effects.failures)

    def _check_values(self, box: Box, wanted: Adjustment, *, failed: bool) -> None:
        name, has = self._name(box.id), box.resources
        rule = UNTOLD if failed else "the runtime has something else"
        if wanted.cpus is not None:
            if gone := wanted.cpus - self.world.host.online:
                self.fail("given what is not there", f"{name}: CPUs {wanted.cpus}, of which {gone} are offline")
            if has.cpus != str(wanted.cpus):
                self.fail(rule, f"{name}: CPUs {has.cpus} instead of {wanted.cpus}")
            cpus = self.world.host.cpus_of(box.id)
            if cpus != wanted.cpus & self.world.host.online:
                self.fail("the kernel has something else", f"{name}: CPUs {cpus} instead of {wanted.cpus}")
        if wanted.cpu_shares is not None and has.shares != wanted.cpu_shares:
            self.fail(rule, f"{name}: shares {has.shares} instead of {wanted.cpu_shares}")
        if wanted.cpu_quota_us is not None and (has.quota or NO_QUOTA) != wanted.cpu_quota_us:
            self.fail(rule, f"{name}: quota {has.quota} instead of {wanted.cpu_quota_us}")

    def _check_kept(self, node: DecidingNode) -> None:
        """Nobody has changed what a container keeps, unless it was resized itself, or hardware has vanished."""
        state, before, self._kept = node.engine.state, self._kept, {}
        for key, has in state.adjustments.items():
            container = state.workload.containers[key]
            kept = keeps(state.workload.pod_of(container), container.name)
            if kept is Keep.NOTHING or key in state.degraded or key in state.resizing:
                continue
            now = _Kept(has, container.requirements, node.engine.policy.name, self.state_lost)
            self._kept[key], had = now, before.get(key, now)
            if self.calm_since_s < KEPT_AFTER_S or attrs.evolve(had, adjustment=has) != now:
                continue
            for what, then, then_now, stays in (
                ("CPUs", had.adjustment.cpus, has.cpus, kept.cpus),
                ("memory nodes", had.adjustment.mems, has.mems, kept.memory),
            ):
                if stays and then != then_now:
                    name = state.workload.full_name(key)
                    self.fail(CONTRACT, f"{name} keeps its {what}, which are {then_now} instead of {then}")

    def _check_grants(self, state: State) -> None:
        alive = {box.id for box in self.world.runtime.boxes.values() if box.state != 2}
        for key in state.adjustments:
            container = state.workload.containers.get(key)
            if container is not None and container.id is None and self._is_creating():
                continue
            if container is None or container.id not in alive:
                what = f"{state.workload.full_name(key)}: {container.state.value if container else 'unknown'}"
                self.fail("a grant without a container", what)
        for key, told in state.told.items():
            if self._is_creating() and state.workload.containers[key].id is None:
                continue  # it is told when it is there
            if told != state.adjustments.get(key, told):
                self.fail("not told", f"{state.workload.full_name(key)}: {told} instead of {state.adjustments[key]}")
        if gone := [pod.name for pod in state.workload.pods.values() if pod.id not in self.world.runtime.pods]:
            self.fail("a pod that is gone", ", ".join(gone))

    def _check_shared_out(self, node: DecidingNode) -> None:
        state = node.engine.state
        for key, own in node.engine.policy.exclusive(state.policy).items():
            owner = state.workload.containers[key].id
            for box in self.world.runtime.running():
                if box.id != owner and (cpus := self.world.host.cpus_of(box.id)) & own:
                    what = f"{state.workload.full_name(key)} owns {own}, and {self._name(box.id)} runs on {cpus}"
                    self.fail("two owners", what)

    def empty(self) -> None:
        """Check that nothing is left when everything is gone."""
        node = self._node()
        if node is None:
            return
        state = node.engine.state
        left: dict[str, list[object]] = {
            "pods": list(state.workload.pods.values()),
            "containers": list(state.workload.containers.values()),
            "adjustments": list(state.adjustments.items()),
            "told": list(state.told.items()),
            "timers": list(state.timers.items()),
            "resizing": list(state.resizing),
            "degraded": list(state.degraded.items()),
        }
        for what, values in left.items():
            if values:
                self.fail("not as at the start", f"{len(values)} {what} are left: {values!r:.300}")
        if state.policy != node.engine.policy.initial():
            self.fail("not as at the start", f"the policy keeps {state.policy!r:.300}")
