"""Tasks that restart after a bug: an observer must not stop the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from crirm.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = get_logger("runtime")

AGAIN_S = 5.0


async def steadily(what: str, task: Callable[[], Awaitable[None]]) -> None:
    """Run *task* until it returns; if it raises, log that and restart it after a pause.

    Args:
        what: name of the task, for people.
        task: may be called repeatedly.
    """
    while True:
        try:
            await task()
        except Exception:
            log.exception("task failed, restarting it; this is a bug in crirm", task=what, again_in_s=AGAIN_S)
        else:
            return
        await trio.sleep(AGAIN_S)
