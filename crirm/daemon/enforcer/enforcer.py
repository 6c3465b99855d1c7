"""The cgroup enforcer: keeps each container's cgroup equal to the decision.

Every container has a time of its next look: soon after the runtime has reported a change, soon after a glance has shown
that its files changed, and otherwise once a round. A difference counts as drift only if it persists for a while against
the same decision: until then a call may be in flight; and while one is known to be, nothing is compared. Drift is
reported, and repaired in the container's cgroup. Components with a record of their own (containerd's specification,
systemd's unit) would restore the wrong value some day, so the runtime can be sent the update again as well.

Recurring drift is caused by another writer, and fighting it does not help: it is reported as such once, and the pauses
between repairs grow. A vanished cgroup is the normal end of a container, not an error.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import TYPE_CHECKING, Final, assert_never

import attrs
import trio

from crirm.daemon.enforcer.drift import Difference, Drift, Value, Wanted, differences, formula_in_use, wanted_of
from crirm.daemon.enforcer.turns import Turns
from crirm.daemon.placement.ladder import Listener
from crirm.daemon.relay.link import doubling
from crirm.daemon.settings import Mode
from crirm.logs import get_logger
from crirm.model.decision import State, UpdateContainer
from crirm.model.events import ContainerStarted, ResizeDone, Synchronised, UpdateFailed
from crirm.system.cgroup import Reading, Write
from crirm.system.cgroup_cpu import WeightFormula
from crirm.system.cgroup_files import CgroupError, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from crirm.daemon.enforcer.kernel import Kernel
    from crirm.model.cpuset import CPUSet
    from crirm.model.decision import Decision
    from crirm.model.events import Event
    from crirm.model.workload import ContainerKey

log = get_logger("enforcer")

_BATCH: Final = 64  # containers per read; a requested look waits for no more than these
_PARTS: Final = 3  # a third of the containers at each glance
_KEEPS_DRIFTING: Final = 3  # drifts of one container that mean another writer
_NOTHING_FOUND: Final = 5  # unsuccessful looks, and no successful one, that mean we look in the wrong place


@attrs.frozen
class Pace:
    """The enforcer's intervals, in seconds.

    Args:
        round_s: in which every container is looked at regardless of glances; a look takes 200 us, a glance 10.
        glance_s: in which a change is noticed; with *soon_s* and *settle_s* less than 5 in total.
        beat_s: minimum between two batches of routine looks, so that the machine can sleep.
        soon_s: from a request for a look to the look; requests within it are batched.
        settle_s: how long a difference must persist to count as drift.
        first_pause_s: between the first repair and the next one of the same container; doubled every time.
        last_pause_s: maximum of that pause.
        forget_s: without drift, until a container's history is dropped.
    """

    round_s: float = 120.0
    glance_s: float = 3.0
    beat_s: float = 1.0
    soon_s: float = 0.1
    settle_s: float = 1.0
    first_pause_s: float = 5.0
    last_pause_s: float = 600.0
    forget_s: float = 1800.0


@attrs.define
class _Case:
    """The history of a container with present or past drift."""

    since_s: float
    pauses: Iterator[float]
    suspected: Wanted | None = None
    confirm_at_s: float = 0.0
    differences: tuple[Difference, ...] = ()
    present: bool = False
    count: int = 0
    repairs: int = 0
    repair_from_s: float = -math.inf
    trouble: str = ""
    quiet_from_s: float = 0.0

    def drift(self) -> Drift:
        return Drift(self.differences, self.present, self.count, self.repairs, self.since_s, self.trouble)


@attrs.define(eq=False)
class Enforcer(Listener):
    """The task and its findings.

    Args:
        state: returns the current state.
        kernel: the host's cgroups.
        tell: sends the runtime a container's update again; None where nothing has a record of its own.
        in_flight: whether an update of a container is in flight; it is then not compared.
        mode: may be changed while it runs.
        pace: its intervals.
        wall_clock: seconds since the epoch, for reports.
        agreed: called for each container that has the decided CPUs in the kernel.
    """

    state: Callable[[], State]
    kernel: Kernel
    tell: Callable[[UpdateContainer], None] | None = None
    in_flight: Callable[[ContainerKey], bool] = lambda _: False
    mode: Mode = Mode.REPAIR
    pace: Pace = attrs.field(factory=Pace)
    wall_clock: Callable[[], float] = time.time
    agreed: Callable[[ContainerKey, CPUSet | None], None] = lambda _key, _cpus: None
    _turns: Turns = attrs.field(
        default=attrs.Factory(lambda self: Turns(self.pace.round_s, self.pace.beat_s), takes_self=True), init=False
    )
    _cases: dict[ContainerKey, _Case] = attrs.field(factory=dict, init=False)
    _urgent: set[ContainerKey] = attrs.field(factory=set, init=False)
    _repairing: set[ContainerKey] = attrs.field(factory=set, init=False)
    _formula: WeightFormula = attrs.field(default=WeightFormula.QUADRATIC, init=False)
    _found_any: bool = attrs.field(default=False, init=False)
    _looks_in_vain: int = attrs.field(default=0, init=False)
    _complaints: set[tuple[Trouble, str]] = attrs.field(factory=set, init=False)

    def decided(self, event: Event, before: State, decision: Decision) -> None:  # noqa: ARG002 - the interface
        """Look soon at containers that the runtime has changed or reported."""
        match event:
            case ContainerStarted(key) | ResizeDone(key):
                self.look_at(key)
            case UpdateFailed(key):
                self.look_at(key, at_once=True)
            case Synchronised():
                for key in self.state().adjustments:
                    self.look_at(key)
            case _:
                pass

    @property
    def drift(self) -> Mapping[ContainerKey, Drift]:
        """Every container with drift, present or past."""
        known = self.state().adjustments
        return {key: case.drift() for key, case in self._cases.items() if case.count and key in known}

    def look_at(self, key: ContainerKey, *, at_once: bool = False) -> None:
        """Compare container *key* soon, since the runtime has created, started or updated it.

        *at_once* is for one that has just started, or on which others wait: a difference counts without a second look.
        """
        if at_once:
            self._urgent.add(key)
        self._turns.ask(key, trio.current_time() + (0.0 if at_once else self.pace.soon_s))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Compare, report and repair until cancelled."""
        async with trio.open_nursery() as repairs:
            repairs.start_soon(self._glance)
            task_status.started()
            while True:
                known = self.state().adjustments.keys()
                for key in self._cases.keys() - known:
                    del self._cases[key]
                self._urgent &= known
                self._turns.share_out(known)
                if keys := self._turns.take(_BATCH):
                    await self._look(keys, repairs)
                else:
                    await self._turns.wait()

    async def _glance(self) -> None:
        """Schedule looks at changed containers, a part of them at a time, until cancelled."""
        for part in itertools.cycle(range(_PARTS)):
            await trio.sleep(self.pace.glance_s / _PARTS)
            if self.mode is Mode.OFF:
                continue
            if changed := set(await self.kernel.changed(part, _PARTS)):
                for container in self.state().workload.containers.values():
                    if container.id in changed:
                        self.look_at(container.key)

    # --- what is found -------------------------------------------------------------------------------------------

    async def _look(self, keys: list[ContainerKey], repairs: trio.Nursery) -> None:
        wanted = {key: want for key in keys if (want := self._wanted(key)) and key not in self._repairing}
        if self.mode is Mode.OFF:
            self._cases.clear()
        if self.mode is Mode.OFF or not wanted:
            return
        found = await self.kernel.read([want.place for want in wanted.values()])
        self._note_whether_found(wanted.values(), found)
        for (key, want), reading in zip(wanted.items(), found, strict=True):
            self._judge(key, want, reading, repairs)

    def _wanted(self, key: ContainerKey) -> Wanted | None:
        return None if self.in_flight(key) else wanted_of(self.state(), key)

    def _judge(
        self, key: ContainerKey, want: Wanted, reading: Reading | CgroupError | None, repairs: trio.Nursery
    ) -> None:
        if self._wanted(key) != want:
            self.look_at(key)  # a new decision was made while we looked
            return
        match reading:
            case None:
                self._cases.pop(key, None)
            case CgroupError():
                self._complain(reading)
            case Reading():
                self._formula = formula_in_use(want, reading) or self._formula
                found = differences(want, reading)
                if reading.cpus is not None and all(each.value is not Value.CPUS for each in found):
                    self.agreed(key, want.cpus)
                if reading.follows is False and want.mems and self.mode is Mode.REPAIR:
                    repairs.start_soon(self._have_follow, want)
                self._compare(key, want, found, repairs)
            case _:
                assert_never(reading)

    def _compare(self, key: ContainerKey, want: Wanted, found: tuple[Difference, ...], repairs: trio.Nursery) -> None:
        now_s, case = trio.current_time(), self._cases.get(key)
        urgent = key in self._urgent
        self._urgent.discard(key)
        if not found:
            if case is not None:
                self._keep_quiet(key, case, now_s)
            return
        if case is None:
            pauses = doubling(self.pace.first_pause_s, self.pace.last_pause_s)
            case = self._cases[key] = _Case(self.wall_clock(), pauses)
        if case.suspected != want:
            case.suspected, case.confirm_at_s = want, now_s + self.pace.settle_s
        if urgent:
            case.confirm_at_s = now_s
        if now_s < case.confirm_at_s:
            self._turns.ask(key, case.confirm_at_s)
            return
        self._confirm(key, case, found)
        if self.mode is not Mode.REPAIR:
            return
        if now_s < case.repair_from_s:
            self._turns.ask(key, case.repair_from_s)
            return
        self._repairing.add(key)
        repairs.start_soon(self._repair, key, want, case)

    def _confirm(self, key: ContainerKey, case: _Case, found: tuple[Difference, ...]) -> None:
        case.differences = found
        if case.present:
            return
        case.present = True
        case.count += 1
        facts = {"container": self._name(key), "drift": str(case.drift()), "mode": self.mode.value}
        if case.count == 1:
            log.warning("cgroup drifted from its assignment", **facts)
        elif case.count == _KEEPS_DRIFTING:
            log.warning(
                "cgroup keeps drifting: something else writes to it, such as kubelet's CPU manager or systemd",
                **facts, drifts=case.count,
            )  # fmt: skip
        else:
            log.debug("cgroup drifted again", **facts, drifts=case.count)

    def _keep_quiet(self, key: ContainerKey, case: _Case, now_s: float) -> None:
        case.suspected = None
        if case.present:
            case.present, case.trouble, case.quiet_from_s = False, "", now_s
        if case.count == 0:
            del self._cases[key]
        elif now_s - case.quiet_from_s >= self.pace.forget_s:
            log.info("cgroup stays as assigned", container=self._name(key), drifts_before=case.count)
            del self._cases[key]

    # --- what is done about it -----------------------------------------------------------------------------------

    async def _repair(self, key: ContainerKey, want: Wanted, case: _Case) -> None:
        case.repair_from_s = trio.current_time() + next(case.pauses)
        runtime_may_help = True
        try:
            if await self.kernel.write(want.place, self._change(want, case.differences)):
                self._repaired(key, case)
                if self._wanted(key) == want:
                    self.agreed(key, want.cpus)
        except CgroupError as error:
            self._failed(key, case, str(error))
            runtime_may_help = error.trouble is not Trouble.LIMITED_ABOVE
        finally:
            self._repairing.discard(key)
        case.suspected = None
        if self._wanted(key) != want:
            case.repair_from_s = -math.inf  # a new decision was made while we wrote, which may have undone it
        elif runtime_may_help:
            self._tell(key)
        self._turns.ask(key, trio.current_time() + self.pace.settle_s)

    async def _have_follow(self, want: Wanted) -> None:
        """Have a container's memory follow when the runtime changes its nodes; that it did not is no drift."""
        try:
            await self.kernel.write(want.place, Write(follow=True))
        except CgroupError as error:
            self._complain(error, "memory does not follow when the nodes of a container change")

    def _change(self, want: Wanted, found: tuple[Difference, ...]) -> Write:
        values = {difference.value for difference in found}
        return Write(
            cpus=want.cpus if Value.CPUS in values else None,
            mems=want.mems if Value.MEMS in values else None,
            shares=want.shares if values & {Value.SHARES, Value.WEIGHT} else None,
            formula=self._formula,
            quota=want.quota if Value.QUOTA in values else None,
        )

    def _failed(self, key: ContainerKey, case: _Case, reason: str) -> None:
        if reason != case.trouble:
            log.warning("cannot repair cgroup", container=self._name(key), reason=reason)
        case.trouble = reason

    def _repaired(self, key: ContainerKey, case: _Case) -> None:
        if case.repairs == 0 or case.trouble:
            log.info("cgroup repaired", container=self._name(key), was=str(case.drift()))
        case.present, case.trouble, case.quiet_from_s = False, "", trio.current_time()
        case.repairs += 1

    def _tell(self, key: ContainerKey) -> None:
        state = self.state()
        container = state.workload.containers[key]
        if self.tell is not None and container.id is not None:
            self.tell(UpdateContainer(key, container.id, state.adjustments[key]))

    # --- what people are told ------------------------------------------------------------------------------------

    def _name(self, key: ContainerKey) -> str:
        return self.state().workload.full_name(key)

    def _complain(self, error: CgroupError, what: str = "cannot read a cgroup; drift in it is not detected") -> None:
        kind = (error.trouble, error.path.name)
        if kind not in self._complaints:
            self._complaints.add(kind)
            log.warning(what, reason=str(error))

    def _note_whether_found(self, wanted: Collection[Wanted], found: Sequence[Reading | CgroupError | None]) -> None:
        if self._found_any or not any(want.place.search and want.place.cgroup_parent for want in wanted):
            return
        self._found_any = any(reading is not None for reading in found)
        self._looks_in_vain += 1
        if not self._found_any and self._looks_in_vain == _NOTHING_FOUND:
            log.warning("found no cgroup of any running container; check that the host's cgroups are mounted")
