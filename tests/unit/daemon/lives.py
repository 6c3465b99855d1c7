"""Lives of the deciding half over one state directory, without a runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from crirm.daemon.placement.effects import EffectsWorker
from crirm.daemon.placement.engine import Engine
from crirm.daemon.placement.ladder import ladder
from crirm.daemon.state.persistence import Persistence, open_persistence
from crirm.model.events import (
    ContainerCreated,
    ContainerRequested,
    ContainerStarted,
)
from crirm.model.workload import ContainerId, ContainerKey
from tests.unit.daemon.nodes import FakeRuntime
from tests.unit.policy.counting import Counting
from tests.unit.policy.test_pipeline import wanted

if TYPE_CHECKING:
    from crirm.policy.api import Policy
    from crirm.system.store import Store

NOW_S = 1000.0
FACTS = {"machine": "0123456789abcdef"}


def ignore(_key: ContainerKey) -> None:
    """Nobody looks."""


@attrs.define
class Process:
    """One life of the deciding half over a state directory."""

    home: str
    policy: Policy = attrs.field(factory=lambda: Counting(8))
    runtime: FakeRuntime = attrs.field(factory=FakeRuntime)
    facts: dict[str, str] = attrs.field(factory=lambda: dict(FACTS))
    fail_closed: bool = False
    now_s: float = NOW_S
    engine: Engine = attrs.field(init=False)
    effects: EffectsWorker = attrs.field(init=False)
    persistence: Persistence = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.engine = Engine(self.policy, clock=lambda: self.now_s)
        self.effects = EffectsWorker(self.engine, self.runtime, ignore)
        self.persistence = open_persistence(
            self.home,
            self.engine,
            self.effects,
            self.facts,
            fail_closed=self.fail_closed,
            clock=lambda: self.now_s,
        )
        self.engine.listen(ladder(None, self.persistence, self.effects))

    def write(self) -> None:
        trio.run(self.persistence._write)

    def end(self) -> None:
        """Write, and die."""
        self.write()
        self.kill()

    @property
    def store(self) -> Store:
        assert self.persistence.store is not None
        return self.persistence.store

    def kill(self) -> None:
        self.store.close()

    def run(self, name: str, millicpu: int, **more: Any) -> ContainerKey:
        container = attrs.evolve(wanted(name, millicpu, **more), key=self.engine.new_key())
        assert self.engine.apply(ContainerRequested(container)).refusal is None
        self.engine.apply(ContainerCreated(container.key, ContainerId(f"id-{name}")))
        self.engine.apply(ContainerStarted(container.key))
        return container.key
