"""The shortest sequence that still fails: steps are left out while the same rule is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from tests.simulation.play import play

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario, Step

MOST_RUNS = 400


@attrs.define
class Shrinking:
    """One search.

    Args:
        rule: that has to be broken.
    """

    rule: str
    runs: int = 0

    def shortest(self, scenario: Scenario) -> Scenario:
        """Return *scenario* with as few steps as were found to do."""
        size = max(1, len(scenario.steps) // 2)
        while self.runs < MOST_RUNS:
            shorter = self._without_some(scenario, size)
            if shorter is not None:
                scenario = shorter
            elif size > 1:
                size //= 2
            else:
                break
        return self._simpler_pods(scenario)

    def _without_some(self, scenario: Scenario, size: int) -> Scenario | None:
        steps = scenario.steps
        for begin in range(0, len(steps), size):
            shorter = attrs.evolve(scenario, steps=steps[:begin] + steps[begin + size :])
            if self._fails(shorter):
                return shorter
        return None

    def _simpler_pods(self, scenario: Scenario) -> Scenario:
        """Leave containers out of pods."""
        for index, step in enumerate(scenario.steps):
            for simpler in _simpler(step):
                steps = (*scenario.steps[:index], simpler, *scenario.steps[index + 1 :])
                shorter = attrs.evolve(scenario, steps=steps)
                if self._fails(shorter):
                    scenario = shorter
                    break
        return scenario

    def _fails(self, scenario: Scenario) -> bool:
        self.runs += 1
        return self.runs <= MOST_RUNS and bool(play(scenario, frozenset({self.rule})).violations)


def _simpler(step: Step) -> list[Step]:
    if step.kind != "pod":
        return []
    containers = step.args["containers"]
    found = [attrs.evolve(step, args={**step.args, "containers": [one]}) for one in containers if len(containers) > 1]
    plain = {name: value for name, value in step.args.items() if name not in {"lifetime_s", "restart", "namespace"}}
    return [*found, attrs.evolve(step, args=plain)]


def shortest(scenario: Scenario, rule: str) -> Scenario:
    """Return the shortest scenario found that breaks *rule*, as *scenario* does."""
    return Shrinking(rule).shortest(scenario)
