"""Saved state: the state of the deciding half on disk, restored at the next start.

Every decision wakes one task, which has a thread compare the current state with what was written last (entries of
mappings that are the same object need no look) and write the difference in one transaction, together with the journal.
A decision on which a request waits is written at once, anything else within `GATHER_S`: a start or an end that is lost
is found again in the runtime's lists. After a disk failure the first success writes everything that is missing.

Guarantee: no grant that was reported to anybody is lost. A request that carries a decision, and updates of other
containers, go to the runtime when the kernel has the bytes of that decision (`Persistence.when_kept`), so that ``kill
-9`` cannot undo it. Nobody waits for the disk: it gets the bytes a little later, for a power cut only.

If the disk fails or hangs, the configuration decides: decisions continue, and an error says that a restart loses them
(containers are then found in the runtime's lists and placed again), or requests that need a grant are refused.

Updates that the runtime has not confirmed, and resizes that it has not answered, are not saved as *told*, so they are
sent again after a restart. A container that was being created is looked up in the runtime's lists (`settle`).
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs
import trio

from crirm.daemon.placement.explained import Explained
from crirm.daemon.placement.ladder import Listener
from crirm.daemon.state.journal import activation_entries, entries, refusal_entry
from crirm.daemon.state.restored import tell_restored
from crirm.daemon.state.stored import NOTHING_KNOWN, differences, generation_in, on_time, read, text_of, trails_in
from crirm.logs import get_logger
from crirm.policy.restore import revive
from crirm.system.store import Batch, Entry, Store, rescued
from crirm.system.store_file import InUseError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from crirm.daemon.placement.effects import EffectsWorker
    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.explained import Refused
    from crirm.daemon.state.stored import View
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event
    from crirm.model.workload import ContainerKey
    from crirm.policy.activation import Plan
    from crirm.policy.api import Policy
    from crirm.system.store import Rows

log = get_logger("store")

JOURNAL_WAITING = 10_000  # entries while the disk fails; about 300 bytes each
GATHER_S = 0.1  # for changes that nobody waits for; handing over to a thread costs 0.4 ms of everybody's time
AGAIN_S = 5.0  # after a failure
REMIND_S = 300.0  # while it goes on failing
PATIENCE_S = 1.0  # for a disk that hangs; a write takes a millisecond
PREDECESSOR_S = 5.0  # for a process that is about to end, or resets the state
SYNC_EVERY_S = 0.2
LAST_S = 5.0  # for the last write at the end; systemd waits longer
FAILED_OPEN = "cannot save state; decisions continue, but a restart now loses them"
FAILED_CLOSED = "cannot save state; refusing to create or resize containers until it can be saved"
MACHINE_DIGITS = 12  # of a digest, in each entry of the journal


@attrs.frozen
class Waiter:
    """A caller that waits until a decision is saved.

    Args:
        then: called when it is saved.
        otherwise: called instead, with the reason, if it cannot be saved and must be; None: *then* is called anyway.
    """

    then: Callable[[], None]
    otherwise: Callable[[str], None] | None = None


@attrs.define
class Persistence(Listener):
    """Saves the state of one engine in one store.

    Args:
        directory: of the store.
        engine: whose state it is.
        effects: tells which updates are not confirmed.
        facts: about this process, for the store and the journal: machine, version.
        fail_closed: whether to refuse assignments while state cannot be saved; may be changed.
        store: open; None while it cannot be opened.
        clock: wall-clock seconds.
    """

    directory: str
    engine: Engine
    effects: EffectsWorker
    facts: Mapping[str, str]
    fail_closed: bool = False
    store: Store | None = None
    clock: Callable[[], float] = time.time
    _waiting: deque[Entry] = attrs.field(factory=lambda: deque(maxlen=JOURNAL_WAITING), init=False)
    _trails: Mapping[ContainerKey, Explained] = attrs.field(factory=dict, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _urgent: trio.Event = attrs.field(factory=trio.Event, init=False)
    _written: View = attrs.field(factory=dict, init=False)
    _failure: str = attrs.field(default="", init=False)
    _reminded_s: float = attrs.field(default=0.0, init=False)
    _hangs: bool = attrs.field(default=False, init=False)
    _ending: bool = attrs.field(default=False, init=False)
    _kept: list[Waiter] = attrs.field(factory=list, init=False)
    _unsynced: trio.Event = attrs.field(factory=trio.Event, init=False)

    def resume(self, rows: Rows, latest_s: float) -> None:
        """Restore the saved state into the engine, before anything is decided.

        Args:
            rows: of the store.
            latest_s: the latest wall-clock time that the earlier process recorded.
        """
        now_s = self.clock()
        saved, damaged = read(rows)
        if rows["meta"].get("policy") != text_of(self.engine.policy.name):
            saved = attrs.evolve(saved, grants={})
        revived = revive(self.engine.policy, on_time(saved, now_s, latest_s))
        name = revived.state.workload.full_name
        anew = [Explained(now_s, name(trail.key), trail) for trail in revived.trails]
        self.engine.resume(revived.state, [*trails_in(rows), *anew])
        self._trails = dict(self.engine.trails)
        facts = {"policy": self.engine.policy.name, **self.facts, "machine": self._machine}
        known = bool(rows["meta"])
        self._note([Entry(now_s, "crirm started", outcome=tell_restored(revived, facts, known=known, damaged=damaged))])

    def decided(self, event: Event, before: State, decision: Decision) -> None:
        """Record a decision; does not wait."""
        self._note(entries(self.clock(), event, before, decision))
        if decision.trails:
            self._trails = {}  # copied again at the next write
        self.wake()

    def note(self, entry: Entry) -> None:
        """Record an entry without a decision; does not wait."""
        self._note([entry])
        self.wake()

    def turned_away(self, refused: Refused) -> None:
        """Record a refusal before any decision; does not wait."""
        self.note(refusal_entry(refused))

    def activated(self, before: State, plan: Plan) -> None:
        """Record an activated configuration; does not wait."""
        self._note(activation_entries(self.clock(), self.engine.policy.name, before, plan))
        self._trails = {}
        self.wake()

    def settle_on(self, machine: str) -> None:
        """Record the digest *machine* with every entry from now on."""
        self.facts = {**self.facts, "machine": machine}
        self.wake()

    def _note(self, found: Iterable[Entry]) -> None:
        generation, machine = self.engine.generation, self._machine
        self._waiting.extend(attrs.evolve(e, generation=generation, machine=machine) for e in found)

    @property
    def _machine(self) -> str:
        return self.facts.get("machine", "")[:MACHINE_DIGITS]

    def wake(self) -> None:
        """Wake the writer for changes."""
        self._changed.set()

    @property
    def failure(self) -> str:
        """Why state cannot be saved now; empty if it can."""
        return self._failure or (f"{self.directory}: disk does not respond" if self._hangs else "")

    @property
    def refusal(self) -> str:
        """Why nothing may be assigned now; empty if it may."""
        if not self.fail_closed or not self.failure:
            return ""
        rule = "cannot save state, and state.FailClosed is set, so nothing is assigned until it can be saved"
        return f"{rule}: {self.failure}"

    def when_kept(self, then: Callable[[], None], otherwise: Callable[[str], None] | None = None) -> None:
        """Call back once all decisions so far survive the death of this process; see `Waiter`."""
        waiter = Waiter(then, otherwise)
        if self.failure or self._ending:
            self._let_go([waiter])
        else:
            self._kept.append(waiter)
            self.wake()
            self._urgent.set()

    def _let_go(self, waiters: list[Waiter]) -> None:
        """Call all *waiters* and empty the list."""
        refusal = self.refusal
        for waiter in waiters:
            try:
                if refusal and waiter.otherwise is not None:
                    waiter.otherwise(refusal)
                else:
                    waiter.then()
            except Exception:
                log.exception("could not resume a request; this is a bug in crirm")
        waiters.clear()

    async def run(self) -> None:
        """Write changes until cancelled, then the remaining ones."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_synced)
                await self._keep_written()
        finally:
            self._ending = True
            with trio.move_on_after(LAST_S, shield=True):
                await self._write(last=True)
                if self.store is not None:
                    self.store.close()

    async def _keep_written(self) -> None:
        while True:
            self._changed, self._urgent = trio.Event(), trio.Event()
            await self._write()
            self._unsynced.set()
            if self._failure:
                await trio.sleep(AGAIN_S)
            else:
                await self._changed.wait()
                with trio.move_on_after(GATHER_S):
                    await self._urgent.wait()

    async def _keep_synced(self) -> None:
        """Sync to disk periodically."""
        while True:
            await self._unsynced.wait()
            self._unsynced = trio.Event()
            if self.store is not None:
                try:
                    await trio.to_thread.run_sync(self.store.sync)
                except OSError as error:
                    self.fail(error)
                    self.wake()
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
                unsynced = await trio.to_thread.run_sync(
                    self._write_now, view, policy, state.policy, journal, abandon_on_cancel=last
                )
                nursery.cancel_scope.cancel()
        except* (sqlite3.Error, StoreError, OSError) as group:
            self._waiting = deque((*journal, *self._waiting), maxlen=JOURNAL_WAITING)
            self.fail(group.exceptions[0])
        else:
            self._written = view
            self._recover(unsynced)
        finally:
            self._hangs = False
            self._let_go(waiters)
            if self._failure or last:
                self._let_go(self._kept)

    async def _lose_patience(self, waiters: list[Waiter]) -> None:
        """Release requests that wait for a disk that hangs."""
        await trio.sleep(PATIENCE_S)
        log.warning("saving state is slow; requests no longer wait for it", directory=self.directory)
        self._hangs = True
        self._let_go(waiters)
        self._let_go(self._kept)

    def fail(self, error: Exception) -> None:
        """Note that state cannot be saved for now."""
        again, self._failure, self._written = bool(self._failure), str(error), {}
        if again and time.monotonic() < self._reminded_s + REMIND_S:
            return
        self._reminded_s = time.monotonic()
        log.error(FAILED_CLOSED if self.fail_closed else FAILED_OPEN, reason=self._failure, again_in_s=AGAIN_S)

    def _recover(self, unsynced: OSError | None) -> None:
        if unsynced is not None:
            self.fail(unsynced)
        elif self._failure:
            log.warning("saving state works again; all decisions made meanwhile are saved", directory=self.directory)
            self._failure = ""

    def _write_now(self, view: View, policy: Policy, policy_state: Any, journal: tuple[Entry, ...]) -> OSError | None:
        """Write the difference, in a thread; after a failure, sync and return the error if it persists."""
        if self.store is None:
            self.store = Store.open(self.directory, self.clock)
        elif self._failure:
            self.store.reopen()  # it may be another file now, so nothing counts as written
        view["grants"] = policy.save(policy_state)
        put, gone = differences(self._written, view)
        if journal or any(put.values()) or any(gone.values()):
            self.store.write(Batch(put, gone, journal, fresh=not self._written))
        return self._unsyncable() if self._failure else None

    def _unsyncable(self) -> OSError | None:
        try:
            if self.store is not None:
                self.store.sync()
        except OSError as error:
            return error
        return None

    def _view(self, state: State, pending: frozenset[ContainerKey]) -> View:
        told = {key: one for key, one in state.told.items() if key not in pending} if pending else state.told
        return {
            "meta": {
                **self.facts,
                "policy": self.engine.policy.name,
                "generation": str(self.engine.generation),
                **({"moved": state.moved} if state.moved else {}),  # seldom: cattrs, which writes it, is slow to import
            },
            "pods": state.workload.pods,
            "containers": state.workload.containers,
            "told": told,
            "timers": {f"{key} {timer.name}": at_s for (key, timer), at_s in state.timers.items()},
            "trails": self._trails,
            "degraded": state.degraded,
        }


def open_persistence(
    directory: str,
    engine: Engine,
    effects: EffectsWorker,
    facts: Mapping[str, str],
    *,
    resume: bool = True,
    fail_closed: bool = False,
    clock: Callable[[], float] = time.time,
) -> Persistence:
    """Open the store in *directory*; a failure is logged and retried.

    Args:
        directory: created if missing.
        engine: whose state is saved.
        effects: see `Persistence`.
        facts: see `Persistence`.
        resume: whether to restore what is saved there, or to replace it.
        fail_closed: see `Persistence`.
        clock: see `Persistence`.

    Raises:
        InUseError: another process uses it, and so probably decides about the same containers.
    """
    persistence = Persistence(directory, engine, effects, facts, fail_closed, clock=clock)
    rows, latest_s = _found(persistence)
    effects.when_kept = persistence.when_kept
    engine.follow(generation_in(rows))
    if resume:
        persistence.resume(rows, latest_s)
    return persistence


def _found(persistence: Persistence) -> tuple[Rows, float]:
    """Open the store, and return its content and the latest time in its journal, as far as they are readable."""
    directory = persistence.directory
    try:
        store = persistence.store = Store.open(directory, persistence.clock, patience_s=PREDECESSOR_S)
        return store.load(), store.latest_s()
    except InUseError:
        raise
    except (StoreError, sqlite3.Error) as error:
        persistence.fail(error)
    try:
        return rescued(directory)
    except StoreError as error:
        log.warning("cannot read saved state; starting without it", reason=str(error))
        return NOTHING_KNOWN, 0.0
