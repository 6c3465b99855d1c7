"""The policy in docs/writing-a-policy.md, taken from there word for word, gets all that the page promises."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis.stateful import run_state_machine_as_test

from crirm.config.option import options_of
from crirm.daemon.control import explanations
from crirm.daemon.placement.engine import Engine
from crirm.model.decision import Adjustment
from crirm.model.events import ContainerRequested, PodAdded
from crirm.policy import registry
from crirm.policy.activation import plan
from crirm.policy.api import Choice, PolicyDescription
from crirm.policy.registry import make_policy
from tests.unit.policy.test_policies import SETTINGS, PolicyMachine
from tests.unit.replay.scenes import STATIC, Scene, container, pod, replayed

PAGE = Path(__file__).parents[3] / "docs" / "writing-a-policy.md"
MOST_LINES = 80
SPREAD = Choice("spread")


def block() -> str:
    (text,) = [part.partition("```")[0] for part in PAGE.read_text().split("```python\n")[1:]]
    return text


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> PolicyDescription:
    """What the page's code describes, in the registry as the page says."""
    module = ModuleType("spread_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(block(), str(PAGE), "exec"), module.__dict__)
    policy: PolicyDescription = module.POLICY
    monkeypatch.setitem(registry.POLICIES, policy.name, policy)
    return policy


def test_it_is_short() -> None:
    assert len(block().splitlines()) <= MOST_LINES


def test_its_options_are_described(described: PolicyDescription) -> None:
    (option,) = options_of(described.options)
    assert (option.key, option.default, option.type) == ("PinMemory", True, bool)
    assert described.section == "policy.spread"


def test_the_pipeline_takes_it_through_whatever_happens(described: PolicyDescription) -> None:
    machine: Any = type("Spreading", (PolicyMachine,), {"kind": described})
    run_state_machine_as_test(machine, settings=SETTINGS)


@pytest.mark.usefixtures("described")
def test_it_is_explained() -> None:
    scene = Scene(choice=SPREAD)
    engine = Engine(scene.policy, SPREAD)
    for event in (PodAdded(pod()), ContainerRequested(container("a", 1)), ContainerRequested(container("b", 1))):
        engine.apply(event)
    observed: Any = type("Observed", (), {"engine": engine})
    (first,), (second,) = explanations("a", observed), explanations("b", observed)
    assert (first["trail"]["chosen"], second["trail"]["chosen"]) == ("NUMA node #0", "NUMA node #1")
    assert second["trail"]["verdicts"][1]["rule"] == "fewest containers"


@pytest.mark.usefixtures("described")
def test_a_switch_to_it_is_planned() -> None:
    scene = Scene(choice=STATIC)
    scene.tell(PodAdded(pod()))
    scene.run(container("a", 2))
    everything = Adjustment(cpus=scene.topology.online, mems=scene.topology.node_ids)
    found = plan(make_policy(SPREAD, scene.topology), {}, scene.state, everything)
    assert [(key, str(change.after.cpus), str(change.after.mems)) for key, change in found.changes.items()] == [
        ("a", "0-3", "0")
    ]
    assert found.unfit == {}


@pytest.mark.usefixtures("described")
def test_a_trace_of_it_gives_the_same_decisions_again_and_one_of_another_policy_gives_its_own() -> None:
    for choice in (SPREAD, STATIC):
        scene = Scene(choice=choice).record()
        scene.tell(PodAdded(pod()))
        for name in "abc":
            scene.run(container(name, 1))
        steps = replayed(scene.text, choice=SPREAD).steps
        placed = {key: str(one.cpus) for key, one in steps[-1].decision.state.adjustments.items()}
        assert placed == {"a": "0-3", "b": "4-7", "c": "0-3"}
        if choice is SPREAD:
            assert all(step.as_made for step in steps[1:])
