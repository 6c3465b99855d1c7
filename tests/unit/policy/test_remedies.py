"""The smallest changes that fit: they are true, they are the smallest, and finding them costs little."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.events import ContainerRequested, PodAdded, ResizeRequested
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.refusal import REASONS, RefusalCode, RefusalReason, RefusedError
from crirm.model.remedy import Remedy, less, remedied
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId, TopologyHint
from crirm.policy import pipeline
from crirm.policy.api import Constraints, CPUConstraint, Policy
from crirm.policy.registry import POLICIES
from crirm.policy.remedies import MOST_TRIES, remedies
from crirm.policy.static.options import KubeletOptions, StaticOptions

NS = "cri-resource-manager.intel.com"
GIB = 1 << 30
HOST = "2p.4c mem=4Gi,4Gi"
FAR = (TopologyHint("/sys/disk", nodes=NodeSet.of(0)), TopologyHint("/sys/card", nodes=NodeSet.of(1)))


def policy(host: str = HOST, name: str = "topology-aware") -> Policy:
    kind = POLICIES[name]
    reserved = Constraints(reserved=CPUConstraint(millicpu=MilliCPU(1000)))
    return kind.make(topology_of(parse_spec(host)), reserved, kind.options())


def needs(qos: QoSClass, cpu: int, memory: int) -> Requirements:
    asked = Bytes(memory)
    if qos is QoSClass.GUARANTEED:
        return Requirements(MilliCPU(cpu), MilliCPU(cpu), asked, asked or None)
    return Requirements(MilliCPU(cpu), None, asked)


@attrs.define
class Node:
    """A policy, its state, and pods of one container each."""

    policy: Policy
    state: Any = attrs.field(default=attrs.Factory(lambda self: pipeline.initial(self.policy), takes_self=True))
    asked: Container | None = None
    """The last one."""

    def pod(self, name: str, qos: QoSClass, annotations: dict[str, str] | None = None) -> PodId:
        pod = Pod(PodId(name), name, name, "default", qos, annotations=annotations or {})
        self.state = pipeline.step(self.policy, self.state, PodAdded(pod), 0.0).state
        return pod.id

    def ask(
        self,
        name: str,
        cpu: int,
        memory: float = 0,
        qos: QoSClass = QoSClass.GUARANTEED,
        annotations: dict[str, str] | None = None,
        hints: tuple[TopologyHint, ...] = (),
    ) -> RefusedError | None:
        wanted = needs(qos, cpu, round(memory * GIB))
        pod = self.pod(name, qos, annotations)
        container = Container(ContainerKey(name), pod, "c", ContainerState.CREATING, wanted, hints=hints)
        decision = pipeline.step(self.policy, self.state, ContainerRequested(container), 0.0)
        self.state, self.asked = decision.state, container
        return decision.refusal

    def fits(self, remedy: Remedy) -> bool:
        """Tell whether the last container would be placed with the change, by really asking for it."""
        assert self.asked is not None
        changed, pod = remedied(remedy, self.asked, self.state.workload.pod_of(self.asked))
        state = pipeline.step(self.policy, self.state, PodAdded(pod), 0.0).state
        return pipeline.step(self.policy, state, ContainerRequested(changed), 0.0).refusal is None


def texts(refusal: RefusedError | None) -> list[str]:
    assert refusal is not None
    return [remedy.text for remedy in refusal.remedies]


@pytest.mark.parametrize(
    ("cpu", "memory", "about", "code", "ways"),
    [
        pytest.param(
            9000, 1, {}, RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, ["with 3 CPUs fewer"], id="CPUs that nobody else has"
        ),
        pytest.param(
            7000,
            1,
            {},
            RefusalCode.TOO_FEW_EXCLUSIVE_CPUS,
            ["with 1 CPU fewer", 'with prefer-shared-cpus: "true"'],
            id="to share CPUs",
        ),
        pytest.param(
            7500,
            1,
            {"qos": QoSClass.BURSTABLE},
            RefusalCode.TOO_LITTLE_SHARED_CPU,
            ["with 500m less CPU"],
            id="shared CPUs",
        ),
        pytest.param(1000, 9, {}, RefusalCode.TOO_LITTLE_MEMORY, ["with 1Gi less memory"], id="memory"),
        pytest.param(
            1000,
            8.25,
            {"qos": QoSClass.BURSTABLE},
            RefusalCode.TOO_LITTLE_MEMORY,
            ["with 256Mi less memory"],
            id="a promise of memory",
        ),
        pytest.param(
            9000,
            9,
            {},
            RefusalCode.TOO_LITTLE_MEMORY,
            ["with 3 CPUs fewer and 1Gi less memory"],
            id="CPU and memory",
        ),
        pytest.param(
            1000,
            1,
            {"annotations": {f"topologyhints.{NS}/pod": "strict"}, "hints": FAR},
            RefusalCode.NOT_NEAR_DEVICES,
            ["without topologyhints: strict"],
            id="strict hints",
        ),
    ],
)
def test_what_would_fit(cpu: int, memory: float, about: dict[str, Any], code: RefusalCode, ways: list[str]) -> None:
    node = Node(policy())
    assert node.ask("other", 0, qos=QoSClass.BEST_EFFORT) is None
    refusal = node.ask("x", cpu, memory, **about)
    assert refusal is not None
    assert (refusal.code, texts(refusal)) == (code, ways)


def test_where_only_whole_cores_are_given_an_even_number_is_found() -> None:
    options = StaticOptions(kubelet=KubeletOptions(full_pcpus_only=True))
    reserved = Constraints(reserved=CPUConstraint(cpus=CPUSet.parse("0-1")))
    node = Node(POLICIES["static"].make(topology_of(parse_spec("1p.8c.2t")), reserved, options))
    odd, even = node.ask("odd", 9000), node.ask("even", 26000)
    assert odd is not None
    assert even is not None
    assert (odd.code, texts(odd)) == (RefusalCode.NOT_WHOLE_CORES, ["with 1 CPU fewer"])
    assert (even.code, texts(even)) == (RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, ["with 14 CPUs fewer"])


def test_another_kind_of_memory_would_fit() -> None:
    node = Node(policy("1p.4c mem=8Gi hbm=1Gi"))
    refusal = node.ask("x", 1000, 2, annotations={f"memory-type.{NS}": "hbm"})
    assert texts(refusal) == ["with 1Gi less memory", "without memory-type: hbm"]


def test_of_an_annotation_in_several_forms_all_are_left_out() -> None:
    node = Node(policy("1p.4c mem=8Gi hbm=1Gi"))
    said = {f"memory-type.{NS}/container.c": "hbm", f"memory-type.{NS}": "hbm", f"{NS}/memory-type": "c: hbm"}
    refusal = node.ask("x", 1000, 2, annotations=said)
    assert refusal is not None
    assert dict(refusal.remedies[-1].annotations) == dict.fromkeys(said)


def test_the_sentence_has_the_first_two_and_the_whole_one_all() -> None:
    ways = tuple(Remedy(text) for text in ("with a", "with b", "without c"))
    refusal = RefusedError(RefusalCode.TOO_LITTLE_MEMORY, "no").with_remedies(ways)
    assert str(refusal) == "no; it would fit with a, or with b [too-little-memory]"
    assert refusal.full == "no; it would fit with a, or with b, or without c [too-little-memory]"


def test_a_resize_is_told_what_would_fit() -> None:
    node = Node(policy())
    assert node.ask("x", 2000, 1) is None
    event = ResizeRequested(ContainerKey("x"), LinuxResources(), needs(QoSClass.GUARANTEED, 9000, GIB))
    refusal = pipeline.step(node.policy, node.state, event, 0.0).refusal
    assert texts(refusal) == ["with 2 CPUs fewer"]


def test_an_annotation_that_the_policy_does_not_read_may_be_malformed() -> None:
    node = Node(policy(name="static"))
    nonsense = {f"{key}.{NS}": "perhaps" for key in ("topologyhints", "memory-type", "hide-hyperthreads")}
    assert texts(node.ask("x", 9000, annotations=nonsense)) == ["with 2 CPUs fewer"]


@pytest.mark.parametrize("name", ["topology-aware", "static"])
def test_who_is_found_running_is_not_advised(name: str) -> None:
    node = Node(policy(name=name))
    pod = node.pod("x", QoSClass.GUARANTEED)
    container = Container(ContainerKey("x"), pod, "c", ContainerState.RUNNING, needs(QoSClass.GUARANTEED, 9000, 0))
    decision = pipeline.adopt(node.policy, node.state, container, overflow=True)
    assert not re.search("would fit", decision.state.degraded[container.key])


@pytest.mark.parametrize("code", [code for code in RefusalCode if code is not RefusalCode.TOO_LITTLE_MEMORY])
def test_only_for_want_of_room_anything_is_tried(code: RefusalCode) -> None:
    asked = _Counted()
    node = Node(policy())
    pod = node.pod("x", QoSClass.GUARANTEED)
    container = Container(ContainerKey("x"), pod, "c", ContainerState.CREATING, needs(QoSClass.GUARANTEED, 9000, GIB))
    remedies(asked, None, node.state.workload, container, RefusedError(code, "no"))  # type: ignore[arg-type]
    about_size = REASONS[code] is RefusalReason.NO_ROOM or code is RefusalCode.NOT_WHOLE_CORES
    assert bool(asked.times) == about_size


@pytest.mark.parametrize("cpu", [2000, 999_999, 512_000_000])
@pytest.mark.parametrize("memory", [1 << 20, (1 << 50) - 1, 1 << 62])
@pytest.mark.parametrize("qos", QoSClass)
@pytest.mark.parametrize("fits", [True, False])
def test_tries_are_bounded(cpu: int, memory: int, qos: QoSClass, fits: bool) -> None:
    node = Node(policy())
    pod = node.pod("x", qos, {f"topologyhints.{NS}/pod": "strict", f"memory-type.{NS}": "hbm"})
    container = Container(ContainerKey("x"), pod, "c", ContainerState.CREATING, needs(qos, cpu, memory))
    asked = _Counted(fits)
    refusal = RefusedError(RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, "no")
    remedies(asked, None, node.state.workload, container, refusal)  # type: ignore[arg-type]
    assert 0 < asked.times <= MOST_TRIES


@attrs.define
class _Counted:
    """A policy that counts what is tried; smaller requests fit, or nothing does."""

    yes: bool = True
    times: int = 0

    def fits(self, *_: Any, **__: Any) -> bool:
        self.times += 1
        return self.yes


CPUS = st.sampled_from((100, 500, 1000, 1500, 2000, 2300, 3000, 4000, 6000, 9000, 20000))
MEMORIES = st.sampled_from((0, 0.1, 1, 2, 3.3, 5, 9, 40))
ASKED = st.tuples(CPUS, MEMORIES, st.sampled_from((QoSClass.GUARANTEED, QoSClass.GUARANTEED, QoSClass.BURSTABLE)))
ANNOTATED = st.sampled_from(
    (
        {},
        {f"memory-type.{NS}": "hbm"},
        {f"memory-type.{NS}": "dram"},
        {f"topologyhints.{NS}": "strict"},
        {f"prefer-shared-cpus.{NS}": "false"},
        {f"prefer-isolated-cpus.{NS}": "true"},
        {f"require-isolated-cpus.{NS}": "true"},
        {f"hide-hyperthreads.{NS}": "true"},
    )
)


@pytest.mark.parametrize("name", ["topology-aware", "static"])
@given(
    host=st.sampled_from(("2p.4c mem=4Gi,4Gi hbm=1Gi", "1p.2n.4c.2t isolated=6-7", "1p.2d.2n.2c mem=2Gi,2Gi,2Gi,2Gi")),
    before=st.lists(ASKED, max_size=6),
    asked=ASKED,
    annotations=ANNOTATED,
    hints=st.sampled_from(((), FAR[:1])),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_said_to_fit_fits_and_one_step_less_does_not(
    name: str,
    host: str,
    before: list[tuple[int, float, QoSClass]],
    asked: tuple[int, float, QoSClass],
    annotations: dict[str, str],
    hints: tuple[TopologyHint, ...],
) -> None:
    node = Node(policy(host, name))
    for number, (cpu, memory, qos) in enumerate(before):
        node.ask(f"p{number}", cpu, memory, qos)
    cpu, memory, qos = asked
    refusal = node.ask("x", cpu, memory, qos, annotations, hints if name == "topology-aware" else ())
    for remedy in refusal.remedies if refusal else ():
        assert node.fits(remedy), remedy.text
        if remedy.cpu and not remedy.memory and remedy.cpu > 1000:
            assert not node.fits(less(MilliCPU(remedy.cpu - 1000), Bytes(0))), remedy.text
        if remedy.memory and not remedy.cpu and remedy.memory > 1 << 30:
            smaller = less(MilliCPU(0), Bytes(remedy.memory - (1 << 30)))
            assert not node.fits(smaller), remedy.text
