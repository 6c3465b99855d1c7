"""The one place where the state changes: events in, decisions out, nothing awaited in between.

Everybody who learns something tells the engine; everybody who must do something is told by it. That is also why there
is no lock: an event is decided, and the state replaced, within one synchronous call.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import OrderedDict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from crirm.daemon.placement.explained import Explained, Moved, Refused
from crirm.errors import clipped
from crirm.logs import get_logger
from crirm.model.events import ContainerRequested, ResizeRequested
from crirm.model.workload import ContainerKey
from crirm.policy import pipeline
from crirm.policy.activation import freed
from crirm.policy.api import Choice
from crirm.policy.faults import after_fault
from crirm.policy.states import moves_of
from crirm.policy.touched import named, touched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from crirm.daemon.placement.ladder import Listener
    from crirm.model.decision import Adjustment, Decision, RefusedError, State
    from crirm.model.events import Event
    from crirm.model.trail import Move, Trail
    from crirm.model.workload import PodId
    from crirm.policy.activation import Plan
    from crirm.policy.api import Policy

log = get_logger("policy")

TRAILS_KEPT = 4096  # of containers that are gone, the latest; those of the living are always kept
MOVES_KEPT = 16  # of each container, the latest since it was placed or resized
OTHERS_KEPT = 64  # moves of other containers in each trail: one placement may touch every container of the node
REFUSALS_KEPT = 1024  # of containers that were not placed since, the latest
UNCONFIGURED = Choice()
_HEX = re.compile("[0-9a-f]{1,16}")


@attrs.define(eq=False)
class Since:
    """Collects what changes while somebody waits for an answer; see ``policy.touched``."""

    touched: frozenset[str] = frozenset()


class Engine:
    """State, policy and the trails of decisions.

    Args:
        policy: decides.
        choice: which policy that is and how it is set up; says too what becomes of containers without room
            (``pipeline.step``), and of requests when the policy has a bug (``policy.faults``).
        clock: wall-clock seconds.
    """

    def __init__(
        self,
        policy: Policy,
        choice: Choice = UNCONFIGURED,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy
        self.choice = choice
        self.state: State = pipeline.initial(policy)
        self.trails: OrderedDict[ContainerKey, Explained] = OrderedDict()
        self.moves: dict[ContainerKey, deque[Moved]] = {}
        self.refusals: OrderedDict[str, Refused] = OrderedDict()
        self._clock = clock
        self.listeners: tuple[Listener, ...] = ()
        self._asked: list[Since] = []
        self.generation = 1  # of the configuration; each that is taken into use is one more
        self._started = f"{time.time_ns():x}"
        self._numbers = itertools.count(1)

    def new_key(self) -> ContainerKey:
        """Return a name for a container that no other was ever given; later ones sort after earlier ones."""
        return ContainerKey(f"{self._started}-{next(self._numbers):08}")

    def resume(self, state: State, trails: Iterable[Explained]) -> None:
        """Take over what an earlier process has left; nothing may have been decided yet."""
        self.state = state
        for entry in sorted(trails, key=lambda entry: entry.at_s):
            self.trails[entry.trail.key] = entry
            self.moves.pop(entry.trail.key, None)
            self._keep_moves(entry.at_s, entry.trail.moves)
        used = [key.partition("-")[0] for key in (*state.workload.containers, *self.trails) if "-" in key]
        latest = max((int(name, 16) for name in used if _HEX.fullmatch(name)), default=0)
        if int(self._started, 16) <= latest:  # the clock was set back
            self._started = f"{latest + 1:x}"

    @contextmanager
    def since_asked(self) -> Iterator[Since]:
        """Tell what has changed since the beginning of the block, in which the runtime is asked for something."""
        since = Since()
        self._asked.append(since)
        try:
            yield since
        finally:
            self._asked.remove(since)

    def touch(self, ids: Iterable[str]) -> None:
        """Take note of pods or containers to which something has happened, whether they are known or not."""
        for since in self._asked:
            since.touched |= frozenset(ids)

    def _touch(self, before: State) -> None:
        if self._asked:
            self.touch(touched(before.workload, self.state.workload))

    def listen(self, listeners: tuple[Listener, ...]) -> None:
        """Have *listeners* hear of decisions from now on, one after the other, and nobody else; see ``ladder``."""
        self.listeners = listeners

    def follow(self, generations: int) -> None:
        """Go on counting configurations after the *generations* of earlier processes."""
        self.generation += generations

    def free(self, machine: Adjustment) -> None:
        """Have those who were bound once and are not any more get the whole *machine*; before anything is decided."""
        self.state = freed(self.policy, self.state, machine)

    def refuse(self, pod: PodId, container: str, refusal: RefusedError) -> None:
        """Take note of a container of *pod* that is refused before anything can be decided about it."""
        refused = self._keep_refusal(pod, container, refusal)
        for listener in self.listeners:
            listener.turned_away(refused)

    def activate(self, policy: Policy, plan: Plan, choice: Choice | None = None) -> None:
        """Let *policy* decide from now on.

        Args:
            policy: made for this machine.
            plan: of this very state under that policy.
            choice: as for the constructor; None: it stays.
        """
        before, self.state = self.state, plan.state
        self._touch(before)
        self.policy, self.choice = policy, choice or self.choice
        self.generation += not plan.machine
        at_s = self._clock()
        for trail in plan.trails:
            self._keep(at_s, trail)
        for key in plan.changes.keys() - {trail.key for trail in plan.trails}:
            change = plan.changes[key]
            self._keep_moves(at_s, moves_of(key, change.before, change.after, change.why))
        if not plan.machine:
            log.info("new configuration is active", policy=policy.name, containers_changed=len(plan.changes))
        for listener in self.listeners:
            listener.activated(before, plan)

    def apply(self, event: Event) -> Decision:
        """Decide about *event*, take over the new state and hand out the effects."""
        decision = self.decide(event)
        self.take(event, decision)
        return decision

    def decide(self, event: Event) -> Decision:
        """Return what would be decided about *event* now; nothing changes, and nobody hears of it.

        A bug in the policy refuses a request or lets it pass as it is, see ``policy.faults``, and ignores nearly every
        other event; the state stays whole.
        """
        try:
            return pipeline.step(self.policy, self.state, event, self._clock(), overflow=self.choice.overflow)
        except Exception:
            name = self.policy.name
            log.exception("decision failed; this is a bug in crirm", kind=type(event).__name__, policy=name)
            return after_fault(name, self.state, event, self._clock(), fail_open=self.choice.fail_open)

    def take(self, event: Event, decision: Decision) -> None:
        """Take over what `decide` has returned for *event*; nothing may have been decided in between."""
        before, self.state = self.state, decision.state
        self._touch(before)
        self.touch(named(event))
        self._note(event, before, decision)
        for listener in self.listeners:
            listener.decided(event, before, decision)

    def _note(self, event: Event, before: State, decision: Decision) -> None:
        at_s = self._clock()
        for key in sorted(decision.state.degraded.keys() - before.degraded.keys()):
            name, why = decision.state.workload.full_name(key), decision.state.degraded[key]
            log.error("container runs without the assignment it should have", container=name, reason=why)
        for trail in decision.trails:
            self._keep(at_s, trail)
        self._keep_moves(at_s, decision.moves)
        if decision.refusal is not None:
            self._note_refusal(event, decision.refusal)
        elif log.debug_on:
            log.debug("decided", kind=type(event).__name__, effects=len(decision.effects))

    def _note_refusal(self, event: Event, refusal: RefusedError) -> None:
        match event:
            case ContainerRequested(container):
                self._keep_refusal(container.pod, container.name, refusal)
            case ResizeRequested(key) if key in self.state.workload.containers:
                resized = self.state.workload.containers[key]
                self._keep_refusal(resized.pod, resized.name, refusal, "resize: ")
            case _:
                log.warning("refused", kind=type(event).__name__, reason=str(refusal))

    def _keep_refusal(self, pod_id: PodId, container: str, refusal: RefusedError, what: str = "") -> Refused:
        pod = self.state.workload.pods.get(pod_id)
        pod_name = f"{clipped(pod.namespace)}/{clipped(pod.name)}" if pod else clipped(pod_id)
        name = f"{pod_name}/{clipped(container)}"
        log.warning("refused", container=name, reason=f"{what}{refusal}")
        before = self.refusals.pop(name, None)
        times = before.times + 1 if before else 1
        refused = Refused(self._clock(), name, pod_name, clipped(container), f"{what}{refusal}", times)
        self.refusals[name] = refused
        if len(self.refusals) > REFUSALS_KEPT:
            self.refusals.popitem(last=False)
        return refused

    def _keep_moves(self, at_s: float, moves: Iterable[Move]) -> None:
        for move in moves:
            if move.key in self.trails:
                self.moves.setdefault(move.key, deque(maxlen=MOVES_KEPT)).append(Moved(at_s, move))

    def _keep(self, at_s: float, trail: Trail) -> None:
        name = self.state.workload.full_name(trail.key)
        self.refusals.pop(name, None)
        log.info("placed", container=name, pool=trail.chosen, granted=trail.granted, others=len(trail.moves))
        trail = _bounded(trail)
        self.trails[trail.key] = Explained(at_s, name, trail)
        self.trails.move_to_end(trail.key)
        self.moves.pop(trail.key, None)
        for key in list(itertools.islice(self.trails, max(0, len(self.trails) - TRAILS_KEPT))):
            if key not in self.state.workload.containers:
                del self.trails[key]
                self.moves.pop(key, None)


def _bounded(trail: Trail) -> Trail:
    """Return *trail* with no more moves of others than anybody reads; the journal has sums of them all."""
    more = len(trail.moves) - OTHERS_KEPT
    if more <= 0:
        return trail
    return attrs.evolve(trail, moves=trail.moves[:OTHERS_KEPT], notes=(*trail.notes, f"{more} more containers changed"))
