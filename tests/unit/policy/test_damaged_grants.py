"""Whatever is found in place of a grant, it is dropped, and nothing is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.hosts.synthetic import HostSpec, topology_of
from crirm.model.quantity import MilliCPU
from crirm.model.workload import ContainerKey, Workload
from crirm.policy.api import Choice, Constraints, CPUConstraint
from crirm.policy.registry import POLICIES, make_policy

if TYPE_CHECKING:
    from crirm.policy.api import Json

RESERVED = Constraints(reserved=CPUConstraint(millicpu=MilliCPU(1000)))


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(
    "damaged", [None, True, 3, 1.5, "x", "0-99999999999", [], ["root"], ["root", {}], {}, {"a": 1}]
)
def test_a_damaged_grant_is_dropped(name: str, damaged: Json) -> None:
    policy = make_policy(Choice(name, RESERVED), topology_of(HostSpec(cores=4)))
    restored = policy.restore({ContainerKey("a"): damaged}, Workload())
    assert list(restored.dropped) == ["a"]
    assert (restored.state, restored.adjustments) == (policy.initial(), {})
