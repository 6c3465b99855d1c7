"""The message dump: a tap that stores messages, and a task that formats them later.

A call that is not dumped costs one dictionary look-up. For a dumped call the tap stores references; a tenth of a second
later they are formatted together. Lines that need no decoding are formatted on the event loop, in short slices, since a
worker thread would cost more. That is for messages, whose decoding takes milliseconds, and for the file, which may
block.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from crirm.cri.dump_rules import Level
from crirm.cri.methods import METHODS, PACKAGES, find, split
from crirm.cri.schema import schema
from crirm.daemon.dump.queue import Queue
from crirm.daemon.dump.text import (
    INTERCEPTED,
    PASSTHROUGH,
    RELAYED,
    CallInfo,
    End,
    MethodDump,
    Record,
    Reply,
    RequestRecord,
    Text,
    needs_worker,
    text,
)
from crirm.logs import get_logger
from crirm.logs.record_file import RecordFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from crirm.cri.dump_rules import DumpRules
    from crirm.cri.methods import Method
    from crirm.rpc.tap import CallTap, Outcome

log = get_logger("message")

QUEUE_BYTES: Final = 64 << 20  # waiting for the writer; a message of maximum size still fits
QUEUE_RECORDS: Final = 20_000
BATCH_BYTES: Final = 1 << 20  # per write; bounds how long a cancelled dump takes
BATCH_RECORDS: Final = 256
REMEMBERED_PATHS: Final = 1000  # far more than exist; callers can invent paths
GATHER_S: Final = 0.1  # records within this time are written together, after their calls
SLICE_S: Final = 0.0005  # of formatting on the event loop, then others have their turn
LAST_WORDS_S: Final = 2.0  # for the remaining records when the daemon stops
PAUSE_S: Final = 0.0001  # between messages and within long ones, so that the event loop can run
SWITCH_INTERVAL_S: Final = 0.0005  # likewise; Python's 0.005 would delay every other call that long


class _Call:
    """The tap of one dumped call."""

    def __init__(self, plan: MethodDump, queue: Queue) -> None:
        self._call = CallInfo(plan, time.monotonic())
        self._queue = queue
        self._replies = 0

    def request(self, message: bytes) -> None:
        self._call.request = message
        if self._call.plan.level is Level.FULL:
            self._queue.put(RequestRecord(self._call, time.time(), message), len(message))

    def reply(self, message: bytes) -> None:
        self._replies += 1
        plan = self._call.plan
        if plan.level is Level.FULL:
            self._queue.put(Reply(self._call, self._elapsed_s(), message), len(message))
        elif plan.kind == RELAYED:  # one line each, without the content
            self._queue.put(Reply(self._call, self._elapsed_s(), b""), 0)

    def close(self, outcome: Outcome) -> None:
        end = End(self._call, self._elapsed_s(), outcome.status, outcome.message, self._replies)
        self._queue.put(end, len(outcome.message) + len(self._call.request or b""))

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._call.began_s


class Dumper:
    """The tap for the relay, and the task that writes to the log and a file.

    Args:
        rules: which calls are dumped, and how.
        file: an additional file, truncated at the start; empty: the log only.
        show_secrets: do not mask environment values and credentials.
        intercepted: names of the methods that crirm observes or holds.
        count_period_s: seconds between two summaries of the methods at level count.
    """

    def __init__(
        self,
        rules: DumpRules,
        *,
        file: str = "",
        show_secrets: bool = False,
        intercepted: Collection[str] = frozenset(),
        count_period_s: float = 60.0,
    ) -> None:
        self._rules = rules
        self._file_path = file
        self._file: RecordFile | None = None
        self._show_secrets = show_secrets
        self._intercepted = intercepted
        self._count_period_s = count_period_s
        self._counts: Counter[str] = Counter()
        self._plans: dict[str, MethodDump | None] = {}
        self._queue = Queue(QUEUE_BYTES, QUEUE_RECORDS)
        self._writing = trio.Lock()

    async def configure(
        self, rules: DumpRules, file: str, intercepted: Collection[str], *, afresh: bool = True
    ) -> None:
        """Change rules and file; a new file is truncated only if *afresh*.

        Raises:
            RecordFileError: the file cannot be opened; nothing is changed.
        """
        if file != self._file_path:
            new = await trio.to_thread.run_sync(lambda: RecordFile(file, truncate=afresh)) if file else None
            async with self._writing:
                self._file, old = new, self._file
            self._file_path = file
            if old:
                old.close()
        await _import_messages(rules)
        self._rules, self._intercepted = rules, intercepted
        self._plans.clear()

    def open(self, path: str) -> CallTap | None:
        """See ``rpc.tap.Tap``."""
        try:
            plan = self._plans[path]
        except KeyError:
            plan = self._plan(path)
        if plan is None or self._nobody_reads():
            return None
        if plan.level is Level.COUNT:
            self._counts[plan.name] += 1
            return None
        return _Call(plan, self._queue)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write records until cancelled, then the remaining ones; started once the file is open.

        Raises:
            RecordFileError: the file cannot be opened.
        """
        if self._file_path:
            self._file = await trio.to_thread.run_sync(lambda: RecordFile(self._file_path, truncate=True))
            log.info("dumping messages to a file as well", path=self._file_path)
        await _import_messages(self._rules)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_counts_for_ever)
                task_status.started()
                await self._write_for_ever()
        finally:
            await self._finish()

    async def _write_for_ever(self) -> None:
        while True:
            await self._queue.wait()
            await trio.sleep(GATHER_S)
            await self._write_batch(_pause)

    async def _write_batch(self, pause: Callable[[], None]) -> None:
        """Write the oldest records; a batch that was taken is written even if cancelled."""
        batch = self._queue.take(BATCH_BYTES, BATCH_RECORDS)
        with trio.CancelScope(shield=True):
            async with self._writing:
                if self._file or any(map(needs_worker, batch)):
                    with _quick_switches():
                        await trio.to_thread.run_sync(self._write, batch, pause)
                else:
                    await self._write_here(batch)

    async def _finish(self) -> None:
        """Write the remaining records as time allows, and log how many were not."""
        last_moment = trio.current_time() + LAST_WORDS_S
        while len(self._queue) and trio.current_time() < last_moment:
            await self._write_batch(lambda: None)
        if unwritten := len(self._queue):
            log.warning("crirm stops before all dumped messages are written", messages_left_out=unwritten)
        self._tell_counts()
        if self._file:
            self._file.close()

    async def _tell_counts_for_ever(self) -> None:
        while True:
            await trio.sleep(self._count_period_s)
            self._tell_counts()

    def _tell_counts(self) -> None:
        if self._counts:
            counts, self._counts = self._counts, Counter()
            log.info("calls since the last summary", **counts)

    async def _write_here(self, batch: list[Record]) -> None:
        """Write lines that need no decoding, yielding to the event loop in between."""
        until_s = time.perf_counter() + SLICE_S
        for record in batch:
            self._write_one(record, lambda: None)
            if time.perf_counter() > until_s:
                await trio.lowlevel.checkpoint()
                until_s = time.perf_counter() + SLICE_S

    def _write(self, batch: list[Record], pause: Callable[[], None]) -> None:
        """Runs in a worker thread."""
        for record in batch:
            pause()
            self._write_one(record, pause)

    def _write_one(self, record: Record, pause: Callable[[], None]) -> None:
        try:
            shown = text(record, show_secrets=self._show_secrets, pause=pause)
        except Exception:
            log.exception("could not format a message; this is a bug in crirm")
        else:
            if shown:
                self._show(shown)

    def _show(self, shown: Text) -> None:
        level = "warning" if shown.failed else "info"
        facts = {"block": shown.block} if shown.block else {}
        if self._rules.as_debug:
            log.debug(shown.header, **facts)
        else:
            log.emit(level, shown.header, **facts)
        if self._file and (trouble := self._file.write(shown.for_file())):
            log.warning(trouble)

    def _plan(self, path: str) -> MethodDump | None:
        name = split(path)
        level = self._rules.level(name.method)
        known = find(path)
        shown_name = name.method if name.package in PACKAGES else path.removeprefix("/")
        plan = None if level is Level.OFF else MethodDump(shown_name, known, level, self._kind(name.method, known))
        if len(self._plans) < REMEMBERED_PATHS:
            self._plans[path] = plan
        return plan

    def _kind(self, method: str, known: Method | None) -> str:
        if known is not None and known.streams:
            return RELAYED
        return INTERCEPTED if method in self._intercepted else PASSTHROUGH

    def _nobody_reads(self) -> bool:
        return self._rules.as_debug and not self._file_path and not log.debug_on


async def _import_messages(rules: DumpRules) -> None:
    """Import the full API if messages will be decoded, so that no call waits for it later."""
    if any(rules.level(method) is Level.FULL for _, method in METHODS):
        await trio.to_thread.run_sync(schema, "VersionRequest")


def _pause() -> None:
    time.sleep(PAUSE_S)


@contextmanager
def _quick_switches() -> Iterator[None]:
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)
