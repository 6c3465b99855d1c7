"""``crirm defrag``: spread containers come together on request, move by move, and stop whenever they are told to.

Every move is decided for the state at that moment and sent to the runtime, and the next follows when the runtime has
confirmed all updates of it. So wherever it ends, each container has what is decided. It ends when nothing is to be
gained, when the budget is used up, when it is stopped, or when the runtime refuses an update, which is then retried,
or does not answer at all.
"""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - attrs resolves field types at run time
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from crirm.daemon.placement.kernel import kernel_has
from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.model.events import MoveRequested
from crirm.policy.defragmenting import next_move, plan_moves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crirm.daemon.placement.effects import EffectsWorker
    from crirm.daemon.placement.engine import Engine
    from crirm.model.decision import Adjustment, State
    from crirm.model.workload import ContainerKey
    from crirm.policy.defragmenting import PlannedMove

log = get_logger("policy")

BYTES_PER_S: Final = 1 << 30
"""What the kernel migrates in a second at least, page by page; of the estimate for people only."""
DONE: Final = "no more can be gained"
SPENT: Final = "the budget of moves is used up"
STOPPED: Final = "stopped on request"
AWAY: Final = "the runtime does not answer; what is decided is sent when it does"
BUSY: Final = "another crirm defrag --apply is running; wait for it, or end it with crirm defrag --stop"


class DefragError(CrirmError):
    """A request that cannot be carried out now."""


class Moving(Protocol):
    """A node, as far as moves need it."""

    engine: Engine
    effects: EffectsWorker
    changing: trio.Lock


@attrs.define
class Defrag:
    """Moves containers on request.

    Args:
        node: whose containers they are.
        host_root: root of the host's files.
        clock: wall-clock seconds, as the engine's.
    """

    node: Moving
    host_root: Path
    clock: Callable[[], float] = time.time
    _running: bool = attrs.field(default=False, init=False)
    _stop: bool = attrs.field(default=False, init=False)

    async def plan(self, most: int, most_bytes: int) -> dict[str, Any]:
        """Return what would be moved, as JSON: at most so many containers, and bytes that they may have."""
        engine = self.node.engine
        policy, state = engine.policy, engine.state
        found = await trio.to_thread.run_sync(plan_moves, policy, state, most, most_bytes, self.clock())
        name = state.workload.full_name
        return {
            "moves": [_record(state, move, await self._measured(state, move)) for move in found.moves],
            "spread": [name(key) for key in found.before],
            "stay": [{"name": name(key), "why": why} for key, why in found.after.items()],
        }

    async def apply(self, most: int, most_bytes: int) -> dict[str, Any]:
        """Move them, and return what was moved, and why it ended.

        Raises:
            DefragError: another request is being carried out.
        """
        if self._running:
            raise DefragError(BUSY)
        self._running, self._stop, made = True, False, list[dict[str, Any]]()
        try:
            ended = await self._moves(most, most_bytes, made)
        finally:
            self._running = False
        return {"moves": made, "ended": ended, **self._left()}

    def stop(self) -> dict[str, Any]:
        """End what is being carried out after the move that is in progress."""
        self._stop = True
        return {"running": self._running}

    async def _moves(self, most: int, most_bytes: int, made: list[dict[str, Any]]) -> str:
        left = most_bytes
        while len(made) < most:
            if self._stop:
                return STOPPED
            if not self.node.effects.connected:
                return AWAY
            async with self.node.changing:
                found, refused = await self._move(left, made)
            if found is None:
                return DONE
            left -= found.bytes
            if refused:
                name = self.node.engine.state.workload.full_name
                told = "; ".join(f"{name(key)}: {why}" for key, why in sorted(refused.items()))
                return f"the runtime refused an update, which crirm retries: {told}"
        return SPENT if self.node.effects.connected else AWAY

    async def _move(
        self, bytes_left: int, made: list[dict[str, Any]]
    ) -> tuple[PlannedMove | None, Mapping[ContainerKey, str]]:
        """Make one move, note it in *made*, and return it and the updates that the runtime refused."""
        engine = self.node.engine
        planned, _ = next_move(engine.policy, engine.state, bytes_left, self.clock())
        # Measured now, since the move takes the memory along; decided again, since anything may happen meanwhile.
        measured = None if planned is None else await self._measured(engine.state, planned)
        found, decision = next_move(engine.policy, engine.state, bytes_left, self.clock())
        if found is None:
            return None, {}
        made.append(_record(engine.state, found, measured if found == planned else None))
        engine.take(MoveRequested(bytes_left), decision)
        name = engine.state.workload.full_name(found.key)
        log.info("moved a container on request", container=name, reason=found.why)
        return found, await self.node.effects.refused({move.key for move in decision.moves})

    def _left(self) -> dict[str, Any]:
        engine = self.node.engine
        spread = engine.policy.spread(engine.state.policy, engine.state.workload)
        return {"spread": [engine.state.workload.full_name(key) for key in spread]}

    async def _measured(self, state: State, move: PlannedMove) -> int | None:
        """Return how many bytes the container has on nodes that it leaves; None if the kernel does not tell."""
        before, after = move.before.mems, move.after.mems
        if after is None or (before is not None and before <= after):
            return 0
        memory = (await kernel_has(self.host_root, state, move.key)).memory
        return None if memory is None else sum(amount for node, amount in memory.items() if node not in after)


def _record(state: State, move: PlannedMove, measured: int | None) -> dict[str, Any]:
    cost = move.bytes if measured is None else measured
    return {
        "name": state.workload.full_name(move.key),
        "before": _sets(move.before),
        "after": _sets(move.after),
        "why": move.why,
        "others": move.others,
        "most_bytes": move.bytes,
        "measured_bytes": measured,
        "estimated_s": round(cost / BYTES_PER_S, 3),
    }


def _sets(adjustment: Adjustment) -> dict[str, str | None]:
    cpus, mems = adjustment.cpus, adjustment.mems
    return {"cpus": None if cpus is None else str(cpus), "mems": None if mems is None else str(mems)}
