"""CPUs and memory nodes that somebody else asks for, where crirm has decided about them already.

A policy that binds containers writes its own sets into the requests, so the caller is told that all went well and has
nothing of it. Who asked by hand has to be told; and a kubelet that sends sets has a CPU manager or memory manager of
its own, whose idea of who runs where is another one than crirm's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import attrs

from crirm.errors import clipped
from crirm.logs import get_logger
from crirm.system.store import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.daemon.placement.engine import Engine
    from crirm.model.decision import Adjustment
    from crirm.model.workload import ContainerKey

log = get_logger("policy")

KIND: Final = "CPU request ignored"
_BY_HAND: Final = 1  # containers that a person may have tried it with
_FIX: Final = "set the kubelet's cpuManagerPolicy and memoryManagerPolicy to none; crirm doctor shows how"


@attrs.frozen
class Asked:
    """What somebody has asked for and not got.

    Args:
        what: the sets, in words.
        creating: whether the container was to begin with them; only kubelets do that.
    """

    what: str
    creating: bool


@attrs.define
class Cpusets:
    """Remembers who asked for which sets in vain, for as long as the container lives.

    Args:
        engine: knows what was decided.
        record: takes down an entry of the journal; must not block.
        clock: wall-clock seconds.
    """

    engine: Engine
    record: Callable[[Entry], None] = lambda _: None
    clock: Callable[[], float] = time.time
    _asked: dict[ContainerKey, Asked] = attrs.field(factory=dict, init=False)

    def note(self, key: ContainerKey, cpus: str, mems: str, *, creating: bool = False) -> None:
        """Take note of the sets in a request about *key*; told once for each container.

        Args:
            key: of a container that was decided about.
            cpus: as they stand in the request, empty for none; likewise
            mems: the memory nodes.
            creating: whether the request creates the container.
        """
        adjustment = self.engine.state.adjustments.get(key)
        ignored = _ignored(adjustment, cpus, mems) if adjustment is not None else ""
        if not ignored:
            return
        containers = self.engine.state.workload.containers
        before = self._asked.get(key)
        self._asked = {known: asked for known, asked in self._asked.items() if known in containers}
        self._asked[key] = Asked(ignored, creating or (before is not None and before.creating))
        if before is None:
            self._tell(key, ignored)

    def _tell(self, key: ContainerKey, ignored: str) -> None:
        workload = self.engine.state.workload
        container = workload.containers[key]
        name = workload.full_name(key)
        log.warning("ignoring CPUs requested by another party; the assignment stays", container=name, asked=ignored)
        outcome = f"{ignored}, by another party; the assignment stays"
        pod = name.rpartition("/")[0]
        self.record(Entry(self.clock(), KIND, pod, container.name, key, outcome))

    def findings(self) -> tuple[str, ...]:
        """Return what an operator has to know, a sentence each; nothing once these containers are gone."""
        workload = self.engine.state.workload
        alive = {key: asked for key, asked in self._asked.items() if key in workload.containers}
        if not alive:
            return ()
        key, last = list(alive.items())[-1]
        example = f"{workload.full_name(key)} should get {last.what}, but keeps its assignment"
        if len(alive) > _BY_HAND or any(asked.creating for asked in alive.values()):
            count = f"{len(alive)} container{'s' if len(alive) > 1 else ''}"
            who = f"another CPU manager is active: the kubelet requests CPUs or memory nodes for {count}"
            return (f"{who}; {example}; {_FIX}",)
        return (f"another party requested CPUs or memory nodes: {example}",)


def _ignored(adjustment: Adjustment, cpus: str, mems: str) -> str:
    """Return in words which of the sets that were asked for *adjustment* has replaced by others."""
    pairs = (("CPUs", cpus, adjustment.cpus), ("memory nodes", mems, adjustment.mems))
    return ", ".join(
        f"{what} {clipped(asked)}" for what, asked, has in pairs if asked and has is not None and asked != str(has)
    )
