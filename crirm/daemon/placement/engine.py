"""The only place where state changes: events in, decisions out, nothing awaited in between.

Observers report events to the engine, and listeners get its decisions. There is no lock: an event is decided, and the
state replaced, within one synchronous call.
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
    from crirm.model.decision import Adjustment, Decision, State
    from crirm.model.events import Event
    from crirm.model.refusal import RefusedError
    from crirm.model.trail import Move, Trail
    from crirm.model.workload import PodId
    from crirm.policy.activation import Plan
    from crirm.policy.api import Policy

log = get_logger("policy")

TRAILS_KEPT = 4096  # latest, of removed containers; those of existing ones always stay
MOVES_KEPT = 16  # of each container, the latest since it was placed or resized
OTHERS_KEPT = 64  # moves of other containers in each trail: one placement may change every container of the node
REFUSALS_KEPT = 1024  # latest, of containers not placed since
UNCONFIGURED = Choice()
_HEX = re.compile("[0-9a-f]{1,16}")


@attrs.define(eq=False)
class Since:
    """Collects what changes while a reply is awaited; see ``policy.touched``."""

    touched: frozenset[str] = frozenset()


class Engine:
    """State, policy and the trails of decisions.

    Args:
        policy: decides.
        choice: the policy and its options; also what happens to containers without room (``pipeline.step``), and to
            requests when the policy has a bug (``policy.faults``).
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
        self.generation = 1  # of the configuration; increased with every activated one
        self._started = f"{time.time_ns():x}"
        self._numbers = itertools.count(1)

    def new_key(self) -> ContainerKey:
        """Return a unique key for a container; later keys sort after earlier ones."""
        return ContainerKey(f"{self._started}-{next(self._numbers):08}")

    @property
    def now_s(self) -> float:
        """Seconds of wall-clock time, by which is decided."""
        return self._clock()

    def resume(self, state: State, trails: Iterable[Explained]) -> None:
        """Restore the state of an earlier process, before anything is decided."""
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
        """Collect what changes during the block, in which the runtime is asked something."""
        since = Since()
        self._asked.append(since)
        try:
            yield since
        finally:
            self._asked.remove(since)

    def touch(self, ids: Iterable[str]) -> None:
        """Note that pods or containers changed, known or not."""
        for since in self._asked:
            since.touched |= frozenset(ids)

    def _touch(self, before: State) -> None:
        if self._asked:
            self.touch(touched(before.workload, self.state.workload))

    def listen(self, listeners: tuple[Listener, ...]) -> None:
        """Notify *listeners*, and no others, of decisions from now on, in this order; see ``ladder``."""
        self.listeners = listeners

    def follow(self, generations: int) -> None:
        """Continue counting configurations after the *generations* of earlier processes."""
        self.generation += generations

    def free(self, machine: Adjustment) -> None:
        """Give the whole *machine* to containers that are no longer bound, before anything is decided."""
        self.state = freed(self.policy, self.state, machine)

    def refuse(self, pod: PodId, container: str, refusal: RefusedError) -> None:
        """Note a container of *pod* that is refused before any decision."""
        refused = self._keep_refusal(pod, container, refusal)
        for listener in self.listeners:
            listener.turned_away(refused)

    def activate(self, policy: Policy, plan: Plan, choice: Choice | None = None) -> None:
        """Activate *policy*.

        Args:
            policy: created for this machine.
            plan: of the current state under that policy.
            choice: as for the constructor; None: unchanged.
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
        """Decide about *event*, replace the state and notify the listeners."""
        decision = self.decide(event)
        self.take(event, decision)
        return decision

    def decide(self, event: Event) -> Decision:
        """Return the decision about *event*; nothing changes, and no listener is notified.

        After a bug in the policy it is decided again without moves and advice, which a decision can do without. If
        that fails too, a request is refused or passes unchanged, see ``policy.faults``, and nearly every other event
        is ignored; the state stays consistent.
        """
        try:
            return self._step(event)
        except Exception:
            name = self.policy.name
            log.exception("decision failed; this is a bug in crirm", kind=type(event).__name__, policy=name)
        try:
            return self._step(event, bare=True)
        except Exception:  # noqa: BLE001 - it was just logged
            return after_fault(name, self.state, event, self._clock(), fail_open=self.choice.fail_open)

    def _step(self, event: Event, *, bare: bool = False) -> Decision:
        now_s, overflow = self._clock(), self.choice.overflow
        return pipeline.step(self.policy, self.state, event, now_s, overflow=overflow, advises=not bare, moves=not bare)

    def take(self, event: Event, decision: Decision) -> None:
        """Apply what `decide` returned for *event*; nothing may have been decided in between."""
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
        log.warning("refused", container=name, reason=f"{what}{refusal}", code=refusal.code.value)
        before = self.refusals.pop(name, None)
        times = before.times + 1 if before else 1
        why, code = f"{what}{refusal}", refusal.code.value
        fits = tuple(remedy.text for remedy in refusal.remedies)
        refused = Refused(self._clock(), name, pod_name, clipped(container), why, code, times, fits)
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
    """Return *trail* with a bounded number of moves of others; the journal has summaries of all."""
    more = len(trail.moves) - OTHERS_KEPT
    if more <= 0:
        return trail
    return attrs.evolve(trail, moves=trail.moves[:OTHERS_KEPT], notes=(*trail.notes, f"{more} more containers changed"))
