"""Whose turn it is: every container once a round, spread over it, and sooner where somebody asks."""

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
    """The time at which each container is looked at next.

    Args:
        round_s: within which every container has its turn, in seconds.
        beat_s: turns that nobody has asked for are taken together, so often at most, to let the machine sleep.
    """

    round_s: float
    beat_s: float
    _due_s: dict[ContainerKey, float] = attrs.field(factory=dict, init=False)
    _asked: trio.Event = attrs.field(factory=trio.Event, init=False)

    def ask(self, key: ContainerKey, at_s: float) -> None:
        """Let *key* have its turn at *at_s* on Trio's clock, unless it has it earlier anyway."""
        self._due_s[key] = min(self._due_s.get(key, math.inf), at_s)
        self._asked.set()

    def share_out(self, keys: Collection[ContainerKey]) -> None:
        """Let *keys* and no others take part; those that are new get their turns spread over a round."""
        for key in self._due_s.keys() - keys:
            del self._due_s[key]
        new = sorted(keys - self._due_s.keys())
        for index, key in enumerate(new, start=1):
            self._due_s[key] = self._on_beat(trio.current_time() + self.round_s * index / len(new))

    def take(self, at_most: int) -> list[ContainerKey]:
        """Return those whose turn it is, the longest waiting first; each has its next turn a round later."""
        now_s = trio.current_time()
        keys = sorted((key for key, due_s in self._due_s.items() if due_s <= now_s), key=self._due_s.__getitem__)
        for key in keys[:at_most]:
            self._due_s[key] = self._on_beat(now_s + self.round_s)
        return keys[:at_most]

    async def wait(self) -> None:
        """Wait until it may be somebody's turn, a round at most."""
        with trio.move_on_at(min(self._due_s.values(), default=trio.current_time() + self.round_s)):
            await self._asked.wait()
        self._asked = trio.Event()

    def _on_beat(self, due_s: float) -> float:
        return math.ceil(due_s / self.beat_s) * self.beat_s
