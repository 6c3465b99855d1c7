"""Which mode counts for a container, and what it does."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.errors import CrirmError
from crirm.model.cpuset import NodeSet
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.workload import TopologyHint
from crirm.policy.topology_aware.modes import Mode, check_namespace_mode, make_modes, mode_of
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.topology_aware.support import NS, PATIENT, Node, make_policy, trail_of

HOST = "2p.2n.4c mem=8Gi"  # four NUMA nodes of four CPUs: 0-3, 4-7, 8-11, 12-15
ANNOTATION = f"placement.{NS}"


def boot(mode: str = "spread", host: str = HOST, namespaces: dict[str, str] | None = None) -> Node:
    options = TopologyAwareOptions(placement=mode, namespace_placements=namespaces or {})
    return Node(make_policy(host, "cpuset:0", options))


@pytest.mark.parametrize(
    ("patterns", "namespace", "mode"),
    [
        pytest.param({}, "shop", "spread", id="the default"),
        pytest.param({"shop": "pack"}, "shop", "pack", id="by name"),
        pytest.param({"sh*": "pack"}, "shop", "pack", id="by pattern"),
        pytest.param({"other*": "pack"}, "shop", "spread", id="another pattern"),
        pytest.param({"*": "balanced", "sh*": "pack"}, "shop", "pack", id="the longest pattern"),
        pytest.param({"shop-front*": "balanced", "shop": "pack"}, "shop", "pack", id="a name first"),
        pytest.param({"sho?": "balanced", "sho*": "pack"}, "shop", "pack", id="the first in the alphabet"),
    ],
)
def test_the_mode_of_a_namespace(patterns: dict[str, str], namespace: str, mode: str) -> None:
    for order in itertools.permutations(patterns.items()):
        assert make_modes("spread", dict(order)).of(namespace) is Mode(mode)


@pytest.mark.parametrize("pair", [("[oops", "pack"), ("shop", "tight")])
def test_what_is_no_pattern_or_mode_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(CrirmError, match=r"\[oops|spread, pack or balanced"):
        check_namespace_mode(pair)


def test_what_is_no_mode_is_named() -> None:
    with pytest.raises(CrirmError, match="'tight' is no placement; write spread, pack or balanced"):
        mode_of("tight")


@pytest.mark.parametrize(
    ("annotations", "pool"),
    [
        pytest.param({}, "NUMA node #0", id="the namespace says pack"),
        pytest.param({ANNOTATION: "spread"}, "NUMA node #1", id="the pod says spread"),
        pytest.param({ANNOTATION: "spread", f"{ANNOTATION}/container.c": "pack"}, "NUMA node #0", id="its container"),
    ],
)
def test_the_annotation_comes_before_the_namespace_and_that_before_the_option(
    annotations: dict[str, str], pool: str
) -> None:
    node = boot("balanced", namespaces={"def*": "pack"})
    node.add("c", 1000, annotations=annotations)
    assert node.pool("c") == pool


def test_an_annotation_that_is_no_mode_is_refused() -> None:
    with pytest.raises(
        RefusedError, match=r"placement.*'tight' is none of its values; write spread, pack or"
    ) as refused:
        boot().add("c", 1000, annotations={ANNOTATION: "tight"})
    assert refused.value.code is RefusalCode.BAD_ANNOTATION


@pytest.mark.parametrize(
    ("mode", "sizes", "pools"),
    [
        pytest.param("spread", [2, 2, 2, 1], [1, 2, 3, 0], id="spread: the emptiest"),
        pytest.param("pack", [2, 2, 2, 1], [0, 1, 1, 0], id="pack: the fullest that holds it"),
        pytest.param("balanced", [2, 2, 2, 1], [1, 2, 0, 1], id="balanced: a whole node stays as long as it can"),
        pytest.param("pack", [3, 4, 3, 1], [0, 1, 2, 2], id="pack: to the last CPU"),
    ],
)
def test_exclusive_cpus(mode: str, sizes: list[int], pools: list[int]) -> None:
    node = boot(mode)
    for number, cpus in enumerate(sizes):
        node.add(f"c{number}", 1000 * cpus)
    assert [node.pool(f"c{number}") for number in range(len(sizes))] == [f"NUMA node #{pool}" for pool in pools]


def test_pack_keeps_shared_containers_together() -> None:
    node = boot("pack")
    for number in range(4):
        node.add(f"s{number}", 500, qos=QoSClass.BURSTABLE)
    node.add("idle", qos=QoSClass.BEST_EFFORT)
    assert {node.pool(name) for name in ("s0", "s1", "s2", "s3", "idle")} == {"NUMA node #0"}
    assert trail_of(node.add("c", 1000)).chosen == "NUMA node #0"


def test_pack_prefers_one_cache_then_few_cores() -> None:
    node = boot("pack", "1p.2n.2l.2c.2t threads=adjacent")  # nodes of two caches with two cores of two CPUs
    node.add("a", 3000)
    node.add("b", 4000, annotations={ANNOTATION: "spread"})
    assert (node.cpus("a"), node.cpus("b")) == ("1-3", "8-11")
    node.add("d", 4000)
    assert node.cpus("d") == "4-7"


@pytest.mark.parametrize(
    ("mode", "pool", "nodes"),
    [
        pytest.param("spread", "socket #1", 1, id="spread: more CPUs left"),
        pytest.param("pack", "socket #1", 1, id="pack: not the fuller socket"),
        pytest.param("balanced", "socket #1", 1, id="balanced: not the one that leaves the larger room"),
    ],
)
def test_cpus_are_whole_in_a_node_whose_memory_is_short(mode: str, pool: str, nodes: int) -> None:
    """Node 2 has three CPUs and 1 GiB left; the others have two each, in which three would be spread."""
    node = boot(mode)
    topology = node.policy.machine.topology
    for number, (cpus, memory) in enumerate(((1, 0.5), (2, 0.5), (1, 7), (2, 0.5))):
        near = topology.node(number).cpus
        node.add(f"u{number}", 1000 * cpus, memory, hints=(TopologyHint("/sys/x", cpus=near),))
    node.add("c", 3000, 4)
    homes = [one.id for one in topology.nodes if not one.cpus.isdisjoint(node.grant("c").exclusive)]
    assert (node.pool("c"), len(homes)) == (pool, nodes)


@pytest.mark.parametrize("mode", ["spread", "pack", "balanced"])
def test_one_node_comes_before_whole_cores(mode: str) -> None:
    """Node 1 has three threads of different cores, and too little memory; node 0 has a whole core and no more."""
    node = boot(mode, "1p.2n.4c.2t threads=adjacent mem=4Gi")
    low, high = ((TopologyHint("/sys/x", nodes=NodeSet([number])),) for number in (0, 1))
    node.add("low", 5000, hints=low)
    for number in range(8):
        node.add(f"c{number}", 1000, 0.7 if number % 2 else 0, hints=high)
    for number in (0, 2, 4):
        node.remove(f"c{number}")
    node.add("c", 3000, 2)
    assert (node.pool("c"), node.cpus("c")) == ("socket #0", "8,10,12")


FREE = st.lists(st.integers(0, 4), min_size=4, max_size=4)


@PATIENT
@given(used=FREE, count=st.integers(1, 15))
def test_a_container_has_cpus_of_as_few_nodes_as_possible(used: list[int], count: int) -> None:
    """Beside brute force: all ways of choosing nodes."""
    node = boot("pack")
    topology = node.policy.machine.topology
    for number, cpus in enumerate(used):
        if cpus - (number == 0) > 0:
            near = topology.node(number).cpus
            node.add(f"u{number}", 1000 * (cpus - (number == 0)), hints=(TopologyHint("/sys/x", cpus=near),))
    sharable = node.policy.machine.root.sharable
    free = [len((one.cpus & sharable) - node.state.taken) for one in topology.nodes]
    if sum(free) < count:
        return
    node.add("c", 1000 * count)
    own = node.grant("c").exclusive
    touched = [number for number, one in enumerate(topology.nodes) if not one.cpus.isdisjoint(own)]
    socket = next(pool.cpus for pool in node.policy.machine.pools if pool.name == node.pool("c"))
    able = [number for number, one in enumerate(topology.nodes) if one.cpus <= socket]
    fewest = min(
        size
        for size in range(1, 5)
        if any(sum(free[number] for number in some) >= count for some in itertools.combinations(able, size))
    )
    assert len(touched) == fewest
