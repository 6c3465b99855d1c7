"""Whatever happens on a node, its configuration may change in between: other options, other CPUs, another policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from crirm.errors import CrirmError
from crirm.model.cpuset import CPUSet
from crirm.model.decision import UNADJUSTED, Adjustment, State, UpdateContainer
from crirm.model.events import PodRemoved
from crirm.policy.activation import Plan, plan
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.pipeline import initial, step
from crirm.policy.registry import POLICIES
from tests.unit.policy.test_policies import PolicyMachine, options_of

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from crirm.policy.api import Policy


def planned(old: Policy, new: Policy, state: State, topology: Topology) -> Plan:
    """Return the plan to let *new* decide, as the daemon makes it."""
    grants = old.save(state.policy) if old.name == new.name else {}
    return plan(new, grants, state, Adjustment(cpus=topology.online, mems=topology.memory_nodes))


class ChangingMachine(PolicyMachine):
    """A node whose configuration changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[tuple[int, Policy]] = []
        self.changed_options: object = None

    @property
    def binds(self) -> bool:
        """Whether the options in force, the first ones included, bind containers to CPUs."""
        options = self.changed_options if self.changes else self.options
        return getattr(options, "pin_cpu", True)

    @rule(data=st.data(), name=st.sampled_from(sorted(POLICIES)), reserved=st.sets(st.integers(0, 9), min_size=1))
    def reconfigure(self, data: st.DataObject, name: str, reserved: set[int]) -> None:
        kind, reserved_cpus = POLICIES[name], CPUSet(reserved) & (self.topology.online - self.topology.isolated)
        options = data.draw(options_of(kind))
        available = data.draw(st.none() | st.sets(st.integers(0, 15), min_size=3).map(CPUSet))
        if available is not None:
            available = (available | reserved_cpus) & self.topology.online
        constraints = Constraints(CPUConstraint(cpus=available), CPUConstraint(cpus=reserved_cpus))
        try:
            policy = kind.make(self.topology, constraints, options)
        except CrirmError:
            return
        found = planned(self.policy, policy, self.state, self.topology)
        self.the_plan_tells_all(found)
        self.one_can_go_back(found)
        self.changes.append((len(self.journal), policy))
        self.policy, self.state = policy, found.state
        self.changed_options = options
        self.reserved = reserved_cpus if name != "none" else self.reserved

    def the_plan_tells_all(self, found: Plan) -> None:
        before, after = self.state.adjustments, found.state.adjustments
        different = {
            key for key in before.keys() | after.keys() if before.get(key, UNADJUSTED) != after.get(key, UNADJUSTED)
        }
        assert different <= found.changes.keys()
        assert self.state.workload == found.state.workload
        for effect in found.effects:
            assert isinstance(effect, UpdateContainer)
            assert effect.adjustment == after[effect.key]
        told = {effect.key for effect in found.effects}
        there = {key for key, one in self.state.workload.containers.items() if one.id is not None}
        assert {key for key in different & after.keys() & there if self.state.told.get(key) != after[key]} <= told

    def one_can_go_back(self, found: Plan) -> None:
        """All that had a grant has it again."""
        machine = Adjustment(cpus=self.topology.online, mems=self.topology.memory_nodes)
        back = plan(self.policy, self.policy.save(self.state.policy), found.state, machine).state
        assert self.policy.exclusive(self.state.policy).items() <= self.policy.exclusive(back.policy).items()
        if self.policy.save(self.state.policy).keys() == self.policy.save(back.policy).keys():
            assert self.state.policy == back.policy

    @invariant()
    def exclusive_cpus_have_one_owner_and_nobody_else_on_them(self) -> None:
        if self.binds:  # else all have the whole machine, which may stand in their adjustments
            super().exclusive_cpus_have_one_owner_and_nobody_else_on_them()

    @invariant()
    def who_cannot_be_placed_is_no_intruder(self) -> None:
        if not hasattr(self, "state") or not self.binds or self.policy.name == "none":
            return
        owned = CPUSet.union(self.policy.exclusive(self.state.policy).values())
        for key in self.state.degraded:
            given = self.state.adjustments.get(key)
            if given is None:  # owners have the last shared CPU, so there is none to confine it to
                assert self.topology.online - owned - self.topology.isolated <= self.reserved
                continue
            cpus = given.cpus
            assert cpus is not None
            assert cpus.isdisjoint(owned)

    @invariant()
    def what_is_saved_comes_back_exactly(self) -> None:
        """But that a policy which does not bind has let everybody have the whole machine.

        And that one which found no CPUs for a container has kept it off those that are exclusive.
        """
        if not hasattr(self, "state"):
            return
        restored = self.policy.restore(self.policy.save(self.state.policy), self.state.workload)
        assert (self.state.policy, {}) == (restored.state, restored.dropped)
        whole = Adjustment(cpus=self.topology.online, mems=self.topology.memory_nodes)
        owned = CPUSet.union(self.policy.exclusive(self.state.policy).values()) if self.binds else CPUSet()
        for key, adjustment in self.state.adjustments.items():
            wanted = restored.adjustments.get(key, UNADJUSTED)
            allowed = self.topology.online - owned if key in self.state.degraded else whole.cpus
            cpus = allowed if wanted.cpus is None and adjustment.cpus is not None else wanted.cpus
            mems = whole.mems if wanted.mems is None and adjustment.mems is not None else wanted.mems
            assert adjustment == attrs.evolve(wanted, cpus=cpus, mems=mems)

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        assert self.again() == self.state, "the same sequence gives the same result"
        for pod in sorted(self.state.workload.pods):
            self.do(PodRemoved(pod))
        assert initial(self.policy) == self.state, "when all is released, all is as it was"

    def again(self) -> State:
        policy = self.kind.make(self.topology, self.constraints, self.options)
        state, at = initial(policy), 0
        for index, new in (*self.changes, (len(self.journal), None)):
            for number in range(at, index):
                state = step(policy, state, self.journal[number], now_s=float(number)).state
            if new is not None:
                state, policy = planned(policy, new, state, self.topology).state, new
            at = index
        return state


SETTINGS = settings(
    max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("name", POLICIES)
def test_any_sequence_with_changes_of_configuration(name: str) -> None:
    class Machine(ChangingMachine):
        kind: Any = POLICIES[name]

    run_state_machine_as_test(Machine, settings=SETTINGS)
