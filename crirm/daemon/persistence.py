"""The state of the deciding half, kept on disk and found again at start.

Every decision wakes one task, which has a thread compare the present state with what was
written last (entries of mappings that are the same object need no look) and write the difference in one transaction,
together with the journal; while that is under way, what comes next gathers. So the disk sees the size of the change,
memory holds no queue of changes, and after a time without a disk the first success writes everything that is missing.

What that promises: no grant is lost that anybody was told of. A request that carries a decision goes to the runtime
when the kernel has the bytes of that decision (`Persistence.when_kept`), so that ``kill -9`` cannot undo it; that
takes about a millisecond, in which the event loop does other things. Nobody waits for the disk itself: it gets the
bytes a little later, which matters in a power cut only. Nor does anybody wait for a disk that fails or hangs:
decisions then go on, and one warning says that a restart would lose them. Even then a container is still found in the
runtime's lists; it is placed anew, which changes its CPUs at worst. What ends needs no such care: the lists tell.

What is in flight when the process dies is left in doubt on purpose: updates that the runtime has not confirmed, and
resizes that it has not answered, are not saved as *told*, so they are sent again. A container that was being created is
looked for in the runtime's lists by pod, name and attempt (`settle_creations`).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from crirm.cri import decode
from crirm.daemon.engine import Explained
from crirm.daemon.journal import entries
from crirm.logs import get_logger
from crirm.model.decision import Adjustment
from crirm.model.events import ContainerCreated, CreateFailed, Timer
from crirm.model.record_json import RecordError, from_record, to_record
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId, Workload
from crirm.policy.restore import NO_GRANT, Revived, Saved, revive
from crirm.system.store import TABLES, Batch, Entry, Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.daemon.effects import EffectsWorker, Runtime
    from crirm.daemon.engine import Engine
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event
    from crirm.policy.api import Policy
    from crirm.system.store import Rows

log = get_logger("store")
T = TypeVar("T")

JOURNAL_WAITING = 10_000  # entries while the disk takes none; each is some 300 bytes
AGAIN_S = 5.0  # after a failure
PATIENCE_S = 1.0  # with a disk that hangs; a write takes a millisecond
SYNC_EVERY_S = 0.2
LAST_S = 5.0  # for what is left at the end; systemd waits longer
LIST_TIMEOUT_S = 60.0
_View = dict[str, Mapping[Any, Any]]
"""Values by table and key, compared by identity first."""


@attrs.define
class Persistence:
    """Keeps the state of one engine in one store.

    Args:
        store: open.
        engine: whose state it is.
        effects: tells which updates are not confirmed.
        facts: about this process, for the table of facts and the journal: machine, version.
        clock: wall-clock seconds.
    """

    store: Store
    engine: Engine
    effects: EffectsWorker
    facts: Mapping[str, str]
    clock: Callable[[], float] = time.time
    _waiting: deque[Entry] = attrs.field(factory=lambda: deque(maxlen=JOURNAL_WAITING), init=False)
    _trails: Mapping[ContainerKey, Explained] = attrs.field(factory=dict, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _written: _View = attrs.field(factory=dict, init=False)
    _failing: bool = attrs.field(default=False, init=False)
    _hasty: bool = attrs.field(default=False, init=False)
    _kept: list[Callable[[], None]] = attrs.field(factory=list, init=False)
    _unsynced: trio.Event = attrs.field(factory=trio.Event, init=False)

    def resume(self) -> None:
        """Give the engine the state that the store has; before anything is decided.

        Raises:
            sqlite3.Error: the store cannot be read.
        """
        rows = self.store.load()
        saved, damaged = read(rows)
        if rows["meta"].get("policy") != _text(self.engine.policy.name):
            saved = attrs.evolve(saved, grants={})
        revived = revive(self.engine.policy, saved)
        now_s, name = self.clock(), revived.state.workload.full_name
        anew = [Explained(now_s, name(trail.key), trail) for trail in revived.trails]
        self.engine.resume(revived.state, [*_trails(rows), *anew])
        self.engine.generation += _generation(rows)
        self._trails = dict(self.engine.trails)
        self._tell(revived, known=bool(rows["meta"]), damaged=damaged)

    def _tell(self, revived: Revived, *, known: bool, damaged: int) -> None:
        """Log and write down what has become of the state of before."""
        name = revived.state.workload.full_name
        for key, reason in revived.moved.items():
            (log.info if reason == NO_GRANT else log.warning)(
                "a container is placed anew", container=name(key), reason=reason
            )
        for key, reason in revived.squeezed.items():
            log.warning("a container has no room and shares what is left", container=name(key), reason=reason)
        for key, reason in revived.lost.items():
            log.warning("a container goes on without a grant", container=name(key), reason=reason)
        counts = {
            "containers": len(revived.state.workload.containers),
            "placed_anew": len(revived.moved),
            "without_room": len(revived.squeezed),
            "without_grant": len(revived.lost),
            "damaged_rows": damaged,
        }
        if known:
            log.info("the state of before is known", **counts)
        facts = ", ".join(
            f"{fact} {value:.12}" for fact, value in (("policy", self.engine.policy.name), *self.facts.items())
        )
        found = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items())
        self._waiting.append(Entry(self.clock(), "crirm started", outcome=f"{facts}; {found}"))

    def record(self, event: Event, before: State, decision: Decision) -> None:
        """Take note of a decision; returns at once."""
        self._waiting.extend(entries(self.clock(), event, before, decision))
        if decision.trail is not None:
            self._trails = {}  # to be copied anew
        self.wake()

    def wake(self) -> None:
        """Have whatever has changed written."""
        self._changed.set()

    def when_kept(self, then: Callable[[], None]) -> None:
        """Call *then* when all that was decided so far survives the death of this process; now, where nothing does."""
        if self._failing or self._hasty:
            then()
        else:
            self._kept.append(then)
            self.wake()

    async def run(self) -> None:
        """Write until cancelled, and then what is left."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_synced)
                await self._keep_written()
        finally:
            self._hasty = True
            with trio.move_on_after(LAST_S, shield=True):
                await self._write(last=True)
                self.store.close()

    async def _keep_written(self) -> None:
        while True:
            self._changed = trio.Event()
            await self._write()
            self._unsynced.set()
            if self._failing:
                await trio.sleep(AGAIN_S)
            else:
                await self._changed.wait()

    async def _keep_synced(self) -> None:
        """Have the disk take what the kernel has, every now and then."""
        while True:
            await self._unsynced.wait()
            self._unsynced = trio.Event()
            try:
                await trio.to_thread.run_sync(self.store.sync)
            except OSError as error:
                self._failed(error)
            await trio.sleep(SYNC_EVERY_S)

    async def _write(self, *, last: bool = False) -> None:
        journal, waiters = tuple(self._waiting), self._kept
        policy, state = self.engine.policy, self.engine.state
        self._waiting.clear()
        self._kept = []
        self._trails = self._trails or dict(self.engine.trails)
        view = self._view(state, self.effects.pending() | state.resizing.keys())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._lose_patience, waiters)
                written = await trio.to_thread.run_sync(
                    self._write_now, view, policy, state.policy, journal, abandon_on_cancel=last
                )
                nursery.cancel_scope.cancel()
        except* (sqlite3.Error, StoreError, OSError) as group:
            self._waiting = deque((*journal, *self._waiting), maxlen=JOURNAL_WAITING)
            self._failed(group.exceptions[0])
        else:
            self._written = written
            if self._failing:
                log.warning("the state is kept again, with all that was decided meanwhile", file=str(self.store.path))
            self._failing = False
        finally:
            self._hasty = last
            _call(waiters)
            if self._failing or last:
                late, self._kept = self._kept, []
                _call(late)

    async def _lose_patience(self, waiters: list[Callable[[], None]]) -> None:
        """Let requests go that wait for a disk that hangs."""
        await trio.sleep(PATIENCE_S)
        log.warning("writing the state takes long; requests do not wait for it", file=str(self.store.path))
        self._hasty = True
        _call([*waiters, *self._kept])
        waiters.clear()
        self._kept.clear()

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            log.error(
                "the state cannot be kept; decisions go on, but a restart now would lose them",
                file=str(self.store.path),
                reason=str(error),
                again_in_s=AGAIN_S,
            )
        self._failing, self._written = True, {}

    def _write_now(self, view: _View, policy: Policy, policy_state: Any, journal: tuple[Entry, ...]) -> _View:
        """Write the difference and return what the store has now; in a thread."""
        if self._failing:
            self.store.reopen()  # another file may stand there now, so nothing is taken for written
        view["grants"] = policy.save(policy_state)
        put, gone = differences(self._written, view)
        if journal or any(put.values()) or any(gone.values()):
            self.store.write(Batch(put, gone, journal, fresh=not self._written))
        return view

    def _view(self, state: State, pending: frozenset[ContainerKey]) -> _View:
        told = {key: one for key, one in state.told.items() if key not in pending} if pending else state.told
        return {
            "meta": {**self.facts, "policy": self.engine.policy.name, "generation": str(self.engine.generation)},
            "pods": state.workload.pods,
            "containers": state.workload.containers,
            "told": told,
            "timers": {f"{key} {timer.name}": at_s for (key, timer), at_s in state.timers.items()},
            "trails": self._trails,
        }


def _call(waiters: list[Callable[[], None]]) -> None:
    for then in waiters:
        try:
            then()
        except Exception:
            log.exception("a request could not go on, this is a bug in crirm")


def open_persistence(
    directory: str, engine: Engine, effects: EffectsWorker, facts: Mapping[str, str], *, resume: bool = True
) -> Persistence | None:
    """Open the store in *directory*; None, with a warning, where nothing can be kept there.

    Args:
        directory: made where it is missing.
        engine: whose state is to be kept.
        effects: see `Persistence`.
        facts: see `Persistence`.
        resume: whether the engine goes on from what is kept there, or what is there is replaced by its state.
    """
    try:
        store = Store.open(directory)
    except StoreError as error:
        log.warning("nothing outlives this process: the state cannot be kept", reason=str(error))
        return None
    persistence = Persistence(store, engine, effects, facts)
    engine.on_decision(persistence.record)
    try:
        if resume:
            persistence.resume()
    except sqlite3.Error as error:
        store.close()
        log.warning("nothing outlives this process: the state cannot be read", reason=str(error))
        return None
    return persistence


def differences(written: _View, view: _View) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
    """Return the rows of *view* that are not as in *written*, and the keys that are gone, by table."""
    put: dict[str, dict[str, str]] = {}
    gone: dict[str, list[str]] = {}
    for table, values in view.items():
        old = written.get(table, {})
        if old is values:
            continue
        put[table] = {
            key: _text(value)
            for key, value in values.items()
            if old.get(key) is not value and (key not in old or old[key] != value)
        }
        gone[table] = [key for key in old if key not in values]
    return put, gone


def _text(value: Any) -> str:
    return json.dumps(to_record(value), separators=(",", ":"))


def read(rows: Rows) -> tuple[Saved, int]:
    """Return what *rows* tell, and how many of them are damaged."""
    damaged: list[str] = []
    whole = {table: _parsed(rows.get(table, {}), damaged) for table in TABLES if table not in {"meta", "trails"}}
    pods = _valid(Pod, whole["pods"], damaged)
    containers = _valid(Container, whole["containers"], damaged)
    saved = Saved(
        Workload(
            {PodId(pod): one for pod, one in pods.items()}, {ContainerKey(k): one for k, one in containers.items()}
        ),
        {ContainerKey(key): grant for key, grant in whole["grants"].items()},
        {ContainerKey(key): one for key, one in _valid(Adjustment, whole["told"], damaged).items()},
        _timers(whole["timers"], damaged),
    )
    return saved, len(damaged)


def _parsed(rows: Mapping[str, str], damaged: list[str]) -> dict[str, Any]:
    values = {}
    for key, text in rows.items():
        try:
            values[key] = json.loads(text)
        except ValueError:
            damaged.append(key)
    return values


def _valid(kind: type[T], records: Mapping[str, Any], damaged: list[str]) -> dict[str, T]:
    values = {}
    for key, record in records.items():
        try:
            values[key] = from_record(kind, record)
        except RecordError:
            damaged.append(key)
    return values


def _timers(records: Mapping[str, Any], damaged: list[str]) -> dict[tuple[ContainerKey, Timer], float]:
    timers = {}
    for name, at_s in records.items():
        key, _, timer = name.rpartition(" ")
        if timer in Timer.__members__ and isinstance(at_s, int | float):
            timers[ContainerKey(key), Timer[timer]] = float(at_s)
        else:
            damaged.append(name)
    return timers


def _generation(rows: Rows) -> int:
    """Return how many configurations there have been before."""
    text = _parsed(rows["meta"], []).get("generation", "0")
    return int(text) if isinstance(text, str) and text.isdecimal() else 0


def _trails(rows: Rows) -> list[Explained]:
    return list(_valid(Explained, _parsed(rows["trails"], []), []).values())


async def settle_creations(runtime: Runtime, engine: Engine) -> None:
    """Find out what has become of the containers that an earlier process was creating.

    Raises:
        RpcError: the runtime does not list.
    """
    creating = [c for c in engine.state.workload.containers.values() if c.state is ContainerState.CREATING]
    if not creating:
        return
    listed = decode.listed_containers(await runtime.call("ListContainers", b"", timeout_s=LIST_TIMEOUT_S))
    known = {container.id for container in engine.state.workload.containers.values()}
    there = {(item.pod, item.name, item.attempt): item.id for item in listed if item.id not in known}
    for container in creating:
        found = there.get((container.pod, container.name, container.attempt))
        engine.apply(CreateFailed(container.key) if found is None else ContainerCreated(container.key, found))
