from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.errors import CrirmError
from crirm.hosts.synthetic import HostSpec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.registry import POLICIES

if TYPE_CHECKING:
    from crirm.policy.api import PolicyDescription


def test_names() -> None:
    assert {"none", "static", "topology-aware", "memtier"} <= set(POLICIES)
    assert all(name == kind.name for name, kind in POLICIES.items())


@pytest.mark.parametrize("kind", POLICIES.values(), ids=list(POLICIES))
def test_every_kind_can_be_shown_and_set_up(kind: PolicyDescription) -> None:
    assert kind.text.endswith(".")
    assert attrs.has(kind.options)
    assert kind.options() == kind.options(), "every option has a default"
    assert all(field.metadata["key"] for field in attrs.fields(kind.options))


@pytest.mark.parametrize("name", sorted(name for name, policy in POLICIES.items() if policy.needs_reserved))
def test_a_machine_that_does_not_fit_is_refused(name: str) -> None:
    kind = POLICIES[name]
    topology = topology_of(HostSpec(cores=4))
    with pytest.raises(CrirmError, match="CPUs 9"):
        kind.make(topology, Constraints(reserved=CPUConstraint(cpus=CPUSet.of(9))), kind.options())
