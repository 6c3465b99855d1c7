"""The schedule of looks: every container once a round, spread over it, and sooner on request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Collection

    from crirm.model.workload import ContainerKey


@attrs.define(eq=False)
class Turns:
    """The time of each container's next look.

    Args:
        round_s: in which every container is looked at, in seconds.
        beat_s: minimum between two batches of routine looks, so that the machine can sleep.
    """

    round_s: float
    beat_s: float
    _due_s: dict[ContainerKey, float] = attrs.field(factory=dict, init=False)
    _asked: trio.Event = attrs.field(factory=trio.Event, init=False)

    def ask(self, key: ContainerKey, at_s: float) -> None:
        """Schedule *key* at *at_s* on Trio's clock, unless it is due earlier."""
        self._due_s[key] = min(self._due_s.get(key, math.inf), at_s)
        self._asked.set()

    def share_out(self, keys: Collection[ContainerKey]) -> None:
        """Schedule *keys* and no others; new ones are spread over a round."""
        for key in self._due_s.keys() - keys:
            del self._due_s[key]
        new = sorted(keys - self._due_s.keys())
        for index, key in enumerate(new, start=1):
            self._due_s[key] = self._on_beat(trio.current_time() + self.round_s * index / len(new))

    def take(self, at_most: int) -> list[ContainerKey]:
        """Return those that are due, the longest waiting first, and schedule each a round later."""
        now_s = trio.current_time()
        keys = sorted((key for key, due_s in self._due_s.items() if due_s <= now_s), key=self._due_s.__getitem__)
        for key in keys[:at_most]:
            self._due_s[key] = self._on_beat(now_s + self.round_s)
        return keys[:at_most]

    async def wait(self) -> None:
        """Wait until something may be due, at most a round."""
        with trio.move_on_at(min(self._due_s.values(), default=trio.current_time() + self.round_s)):
            await self._asked.wait()
        self._asked = trio.Event()

    def _on_beat(self, due_s: float) -> float:
        return math.ceil(due_s / self.beat_s) * self.beat_s
