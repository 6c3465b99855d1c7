"""CPUs and memory nodes requested by another party, which crirm replaces by its assignment.

A policy that binds containers writes its own sets into requests, so the caller sees success without effect. Whoever
requested them by hand has to be informed; and a kubelet that sends sets has an active CPU manager or memory manager,
which contradicts crirm's decisions.
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
_BY_HAND: Final = 1  # containers; a person may have tried it with one
_FIX: Final = "set the kubelet's cpuManagerPolicy and memoryManagerPolicy to none; crirm doctor shows how"


@attrs.frozen
class Asked:
    """A request for sets that was ignored.

    Args:
        what: the sets, in words.
        creating: whether the container was created with them; only kubelets do that.
    """

    what: str
    creating: bool


@attrs.define
class Cpusets:
    """Remembers ignored requests for sets as long as the container exists.

    Args:
        engine: has the assignments.
        record: adds an entry to the journal; must not block.
        clock: wall-clock seconds.
    """

    engine: Engine
    record: Callable[[Entry], None] = lambda _: None
    clock: Callable[[], float] = time.time
    _asked: dict[ContainerKey, Asked] = attrs.field(factory=dict, init=False)

    def note(self, key: ContainerKey, cpus: str, mems: str, *, creating: bool = False) -> None:
        """Note the sets in a request about *key*; logged once per container.

        Args:
            key: of a container.
            cpus: as in the request, empty for none; likewise
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
        """Return findings for the operator, one sentence each; none once these containers are gone."""
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
    """Return in words which of the requested sets *adjustment* replaces."""
    pairs = (("CPUs", cpus, adjustment.cpus), ("memory nodes", mems, adjustment.mems))
    return ", ".join(
        f"{what} {clipped(asked)}" for what, asked, has in pairs if asked and has is not None and asked != str(has)
    )
