"""Containers on whole machines: what an operator sees, in the order of the rules."""

from __future__ import annotations

import pytest

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalCode, RefusalReason, RefusedError
from crirm.model.workload import TopologyHint
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.topology_aware.support import NS, Node, make_policy

N4C16 = "2p.2n.2c.2t threads=adjacent mem=2Gi"  # four NUMA nodes of two cores with two threads: 0-3, 4-7, 8-11, 12-15
BURSTABLE, BEST_EFFORT = QoSClass.BURSTABLE, QoSClass.BEST_EFFORT


def boot(
    host: str = N4C16, reserved: str = "cpuset:0", options: TopologyAwareOptions | None = None, available: str = ""
) -> Node:
    return Node(make_policy(host, reserved, options, available))


@pytest.mark.parametrize(
    ("cpu", "qos"),
    [
        pytest.param(1000, QoSClass.GUARANTEED, id="one exclusive CPU each"),
        pytest.param(2000, QoSClass.GUARANTEED, id="two exclusive CPUs each"),
        pytest.param(2400, QoSClass.GUARANTEED, id="2400m of shared CPUs each"),
        pytest.param(200, BURSTABLE, id="Burstable"),
        pytest.param(0, BEST_EFFORT, id="BestEffort"),
    ],
)
def test_four_alike_spread_over_four_nodes(cpu: int, qos: QoSClass) -> None:
    node = boot()
    for number in range(4):
        node.add(f"c{number}", cpu, qos=qos)
    assert {node.pool(f"c{number}") for number in range(4)} == {f"NUMA node #{number}" for number in range(4)}


@pytest.mark.parametrize(
    ("cpus", "kind"),
    [
        pytest.param(1, "NUMA node", id="one fits a node"),
        pytest.param(2, "NUMA node", id="two fit a node"),
        pytest.param(3, "NUMA node", id="three fit a node of four"),
        pytest.param(4, "NUMA node", id="four are a whole node"),
        pytest.param(5, "socket", id="five span nodes"),
        pytest.param(7, "socket", id="seven fit a package of eight"),
        pytest.param(8, "socket", id="eight are a whole package"),
        pytest.param(9, "root", id="nine span packages"),
        pytest.param(15, "root", id="all but the reserved one"),
    ],
)
def test_the_smallest_pool_that_holds_a_container(cpus: int, kind: str) -> None:
    node = boot()
    node.add("c", 1000 * cpus)
    assert node.pool("c").startswith(kind)
    assert len(node.grant("c").exclusive) == cpus
    assert "0" not in node.cpus("c").split(",")


def test_shared_cpus_shrink_and_grow_with_exclusive_ones() -> None:
    node = boot()
    for number in range(4):
        node.add(f"shared{number}", 100, qos=BURSTABLE)
    assert (node.cpus("shared0"), node.cpus("shared1")) == ("4-7", "8-11")
    assert set(node.add("pair", 2000).changed) == {"pair", "shared0"}
    assert (node.cpus("pair"), node.cpus("shared0"), node.cpus("shared1")) == ("4-5", "6-7", "8-11")
    assert set(node.remove("pair").changed) == {"shared0"}
    assert node.cpus("shared0") == "4-7"


def test_nobody_is_told_of_what_has_not_changed() -> None:
    node = boot()
    for number in range(4):
        node.add(f"shared{number}", 100, qos=BURSTABLE)
    assert set(node.add("another", 100, qos=BURSTABLE).changed) == {"another"}
    assert not node.remove("another").changed


def test_mixed_containers_follow_the_shared_cpus() -> None:
    node = boot("1p.4c.2t threads=adjacent mem=8Gi")
    node.add("mixed", 1500)
    assert node.cpus("mixed") == "1-7"
    assert str(node.grant("mixed").exclusive) == "1"
    node.add("owner", 2000)
    assert (str(node.grant("owner").exclusive), node.cpus("mixed")) == ("2-3", "1,4-7")
    node.remove("owner")
    assert node.cpus("mixed") == "1-7"


def test_a_shared_container_stays_off_reserved_isolated_and_owned_cpus() -> None:
    node = boot("1p.4c.2t threads=adjacent isolated=6-7")
    node.add("owner", 2000)
    node.add("shared", 100, qos=BURSTABLE)
    assert (node.cpus("owner"), node.cpus("shared")) == ("2-3", "1,4-5")


ISOLATED = f"prefer-isolated-cpus.{NS}"
SHARED = f"prefer-shared-cpus.{NS}"


@pytest.mark.parametrize(
    ("cpu", "annotations", "cpus"),
    [
        pytest.param(1000, {}, "8", id="one isolated CPU by default"),
        pytest.param(1000, {ISOLATED: "false"}, "4", id="or an ordinary one"),
        pytest.param(2000, {}, "4-5", id="several are ordinary"),
        pytest.param(2000, {ISOLATED: "true"}, "8-9", id="or isolated on request"),
        pytest.param(2500, {}, "4-7", id="2500m are shared"),
        pytest.param(2500, {ISOLATED: "true", SHARED: "false"}, "8-11", id="or isolated, and the rest shared"),
        pytest.param(1500, {}, "8,10-11", id="1500m are one isolated CPU, and the rest shared"),
        pytest.param(3000, {ISOLATED: "true"}, "4-6", id="three isolated ones are not there, so ordinary ones"),
        pytest.param(200, {}, "4-7", id="200m are shared"),
    ],
)
def test_isolated_cpus(cpu: int, annotations: dict[str, str], cpus: str) -> None:
    node = boot(N4C16 + " isolated=8-9")
    node.add("c", cpu, annotations=annotations)
    assert cpus == node.cpus("c")


def test_ordinary_cpus_follow_where_isolated_ones_are_used_up() -> None:
    node = boot("1p.4c isolated=3")
    for name in ("a", "b"):
        node.add(name, 1000)
    assert (node.cpus("a"), node.cpus("b")) == ("3", "1")


def test_kube_system_runs_on_reserved_cpus_and_overflows_to_shared_ones() -> None:
    node = boot(reserved="2.25")
    assert str(node.policy.machine.root.reserved) == "0-2"
    node.add("dns", 2000, qos=BURSTABLE, namespace="kube-system")
    node.add("agent", qos=BEST_EFFORT, namespace="kube-system")
    overflow = node.add("proxy", 1500, qos=BURSTABLE, namespace="kube-system")
    assert (node.cpus("dns"), node.cpus("agent"), node.cpus("proxy")) == ("0-2", "0-2", "3-15")
    assert overflow.trail
    assert "only 1 of the reserved CPUs is left" in overflow.trail.notes[0]
    assert node.pool("proxy") == "root"


@pytest.mark.parametrize(
    ("namespace", "annotations", "cpus"),
    [
        pytest.param("kube-system", {}, "0", id="kube-system always"),
        pytest.param("infra", {}, "0", id="a named namespace"),
        pytest.param("team-a-system", {}, "0", id="a pattern"),
        pytest.param("default", {}, "4-7", id="no other"),
        pytest.param("default", {f"prefer-reserved-cpus.{NS}": "true"}, "0", id="opted in"),
        pytest.param("infra", {f"prefer-reserved-cpus.{NS}/container.c": "false"}, "4-7", id="opted out"),
        pytest.param("kube-system", {f"prefer-reserved-cpus.{NS}": "false"}, "1-15", id="kube-system opted out"),
    ],
)
def test_reserved_namespaces(namespace: str, annotations: dict[str, str], cpus: str) -> None:
    node = boot(options=TopologyAwareOptions(reserved_pool_namespaces=("infra", "team-*-system")))
    node.add("c", 500, qos=BURSTABLE, namespace=namespace, annotations=annotations)
    assert cpus == node.cpus("c")


def test_available_cpus_bound_everybody() -> None:
    node = boot(available="cpuset:4-11", reserved="cpuset:4")
    for number in range(4):
        node.add(f"c{number}", qos=BEST_EFFORT)
    assert {node.cpus(f"c{number}") for number in range(4)} == {"5-7", "8-11"}


@pytest.mark.parametrize(
    ("annotation", "same"),
    [pytest.param("affinity", True, id="affinity"), pytest.param("anti-affinity", False, id="anti-affinity")],
)
def test_affinity(annotation: str, same: bool) -> None:
    node = boot()
    node.add("first", 200, qos=BURSTABLE, pod="pair", annotations={f"{NS}/{annotation}": "second: [first]"})
    node.add("other", 200, qos=BURSTABLE)
    node.add("second", 200, qos=BURSTABLE, pod="pair")
    assert same == (node.pool("first") == node.pool("second"))


def test_affinity_to_whoever_has_no_grant_counts_for_nothing() -> None:
    node = boot()
    node.add("first", 200, qos=BURSTABLE, pod="pair", annotations={f"{NS}/affinity": "second: [first]"})
    node.remove("first")
    node.add("second", 200, qos=BURSTABLE, pod="pair")
    assert node.pool("second") == "NUMA node #1"


def test_containers_of_a_pod_together_by_option() -> None:
    node = boot(options=TopologyAwareOptions(colocate_pods=True))
    for number in range(3):
        node.add(f"c{number}", 100, qos=BURSTABLE, pod="pod")
    assert len({node.pool(f"c{number}") for number in range(3)}) == 1


@pytest.mark.parametrize(
    ("hint", "annotations", "pool"),
    [
        pytest.param(TopologyHint("/sys/x", nodes=NodeSet.of(3)), {}, "NUMA node #3", id="near the device"),
        pytest.param(TopologyHint("/sys/x", cpus=CPUSet.parse("8-11")), {}, "NUMA node #2", id="by its CPUs"),
        pytest.param(TopologyHint("/sys/x", packages=frozenset({1})), {}, "socket #1", id="by its package"),
        pytest.param(
            TopologyHint("/sys/x", nodes=NodeSet.of(3)),
            {f"topologyhints.{NS}": "false"},
            "NUMA node #1",
            id="unless the pod does not want that",
        ),
        pytest.param(TopologyHint("kubelet", nodes=NodeSet.of(3)), {}, "NUMA node #1", id="the kubelet's own is none"),
    ],
)
def test_hints(hint: TopologyHint, annotations: dict[str, str], pool: str) -> None:
    node = boot()
    node.add("c", 500, qos=BURSTABLE, hints=(hint,), annotations=annotations)
    assert pool == node.pool("c")


@pytest.mark.parametrize(
    ("kinds", "mems"),
    [
        pytest.param(None, "1,3", id="any"),
        pytest.param("dram", "1", id="DRAM"),
        pytest.param("pmem", "3", id="PMEM"),
        pytest.param("hbm", "2", id="HBM"),
        pytest.param("mixed", "0-3", id="all kinds are only in the root"),
        pytest.param("dram, PMEM", "1,3", id="a list"),
        pytest.param("cxl", "1", id="what is not there is DRAM"),
    ],
)
def test_memory_kinds(kinds: str | None, mems: str) -> None:
    node = boot("2p.4c mem=8Gi hbm=2Gi@0 pmem=32Gi@1", "cpuset:0-2")
    node.add("c", 500, 1, qos=BURSTABLE, annotations={f"memory-type.{NS}": kinds} if kinds else {})
    assert mems == node.mems("c")


def test_memory_decides_where_cpus_do_not() -> None:
    node = boot()
    node.add("big", 500, 3)
    assert (node.pool("big"), node.mems("big")) == ("socket #1", "2-3")
    node.add("huge", 500, 5)
    assert (node.pool("huge"), node.mems("huge")) == ("root", "0-3")


def test_limits_beyond_the_machine_cost_no_nearness() -> None:
    node = boot("2p.4c mem=8Gi", "cpuset:0")
    for number in range(12):
        node.add(f"c{number}", 100, 0.5, limit=4, qos=BURSTABLE)
    assert {node.pool(f"c{number}") for number in range(12)} >= {"socket #0", "socket #1"}
    assert sum(node.pool(f"c{number}") == "root" for number in range(12)) < 3
    assert {node.mems(f"c{number}") for number in range(12)} == {"0-1"}


def test_whoever_is_at_risk_is_lifted_and_comes_down_again() -> None:
    node = boot("1p.2n.4c mem=2Gi", "cpuset:0")
    node.add("w1", 500, 1)
    node.add("w2", 500, 0.5)
    assert (node.mems("w1"), node.mems("w2")) == ("1", "0")
    lifting = node.add("w3", 3600, 1.5)
    assert node.pool("w3") == "socket #0"
    assert (node.mems("w1"), node.mems("w2"), node.mems("w3")) == ("0-1", "0-1", "0-1")
    assert lifting.trail
    assert [(move.key, move.what, move.before, move.after) for move in lifting.trail.moves] == [
        ("w2", "memory nodes", "0", "0-1"),
        ("w1", "memory nodes", "1", "0-1"),
    ]
    assert set(node.remove("w3").changed) == {"w1", "w2"}
    assert (node.mems("w1"), node.mems("w2")) == ("1", "0")


@pytest.mark.parametrize(
    ("options", "cpus", "mems", "shares"),
    [
        pytest.param(TopologyAwareOptions(pin_cpu=False), None, NodeSet.of(1), None, id="CPUs are left alone"),
        pytest.param(TopologyAwareOptions(pin_memory=False), CPUSet.of(4, 5), None, 2048, id="memory is left alone"),
    ],
)
def test_pinning_is_optional(
    options: TopologyAwareOptions, cpus: CPUSet | None, mems: NodeSet | None, shares: int | None
) -> None:
    node = boot(options=options)
    node.add("shared", 3000, 0.5, qos=BURSTABLE, annotations={f"{NS}/affinity": "shared: [c]"})
    node.remove("shared")
    placement = node.add("c", 2000, 0.5)
    adjustment = node.has[next(iter(placement.changed))]
    assert (cpus, mems, shares) == (adjustment.cpus, adjustment.mems, adjustment.cpu_shares)


def test_nobody_is_told_of_cpus_that_are_not_pinned() -> None:
    node = boot("1p.8c", options=TopologyAwareOptions(pin_cpu=False))
    node.add("shared", 100, qos=BURSTABLE)
    assert set(node.add("owner", 2000).changed) == {"owner"}


def test_a_machine_without_numa_and_known_memory() -> None:
    node = boot("1p.0n.4c mem=0")
    node.add("c", 2000, 4)
    assert (node.cpus("c"), node.has[next(iter(node.has))].mems) == ("1-2", None)


def test_performance_cores_are_owned_before_efficiency_cores() -> None:
    node = boot("1p.2c.2t threads=adjacent ecores=4", "cpuset:7")
    node.add("owner", 2000)
    node.add("shared", 100, qos=BURSTABLE)
    assert (node.cpus("owner"), node.cpus("shared")) == ("0-1", "2-6")


@pytest.mark.parametrize(
    ("host", "cpu", "memory", "about", "message", "code"),
    [
        pytest.param(
            N4C16,
            16000,
            0,
            {},
            "default/pod-c/c wants 16 exclusive CPUs, but no pool has enough: root, the best one, has 15 to spare",
            RefusalCode.TOO_FEW_EXCLUSIVE_CPUS,
            id="exclusive CPUs",
        ),
        pytest.param(
            N4C16,
            15100,
            0,
            {"qos": BURSTABLE},
            "default/pod-c/c wants 15100m of shared CPUs, but no pool has enough: root, the best one, has 15 left",
            RefusalCode.TOO_LITTLE_SHARED_CPU,
            id="shared CPUs",
        ),
        pytest.param(
            N4C16,
            1000,
            9,
            {},
            "default/pod-c/c wants 9Gi of any memory, which is 1Gi more than is left",
            RefusalCode.TOO_LITTLE_MEMORY,
            id="memory",
        ),
        pytest.param(
            "1p.4c mem=8Gi pmem=2Gi",
            1000,
            3,
            {"annotations": {f"memory-type.{NS}": "pmem"}},
            "default/pod-c/c wants 3Gi of PMEM memory, which is 1Gi more than is left",
            RefusalCode.TOO_LITTLE_MEMORY,
            id="one kind of memory",
        ),
    ],
)
def test_refusals_say_what_is_missing(
    host: str, cpu: int, memory: float, about: dict[str, object], message: str, code: RefusalCode
) -> None:
    node = boot(host)
    with pytest.raises(RefusedError) as refused:
        node.add("c", cpu, memory, **about)  # type: ignore[arg-type]
    assert refused.value.reason is RefusalReason.NO_ROOM
    assert (message, code) == (refused.value.message, refused.value.code)


def test_an_annotation_that_makes_no_sense_is_refused() -> None:
    node = boot()
    with pytest.raises(RefusedError, match="prefer-shared-cpus") as refused:
        node.add("c", 1000, annotations={SHARED: "perhaps"})
    assert refused.value.reason is RefusalReason.BAD_REQUEST


def test_a_container_has_one_grant() -> None:
    node = boot()
    node.add("c", 1000)
    with pytest.raises(RefusedError, match="already has a grant") as refused:
        node.add("c", 1000)
    assert refused.value.code is RefusalCode.ALREADY_PLACED
