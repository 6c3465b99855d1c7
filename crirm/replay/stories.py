"""The story of every container in a replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.decision import UNADJUSTED, Adjustment, UpdateContainer
from crirm.model.events import ContainerRequested, ResizeFailed, ResizeRequested
from crirm.model.workload import Container, ContainerKey, Pod
from crirm.policy.pipeline import HOLDING
from crirm.replay.run import Step
from crirm.replay.trace import Reconfigured

CREATE: Final = "create"
RESIZE: Final = "resize"
START: Final = "at the start"
RECONFIGURE: Final = "with another configuration"


@attrs.frozen
class Refusal:
    """A container that was refused.

    Args:
        at_s: seconds of wall-clock time.
        key: the container.
        name: of it, for people.
        what: was asked for; at the start, and with another configuration, the container runs all the same.
        sentence: why.
    """

    at_s: float
    key: str
    name: str
    what: str
    sentence: str


@attrs.define
class Story:
    """One container.

    Args:
        container: as last seen.
        pod: its pod.
        placed_s: when it was placed, seconds of wall-clock time; None where it never was.
        adjustment: what it has, or had last.
        own: its exclusive CPUs, likewise.
        pool: where it is, likewise.
        changes: how often something else has changed what it has.
        held: whether it holds a grant now.
    """

    container: Container
    pod: Pod
    placed_s: float | None = None
    adjustment: Adjustment = UNADJUSTED
    own: CPUSet = NO_CPUS
    pool: str = ""
    changes: int = 0
    held: bool = False
    _pool_before: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.pod.namespace}/{self.pod.name}/{self.container.name}"

    def move(self, pool: str) -> None:
        """Record the pool of a decision."""
        self._pool_before, self.pool = self.pool, pool

    def move_back(self) -> None:
        """Record that the last decision was rolled back."""
        self.pool = self._pool_before


@attrs.define
class Stories:
    """The stories of all containers, told step by step.

    Args:
        pools: where the containers of the start were, as the trace has it.
    """

    pools: Mapping[ContainerKey, str]
    of: dict[ContainerKey, Story] = attrs.field(factory=dict)
    refusals: list[Refusal] = attrs.field(factory=list)
    updates: int = 0
    fit_here: list[str] = attrs.field(factory=list)

    def take(self, step: Step) -> None:
        """Go on with *step*."""
        self._meet(step)
        self._note_refusals(step)
        if isinstance(step.event, ResizeFailed) and step.event.key in self.of:
            self.of[step.event.key].move_back()
        for trail in step.decision.trails:
            if trail.key in self.of:
                self.of[trail.key].move(trail.chosen)
        if step.decision.state.adjustments is not step.before.adjustments:
            self._follow(step)
        self.updates += sum(isinstance(effect, UpdateContainer) for effect in step.decision.effects)

    def _meet(self, step: Step) -> None:
        old, now = step.before.workload, step.decision.state.workload
        if isinstance(step.event, ContainerRequested):
            container = step.event.container
            pod = now.pods.get(container.pod)
            if pod is not None:
                self.of.setdefault(container.key, Story(container, pod))
            if step.was_refused and step.decision.refusal is None:
                self.fit_here.append(self.of[container.key].name)
        if old.containers is now.containers:
            return
        for key, container in now.containers.items():
            if container is not old.containers.get(key):
                story = self.of.setdefault(key, Story(container, now.pods[container.pod]))
                story.container, story.held = container, container.state in HOLDING
                if story.held and story.placed_s is None:
                    story.placed_s, story.pool = step.at_s, story.pool or self.pools.get(key, "")
        for key in old.containers.keys() - now.containers.keys():
            self.of[key].held = False

    def _note_refusals(self, step: Step) -> None:
        refusal = step.decision.refusal
        if refusal is not None and isinstance(step.event, ContainerRequested | ResizeRequested):
            create = isinstance(step.event, ContainerRequested)
            key = step.event.container.key if isinstance(step.event, ContainerRequested) else step.event.key
            self._refuse(step.at_s, key, CREATE if create else RESIZE, str(refusal))
        what = RECONFIGURE if isinstance(step.event, Reconfigured) else START
        for key, sentence in step.squeezed.items():
            self._refuse(step.at_s, key, what, sentence)

    def _refuse(self, at_s: float, key: ContainerKey, what: str, sentence: str) -> None:
        name = self.of[key].name if key in self.of else key
        self.refusals.append(Refusal(at_s, key, name, what, sentence))

    def _follow(self, step: Step) -> None:
        """Take note of everybody's adjustments where they are not what they were."""
        old, now = step.before.adjustments, step.decision.state.adjustments
        own = step.policy.exclusive(step.decision.state.policy)
        chosen = {trail.key for trail in step.decision.trails}
        for key, adjustment in now.items():
            before = old.get(key)
            if key not in self.of or adjustment == before:
                continue
            story = self.of[key]
            story.adjustment, story.own = adjustment, own.get(key, NO_CPUS)
            if before is not None and key not in chosen:
                story.changes += 1
