"""A trace sent through the pipeline again.

On the machine and with the configuration of the trace, every event leads to the recorded decision. Elsewhere
decisions differ, so later events of the trace may be impossible:

* Containers of the start are placed again, the ones that are hardest to place first.
* Topology hints, and the CPUs on which a container was found, name CPUs and nodes of the recorded machine; another one
  ignores them.
* A container that is refused here does not exist later, even if the recorded lists have it.
* A container that was refused then and fits here holds its grant until it is requested again, or its pod ends.
* Timers expire as they are started here, not as recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from crirm.model.cpuset import NO_CPUS
from crirm.model.decision import Adjustment, Before, Decision, State
from crirm.model.events import ContainerRequested, Event, Synchronised, Timer, TimerExpired
from crirm.model.topology import Topology
from crirm.model.workload import Container, ContainerKey, Workload
from crirm.policy import pipeline
from crirm.policy.activation import Plan, plan
from crirm.policy.api import Choice, Policy
from crirm.policy.faults import after_fault
from crirm.policy.readjust import plan_requirements
from crirm.policy.registry import complete, make_policy
from crirm.policy.restore import Saved, revive
from crirm.replay.decisions import digest
from crirm.replay.records import Start, Unfinished
from crirm.replay.trace import Header, Reconfigured, Recorded

OUTSIDE: Final = "an override changed its resources"


@attrs.frozen
class Step:
    """One event and the decision about it.

    Args:
        line: of the trace; 1 for the start, 0 for what only the replay has brought about.
        at_s: seconds of wall-clock time.
        event: what happened; None for the start.
        before: the state before it.
        decision: about it.
        policy: that decided.
        squeezed: containers that run without the room that they ask for, or without a grant, and why.
        fault: what the policy met with, which is a bug in crirm; empty where all is well.
        as_made: whether the decision is what the trace says it was; None where it says nothing.
        was_refused: whether the event's request was refused then.
    """

    line: int
    at_s: float
    event: Event | Reconfigured | None
    before: State
    decision: Decision
    policy: Policy
    squeezed: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    fault: str = ""
    as_made: bool | None = None
    was_refused: bool = False


class Replay:
    """One trace on one machine under one configuration.

    Args:
        header: of the trace.
        topology: the machine; None for that of the trace.
        choice: the policy and how it is set up; None for those of the trace, and what becomes of them in it.

    Raises:
        CrirmError: machine and policy do not fit together.
    """

    def __init__(self, header: Header, topology: Topology | None = None, choice: Choice | None = None) -> None:
        self.header = header
        self.topology = topology or header.topology
        self.choice = complete(choice or header.choice)
        self.same_machine = self.topology == header.topology
        self.same_choice = self.choice == complete(header.choice)
        self.exact = self.same_machine and self.same_choice
        self.policy = make_policy(self.choice, self.topology)
        self.hints_left_out = 0
        self.changes_left_out = 0
        self._refused: set[ContainerKey] = set()
        self._follows = choice is None
        self._exact_still = self.exact
        self._earlier: Choice | None = None
        self._begin = self._begun() if self.exact else self._revived()
        self.state = self._begin.decision.state

    def steps(self, entries: Iterable[Recorded]) -> Iterator[Step]:
        """Yield the start, and then what happens."""
        yield self._begin
        for entry in entries:
            if not self._exact_still:
                yield from self._expired(entry.at_s)
            step = self._step(entry)
            if step is not None:
                yield self._taken(step)

    def _taken(self, step: Step) -> Step:
        self.state = step.decision.state
        return step

    # --- the start -----------------------------------------------------------------------------------------------

    def _begun(self) -> Step:
        """Return the start with everything as it was."""
        state, dropped = _resumed(self.policy, self.header.start)
        return self._start(state, dropped)

    def _revived(self) -> Step:
        """Return the start with everything placed anew."""
        workload = self.header.start.workload
        containers = {key: self._moved_here(one) for key, one in workload.containers.items()}
        revived = revive(self.policy, Saved(Workload(workload.pods, containers)))
        state = attrs.evolve(revived.state, unsure=self.header.start.unsure)
        step = self._start(state, {**revived.squeezed, **revived.lost})
        return attrs.evolve(step, decision=attrs.evolve(step.decision, trails=revived.trails))

    def _start(self, state: State, squeezed: Mapping[ContainerKey, str]) -> Step:
        empty = pipeline.initial(self.policy)
        return Step(1, self.header.at_s, None, empty, Decision(state), self.policy, squeezed)

    # --- and everything after ------------------------------------------------------------------------------------

    def _expired(self, until_s: float) -> Iterator[Step]:
        """Yield the timers that run out by then; one that is started anew meanwhile waits for the next event."""
        timers = self.state.timers.items()
        for at_s, key, name in sorted((at_s, key, timer.name) for (key, timer), at_s in timers if at_s <= until_s):
            yield self._taken(self._decided(Recorded(0, at_s, TimerExpired(key, Timer[name]))))

    def _step(self, entry: Recorded) -> Step | None:
        match entry.event:
            case Reconfigured():
                return self._reconfigured(entry, entry.event)
            case TimerExpired() if not self._exact_still:
                return None
            case ContainerRequested(container) if not self._exact_still:
                entry = attrs.evolve(entry, event=ContainerRequested(self._moved_here(container)))
            case Synchronised() if not self._exact_still:
                entry = attrs.evolve(entry, event=self._possible(entry.event))
        return self._decided(entry)

    def _decided(self, entry: Recorded) -> Step:
        assert not isinstance(entry.event, Reconfigured)  # noqa: S101 - for the type checker
        state, overflow = self.state, self.choice.overflow
        try:
            decision, fault = pipeline.step(self.policy, state, entry.event, entry.at_s, overflow=overflow), ""
        except Exception as error:  # noqa: BLE001 - as in the engine: a bug never stops the node
            fault, open_ = f"{type(error).__name__}: {error}", self.choice.fail_open
            decision = after_fault(self.policy.name, state, entry.event, entry.at_s, fail_open=open_)
        if isinstance(entry.event, ContainerRequested) and decision.refusal is not None:
            self._refused.add(entry.event.container.key)
        as_made = digest(decision) == entry.decided if self._exact_still and entry.decided else None
        step = Step(entry.line, entry.at_s, entry.event, state, decision, self.policy, fault=fault, as_made=as_made)
        return attrs.evolve(step, was_refused=bool(entry.refused))

    def _reconfigured(self, entry: Recorded, change: Reconfigured) -> Step | None:
        """Take over another configuration as the daemon does, unless this replay has one of its own."""
        if not self._follows:
            self.changes_left_out += 1
            self._exact_still = False
            return None
        way_back = complete(change.choice) == self._earlier
        self._earlier, state = self.choice, self.state
        found = self._planned(change)
        decision, as_made = Decision(found.state, effects=found.effects, trails=found.trails), None
        if self._exact_still:
            if not way_back:  # which goes by what was decided before
                as_made = digest(decision) == entry.decided
            decision = attrs.evolve(decision, state=_resumed(self.policy, change.start)[0])
        return Step(entry.line, entry.at_s, change, state, decision, self.policy, found.unfit, as_made=as_made)

    def _planned(self, change: Reconfigured) -> Plan:
        """Return what the change leads to here."""
        choice = complete(change.choice)
        if choice == self.choice:
            known, after = self.state.workload.containers, change.start.workload.containers
            wanted = {
                key: one.requirements
                for key, one in after.items()
                if one.state in pipeline.HOLDING and key in known and known[key].requirements != one.requirements
            }
            return plan_requirements(self.policy, self.state, wanted, OUTSIDE, self.header.at_s)
        old, self.policy, self.choice = self.policy, make_policy(choice, self.topology), choice
        grants = old.save(self.state.policy) if old.name == self.policy.name else {}
        machine = Adjustment(cpus=self.topology.online, mems=self.topology.node_ids)
        return plan(self.policy, grants, self.state, machine)

    def _possible(self, listed: Synchronised) -> Synchronised:
        """Return what the runtime could list here."""
        there = (one for one in listed.containers if one.key not in self._refused)
        return attrs.evolve(listed, containers=tuple(self._moved_here(one) for one in there))

    def _moved_here(self, container: Container) -> Container:
        if self.same_machine or not (container.hints or container.found_on):
            return container
        self.hints_left_out += bool(container.hints)
        return attrs.evolve(container, hints=(), found_on=NO_CPUS)


def _resumed(policy: Policy, start: Start) -> tuple[State, Mapping[ContainerKey, str]]:
    """Return the state that *start* stands for, and the grants that do not fit, which is as it should not be."""
    restored = policy.restore(start.grants, start.workload)
    state = State(
        workload=start.workload,
        policy=restored.state,
        adjustments=start.adjustments,
        told=start.told,
        timers=start.timers,
        resizing={key: _unfinished(policy, one, start) for key, one in start.resizing.items()},
        degraded=start.degraded,
        tries=start.tries,
        moved=start.moved,
        unsure=start.unsure,
    )
    return state, {**restored.dropped, **restored.weakened}


def _unfinished(policy: Policy, one: Unfinished, start: Start) -> Before:
    before, after = object(), object()  # equal to nothing
    if one.before is not None and one.after is not None:
        before = policy.restore(one.before, start.workload).state
        after = policy.restore(one.after, start.workload).state
    return Before(one.container, before, one.adjustments, after)
