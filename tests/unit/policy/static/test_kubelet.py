from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.config.faults import ConfigFaults
from crirm.config.load import load
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.workload import ContainerKey
from crirm.policy.static.kubelet import kubelet_choice
from crirm.policy.static.options import KubeletOptions, OptionsError
from tests.unit.policy.static.support import Node

KEYS = {field.metadata["key"]: field.name for field in attrs.fields(KubeletOptions)}
VECTORS = [
    tuple(cell.strip() for cell in line.split("|"))
    for line in Path(__file__).with_name("kubelet.txt").read_text().splitlines()
    if not line.startswith("#")
]


def kubelet(*keys: str) -> KubeletOptions:
    return KubeletOptions(**{KEYS[key]: True for key in keys})


@pytest.mark.parametrize(
    ("host", "option", "free", "count", "cpus"),
    [pytest.param(*vector, id=f"{vector[1]}: {vector[3]} of {vector[2]} on {vector[0]}") for vector in VECTORS],
)
def test_what_the_kubelet_takes(host: str, option: str, free: str, count: str, cpus: str) -> None:
    options = kubelet("strict-cpu-reservation") if option == "packed" else kubelet(*option.split(","))
    choice = kubelet_choice(topology_of(parse_spec(host)), options)
    assert choice is not None
    assert str(choice.take(CPUSet.parse(free), int(count))) == cpus


def test_there_are_vectors_for_every_option_that_takes_cpus() -> None:
    assert {vector[1] for vector in VECTORS} == {
        "packed",
        "prefer-align-cpus-by-uncorecache",
        "distribute-cpus-across-cores",
        "distribute-cpus-across-numa",
        "distribute-cpus-across-numa,full-pcpus-only",
    }


@pytest.mark.parametrize(
    ("free", "count", "cpus"),
    [
        pytest.param("0-31", 4, "0-1,16-17", id="the first package has room"),
        pytest.param("0-2,4-5,8-15", 6, "8-13", id="the first has too few"),
        pytest.param("0-2,4-5,8-9,12-14", 9, "0-2,4-5,8-9,12-13", id="no package has enough"),
        pytest.param("0-31", 20, "0-9,16-25", id="more than a package"),
    ],
)
def test_cpus_aligned_by_socket(free: str, count: int, cpus: str) -> None:
    """Packages have CPUs 0-7 and 16-23, 8-15 and 24-31, in two NUMA nodes each."""
    choice = kubelet_choice(topology_of(parse_spec("2p.2n.4c.2t")), kubelet("align-by-socket"))
    assert choice is not None
    assert str(choice.take(CPUSet.parse(free), count)) == cpus


def test_the_kubelet_would_search_for_ever_where_groups_do_not_divide() -> None:
    choice = kubelet_choice(
        topology_of(parse_spec("1p.4n.4c.2t")), kubelet("distribute-cpus-across-numa", "full-pcpus-only")
    )
    assert choice is not None
    assert str(choice.take(CPUSet.parse("1-7,9-27,29-30"), 22)) == "1-6,9-11,13-14,17-22,25-27,29-30"


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (("full-pcpus-only", "distribute-cpus-across-cores"), "full-pcpus-only and distribute-cpus-across-cores"),
        (
            ("distribute-cpus-across-numa", "distribute-cpus-across-cores"),
            "distribute-cpus-across-numa and distribute-cpus-across-cores",
        ),
        (
            ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores"),
            "prefer-align-cpus-by-uncorecache and distribute-cpus-across-cores",
        ),
        (
            ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"),
            "prefer-align-cpus-by-uncorecache and distribute-cpus-across-numa",
        ),
    ],
    ids=" and ".join,
)
def test_options_that_the_kubelet_rejects_together_are_rejected_when_read(pair: tuple[str, str], reason: str) -> None:
    inner = ", ".join(f"{key}: true" for key in pair)
    text = (
        f"policy: {{Active: static, ReservedResources: {{CPU: 1}}, static: {{CPUManagerPolicyOptions: {{{inner}}}}}}}"
    )
    with pytest.raises(ConfigFaults) as caught:
        load(text.encode(), "test")
    (fault,) = caught.value.faults
    assert fault.reason == f"{reason} exclude each other, as in the kubelet; set one of them to false"
    assert fault.path == "$.policy.static.CPUManagerPolicyOptions"


@pytest.mark.parametrize(
    ("host", "key", "reason"),
    [
        ("2p.0n.4c", "align-by-socket", "more packages (2) than NUMA nodes with CPUs (1)"),
        ("2p.8n.2c", "distribute-cpus-across-numa", "at most 8 NUMA nodes with CPUs, and this machine has 16"),
        ("2p.8n.2c", "align-by-socket", "at most 8 NUMA nodes with CPUs, and this machine has 16"),
    ],
)
def test_options_that_do_not_fit_the_machine_are_rejected(host: str, key: str, reason: str) -> None:
    with pytest.raises(OptionsError, match=key) as caught:
        kubelet_choice(topology_of(parse_spec(host)), kubelet(key))
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; set it to false")


def test_without_any_option_the_policy_chooses_itself() -> None:
    assert kubelet_choice(topology_of(parse_spec("1p.4c.2t")), KubeletOptions()) is None


# --- full-pcpus-only ----------------------------------------------------------------------------------------------


def test_a_request_that_is_not_of_whole_cores_is_refused_with_the_next_that_is() -> None:
    node = Node("1p.6c.2t", kubelet=kubelet("full-pcpus-only"))
    with pytest.raises(RefusedError, match="which are not whole cores of 2 threads") as caught:
        node.add("a", 3000)
    assert caught.value.code is RefusalCode.NOT_WHOLE_CORES
    assert caught.value.message.endswith("so request 4")


def test_the_sibling_of_a_reserved_cpu_is_nobodys_alone() -> None:
    node = Node("1p.3c.2t", kubelet=kubelet("full-pcpus-only"))
    node.add("a", 4000)
    with pytest.raises(RefusedError, match="only 0 of whole cores are free") as caught:
        node.add("b", 2000)
    assert node.cpus == {"a": "1-2,4-5"}
    assert caught.value.code is RefusalCode.TOO_FEW_EXCLUSIVE_CPUS


def test_a_saved_grant_that_splits_a_core_is_dropped() -> None:
    node = Node("1p.6c.2t", kubelet=kubelet("full-pcpus-only"))
    restored = node.policy.restore({ContainerKey("a"): "1,7", ContainerKey("b"): "2-3"}, node.workload)
    assert restored.dropped == {"b": "CPUs 2-3 are not whole cores, as full-pcpus-only wants"}
    assert list(restored.adjustments) == ["a"]


@st.composite
def switches(draw: st.DrawFn, *keys: str) -> KubeletOptions:
    """Draw options that do not exclude each other; *keys* are set."""
    others = draw(st.sets(st.sampled_from(sorted(KEYS))))
    chosen = {*keys, *others} - {"distribute-cpus-across-cores"}
    if "distribute-cpus-across-numa" in chosen:
        chosen -= {"prefer-align-cpus-by-uncorecache"}
    return kubelet(*chosen)


HOSTS = st.sampled_from(["1p.6c.2t", "2p.2n.3c.2t", "2p.4l.2c.2t", "1p.2n.2l.2c.2t offline=5", "2p.4c.1t", "2p.3c.4t"])


@settings(max_examples=60, deadline=None)
@given(
    host=HOSTS,
    options=switches("full-pcpus-only"),
    reserved=st.sampled_from(["0", "0-2", "1,3"]),
    sizes=st.lists(st.integers(-3, 12), min_size=1, max_size=12),
)
def test_full_pcpus_only_never_splits_a_core(
    host: str, options: KubeletOptions, reserved: str, sizes: list[int]
) -> None:
    """A negative size removes a container; a size may be a resize of one that is there."""
    node = Node(host, reserved, kubelet=options)
    topology = topology_of(parse_spec(host))
    for size in sizes:
        try:
            if size < 0:
                node.remove(sorted(node.cpus)[0]) if node.cpus else None
            elif f"c{size % 3}" in node.cpus:
                node.resize(f"c{size % 3}", 1000 * size)
            else:
                node.add(f"c{size % 3}", 1000 * size)
        except RefusedError:
            continue
        for cpus in node.state.exclusive.values():
            assert all(topology.core_of(cpu) <= cpus for cpu in cpus)


# --- strict-cpu-reservation ---------------------------------------------------------------------------------------


def test_strictly_reserved_cpus_leave_the_shared_pool() -> None:
    node = Node("1p.6c.2t", kubelet=kubelet("strict-cpu-reservation"))
    node.add("a", 100, QoSClass.BURSTABLE)
    assert node.cpus == {"a": "1-11"}
    node.add("b", 2000)
    assert node.cpus == {"a": "2-6,8-11", "b": "1,7"}


def test_the_last_shared_cpu_is_kept_for_those_who_share() -> None:
    node = Node("1p.2c.2t", kubelet=kubelet("strict-cpu-reservation"))
    node.add("a", 100, QoSClass.BURSTABLE)
    with pytest.raises(RefusedError, match="wants the last shared CPUs 1-3, on which 1 container runs") as caught:
        node.add("b", 3000)
    assert caught.value.code is RefusalCode.TOO_FEW_EXCLUSIVE_CPUS
    node.remove("a")
    node.add("b", 3000)
    with pytest.raises(RefusedError, match="wants shared CPUs, but all CPUs are exclusive"):
        node.add("a", 100, QoSClass.BURSTABLE)
    restored = node.policy.restore({ContainerKey("a"): "", ContainerKey("b"): "1-3"}, node.workload)
    assert restored.dropped == {}
    assert str(restored.adjustments[ContainerKey("a")].cpus) == "0", "who runs already is kept off exclusive CPUs"


@settings(max_examples=60, deadline=None)
@given(
    host=HOSTS,
    options=switches("strict-cpu-reservation"),
    reserved=st.sampled_from(["0", "0-2", "1,3"]),
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 6), st.booleans()), min_size=1, max_size=14),
)
def test_strict_reservation_keeps_everybody_off_the_reserved_cpus(
    host: str, options: KubeletOptions, reserved: str, steps: list[tuple[int, int, bool]]
) -> None:
    node = Node(host, reserved, kubelet=options)
    for number, size, guaranteed in steps:
        name = f"c{number}"
        try:
            if size < 0:
                node.remove(name) if name in node.cpus else None
            elif name in node.cpus:
                node.resize(name, 1000 * size)
            else:
                node.add(name, 1000 * size, QoSClass.GUARANTEED if guaranteed else QoSClass.BURSTABLE)
        except RefusedError:
            continue
        for cpus in node.cpus.values():
            assert cpus
            assert CPUSet.parse(cpus).isdisjoint(CPUSet.parse(reserved))
