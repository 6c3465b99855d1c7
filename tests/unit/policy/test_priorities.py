from __future__ import annotations

import pytest
from hypothesis import given, settings

from crirm.hosts.synthetic import HostSpec, parse_spec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.policy.priorities import Priorities, Priority, priorities_of
from tests.unit.hosts.host_specs import host_specs


@pytest.mark.parametrize(
    ("host", "high", "normal", "low"),
    [
        pytest.param("1p.4c", "", "0-3", "", id="nothing known: all normal"),
        pytest.param("1p.4c base=2GHz", "", "0-3", "", id="one base frequency tells nothing"),
        pytest.param(
            "1p.4c base=2GHz base=3GHz@1", "1", "", "0,2-3", id="the lowest base frequency is low, others high"
        ),
        pytest.param(
            "1p.6c base=2GHz base=3GHz@1 base=4GHz@2", "1-2", "", "0,3-5", id="of three base frequencies two are high"
        ),
        pytest.param("1p.4c base=3GHz@1 base=2GHz@0", "1", "2-3", "0", id="an unknown base frequency is normal"),
        pytest.param("2p.2c base=2GHz@0-1 base=3GHz@2-3", "", "0-3", "", id="packages are not compared"),
        pytest.param(
            "2p.2c base=2GHz base=3GHz@3", "3", "0-1", "2", id="a package where frequencies differ beside one where not"
        ),
        pytest.param("1p.4c epp=balance_power epp=balance_performance@2", "2", "", "0-1,3", id="the worst EPP is low"),
        pytest.param("1p.4c epp=64 epp=power@2", "0-1,3", "", "2", id="a number is an EPP too"),
        pytest.param("1p.4c epp=default epp=power@2", "", "0-3", "", id="an EPP that ranks nowhere tells nothing"),
        pytest.param(
            "1p.4c base=2GHz base=3GHz@1 epp=power epp=performance@0", "0", "", "1-3", id="EPP overrides base frequency"
        ),
        pytest.param("1p.4c base=2GHz base=3GHz@1 epp=power", "1", "", "0,2-3", id="one EPP overrides nothing"),
        pytest.param("1p.2c.2t ecores=2 threads=adjacent", "", "0-3", "4-5", id="efficiency cores are low"),
        pytest.param(
            "1p.2c.2t ecores=2 threads=adjacent base=2GHz base=3GHz@4-5",
            "",
            "",
            "0-5",
            id="efficiency cores are low at any frequency",
        ),
    ],
)
def test_classes(host: str, high: str, normal: str, low: str) -> None:
    expected = Priorities(*map(CPUSet.parse, (high, normal, low)))
    assert expected == priorities_of(topology_of(parse_spec(host)))


def test_speed_select_decides_for_the_packages_that_it_names() -> None:
    topology = topology_of(parse_spec("2p.4c base=2GHz base=3GHz@0,4"))
    speed_select = Priorities(high=CPUSet.parse("1"), low=CPUSet.parse("2"))
    found = priorities_of(topology, speed_select)
    assert Priorities(CPUSet.parse("1,4"), CPUSet.parse("0,3"), CPUSet.parse("2,5-7")) == found


def test_no_cpu_has_no_preference() -> None:
    found = priorities_of(topology_of(parse_spec("1p.4c")))
    assert [CPUSet(), CPUSet.parse("0-3"), CPUSet(), CPUSet()] == [found.of(priority) for priority in Priority]


@settings(max_examples=50)
@given(host_specs())
def test_every_online_cpu_has_one_class(spec: HostSpec) -> None:
    topology = topology_of(spec)
    found = priorities_of(topology)
    assert topology.online == found.high | found.normal | found.low
    assert len(topology.online) == len(found.high) + len(found.normal) + len(found.low)
