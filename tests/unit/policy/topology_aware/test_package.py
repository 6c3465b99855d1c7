from __future__ import annotations

import attrs
import pytest

from crirm.errors import CrirmError
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.policy.api import Constraints, Policy
from crirm.policy.topology_aware import POLICIES
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.topology_aware.support import make_policy, reserve


def test_the_policy_has_two_names() -> None:
    topology = topology_of(parse_spec("1p.2c"))
    for name, kind in zip(("topology-aware", "memtier"), POLICIES, strict=True):
        policy: Policy = kind.make(topology, Constraints(reserved=reserve("1")), kind.options())
        assert (kind.name, policy.name) == (name, name)


def test_options_have_the_keys_of_the_original() -> None:
    made = TopologyAwareOptions()
    keys = {field.metadata["key"]: getattr(made, field.name) for field in attrs.fields(TopologyAwareOptions)}
    assert keys == {
        "PinCPU": True,
        "PinMemory": True,
        "PreferIsolatedCPUs": True,
        "PreferSharedCPUs": False,
        "ReservedPoolNamespaces": ("kube-system",),
        "ColocatePods": False,
        "ColocateNamespaces": False,
        "PlacementScope": "container",
        "CachePools": False,
        "Placement": "spread",
        "NamespacePlacements": {},
    }


def test_a_pattern_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(CrirmError, match="\\[oops"):
        make_policy("1p.2c", options=TopologyAwareOptions(reserved_pool_namespaces=("[oops",)))
