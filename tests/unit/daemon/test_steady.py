"""Tasks that begin anew after a bug."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from crirm.daemon.steady import AGAIN_S, steadily
from tests.unit.daemon.nodes import with_container

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_task_that_fails_begins_anew_and_one_that_returns_is_over() -> None:
    begun_s: list[float] = []

    async def task() -> None:
        begun_s.append(trio.current_time())
        await trio.sleep(1)
        if len(begun_s) < 3:
            raise ZeroDivisionError

    trio.run(steadily, "a test", task, clock=MockClock(autojump_threshold=0))
    assert [later - earlier for earlier, later in itertools.pairwise(begun_s)] == [1 + AGAIN_S] * 2


async def test_a_list_that_cannot_be_read_ends_neither_the_daemon_nor_the_reading(nursery: trio.Nursery) -> None:
    observing = with_container(nursery).observing

    def broken() -> Iterator[bytes | None]:
        yield None
        raise ZeroDivisionError

    observing._unread.append(broken())
    observing._unread.append(broken())
    observing._more.set()
    nursery.start_soon(steadily, "long lists", observing.run)
    await wait_all_tasks_blocked()
    assert len(observing._unread) == 1  # is read when the task has begun anew
