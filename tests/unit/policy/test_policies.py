"""What holds for every policy that one can choose, however containers come and go."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from crirm.hosts.synthetic import HostSpec, MemoryOnlyNode, topology_of
from crirm.model.claims import CPUClaim
from crirm.model.cpuset import CPUSet
from crirm.model.decision import NO_QUOTA, Decision, UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    CreateFailed,
    Event,
    PodAdded,
    PodRemoved,
    PodStopped,
    ResizeDone,
    ResizeFailed,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
    UpdateFailed,
)
from crirm.model.option import CHECK
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.refusal import RefusalCode, RefusalReason
from crirm.model.remedy import remedied
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.topology import MemoryKind
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.api import Constraints, CPUConstraint, PolicyDescription
from crirm.policy.creation import asked_before
from crirm.policy.pipeline import initial, step
from crirm.policy.registry import POLICIES
from crirm.policy.static.options import OptionsError
from tests.unit.config.strategies import passes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crirm.model.decision import Adjustment, State
    from crirm.model.refusal import RefusedError
    from crirm.model.remedy import Remedy
    from crirm.model.topology import Topology

HOLDING = (ContainerState.CREATING, ContainerState.CREATED, ContainerState.RUNNING)

CPU = st.sampled_from((0, 100, 500, 1000, 1000, 1000, 1500, 2000, 2000, 3000, 7000))
MEMORY = st.sampled_from((0, 1, 64, 300, 1000)).map(lambda mib: Bytes(mib << 20))
NS = "cri-resource-manager.intel.com"
ANNOTATIONS = st.dictionaries(
    st.sampled_from(
        (
            f"prefer-isolated-cpus.{NS}",
            f"prefer-shared-cpus.{NS}/container.c0",
            f"hide-hyperthreads.{NS}",
            f"{NS}/affinity",
        )
    ),
    st.sampled_from(("true", "false", "c0: [c1]")),
    max_size=2,
)
MEMORY_ANNOTATIONS = st.fixed_dictionaries(
    {},
    optional={
        f"memory-type.{NS}": st.sampled_from(("dram", "pmem", "hbm,dram", "mixed", "cxl,dram")),
        f"cold-start.{NS}": st.just("duration: 60s"),
    },
)


def _memory_only(cpu_nodes: int) -> st.SearchStrategy[MemoryOnlyNode]:
    kinds = st.sampled_from((MemoryKind.PMEM, MemoryKind.HBM, MemoryKind.CXL))
    sizes = st.sampled_from((256, 2048)).map(lambda mib: Bytes(mib << 20))
    return st.builds(MemoryOnlyNode, kind=kinds, size=sizes, near=st.integers(0, cpu_nodes - 1))


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Draw a small machine."""
    spec = HostSpec(
        packages=draw(st.sampled_from((1, 2))),
        dies=draw(st.sampled_from((1, 1, 2))),
        nodes=draw(st.sampled_from((1, 1, 2))),
        cores=draw(st.sampled_from((1, 2, 4))),
        threads=draw(st.sampled_from((1, 2, 2))),
        ecores=draw(st.sampled_from((0, 0, 0, 2))),
        memory=(Bytes(draw(st.sampled_from((256, 1024, 4096))) << 20),),
    )
    spec = attrs.evolve(spec, memory_only=tuple(draw(st.lists(_memory_only(spec.cpu_nodes), max_size=2))))
    online = topology_of(spec).online
    isolated = CPUSet.from_mask(draw(st.integers(0, online.mask))) if draw(st.booleans()) else CPUSet()
    return topology_of(attrs.evolve(spec, isolated=isolated & online))


def options_of(kind: PolicyDescription) -> st.SearchStrategy[Any]:
    """Return options with all switches in any position."""
    return _switched(kind.options)


def _switched(options: type) -> st.SearchStrategy[Any]:
    fields = attrs.fields(options)
    switches = {field.name: st.booleans() for field in fields if field.default in (True, False)}
    groups = {field.name: _switched(type(field.default)) for field in fields if attrs.has(type(field.default))}
    checks = {field.name: field.metadata[CHECK] for field in fields if field.name in groups}
    allowed = {name: one.filter(partial(passes, checks[name])) for name, one in groups.items()}
    return st.fixed_dictionaries({**switches, **allowed}).map(lambda chosen: options(**chosen))


def requirements(qos: QoSClass, cpu: int, memory: Bytes) -> Requirements:
    match qos:
        case QoSClass.GUARANTEED:
            return Requirements(MilliCPU(cpu), MilliCPU(cpu), memory, memory or None)
        case QoSClass.BURSTABLE:
            return Requirements(MilliCPU(cpu), None, memory, None)
        case QoSClass.BEST_EFFORT:
            return Requirements()


def differences(
    before: Mapping[ContainerKey, Adjustment], after: Mapping[ContainerKey, Adjustment]
) -> Iterator[tuple[ContainerKey, str, object, object]]:
    for key in before.keys() & after.keys():
        pairs = {"CPUs": (before[key].cpus, after[key].cpus), "memory nodes": (before[key].mems, after[key].mems)}
        # None means to leave what is
        yield from ((key, what, *pair) for what, pair in pairs.items() if pair[1] is not None and pair[0] != pair[1])


def changed_by(remedy: Remedy, event: Event, state: State) -> tuple[Event, Pod]:
    """Return a request as it is with the change that is said to help, and the pod that it is for."""
    match event:
        case ContainerRequested(container):
            changed, pod = remedied(remedy, container, state.workload.pod_of(container))
            return ContainerRequested(changed), pod
        case ResizeRequested(key):
            asked = attrs.evolve(state.workload.containers[key], requirements=event.requirements)
            changed, pod = remedied(remedy, asked, state.workload.pod_of(asked))
            return attrs.evolve(event, requirements=changed.requirements), pod
        case _:
            raise TypeError(f"{event} asks for nothing")


ABOUT_SIZE = {RefusalCode.NOT_WHOLE_CORES}
"""Codes of requests that never fit as they are, but do with another size."""


class PolicyMachine(RuleBasedStateMachine):
    """A node under one policy, seen through the pipeline."""

    kind: PolicyDescription

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[Event] = []
        self.count = 0

    @initialize(topology=topologies(), reserved=st.integers(1, 3), data=st.data())
    def boot(self, topology: Topology, reserved: int, data: st.DataObject) -> None:
        ordinary = topology.online - topology.isolated
        assume(len(ordinary) > reserved)
        self.topology = topology
        self.reserved = CPUSet(sorted(ordinary)[:reserved])
        self.constraints = Constraints(reserved=CPUConstraint(cpus=self.reserved))
        self.options = data.draw(options_of(self.kind))
        try:
            self.policy = self.kind.make(topology, self.constraints, self.options)
        except OptionsError:
            assume(False)  # noqa: FBT003 - hypothesis has no other word for it
        self.state = initial(self.policy)

    def do(self, event: Event) -> Decision:
        before, shown = self.state, repr(self.state.policy)
        decision = step(self.policy, before, event, now_s=float(len(self.journal)))
        assert shown == repr(before.policy), "nothing is changed in place"
        self.journal.append(event)
        self.state = decision.state
        if decision.refusal is not None:
            assert str(decision.refusal)
            assert before == self.state, "what is refused leaves the state as it was"
            assert decision.effects == ()
            self.everything_that_is_said_to_fit_fits(event, decision.refusal)
        for effect in decision.effects:
            if isinstance(effect, UpdateContainer) and effect.key in self.state.adjustments:
                assert effect.adjustment == self.state.adjustments[effect.key]
                assert effect.id == self.state.workload.containers[effect.key].id
        self.everybody_who_moves_can_learn_why(before, decision)
        return decision

    def everything_that_is_said_to_fit_fits(self, event: Event, refusal: RefusedError) -> None:
        assert not refusal.remedies or refusal.reason is RefusalReason.NO_ROOM or refusal.code in ABOUT_SIZE
        for remedy in refusal.remedies:
            changed, pod = changed_by(remedy, event, self.state)
            state = step(self.policy, self.state, PodAdded(pod), now_s=0.0).state
            again = step(self.policy, state, changed, now_s=0.0)
            assert again.refusal is None, f"refused, although it was said to fit {remedy.text}"

    def everybody_who_moves_can_learn_why(self, before: State, decision: Decision) -> None:
        now = decision.state.adjustments
        placed = {trail.key for trail in decision.trails}
        last = {(move.key, move.what): move for move in decision.moves if move.key in now}
        for key, what, then, after in differences(before.adjustments, now):
            assert key in placed or (key, what) in last, f"nobody says why {what} of {key} went from {then} to {after}"
        for (key, what), move in last.items():
            assert move.why
            assert move.before != move.after
            if key not in placed:
                assert move.after == str(now[key].cpus if what == "CPUs" else now[key].mems)

    # --- pods and containers come --------------------------------------------------------------------------------

    @rule(
        qos=st.sampled_from((*QoSClass, QoSClass.GUARANTEED)),
        namespace=st.sampled_from(("default", "default", "kube-system")),
        annotations=st.one_of(st.just({}), ANNOTATIONS, MEMORY_ANNOTATIONS),
        asked=st.lists(st.tuples(CPU, MEMORY), min_size=1, max_size=2),
        again=st.booleans(),
        started=st.booleans(),
    )
    def add_pod(
        self,
        qos: QoSClass,
        namespace: str,
        annotations: dict[str, str],
        asked: list[tuple[int, Bytes]],
        again: bool,
        started: bool,
    ) -> None:
        """Run a pod; or run one again, in a new sandbox."""
        self.count += 1
        uid = "uid-1" if again else f"uid-{self.count}"
        pod = Pod(PodId(f"p{self.count}"), uid, uid, namespace, qos, annotations=annotations)
        self.do(PodAdded(pod))
        for number, (cpu, memory) in enumerate(asked):
            self.request(pod, f"c{number}", cpu, memory, started=started)

    @rule(data=st.data(), cpu=CPU, memory=MEMORY)
    def add_container(self, data: st.DataObject, cpu: int, memory: Bytes) -> None:
        """Run another instance of a container, or a further container."""
        pods = self.state.workload.pods
        if pods:
            pod = pods[data.draw(st.sampled_from(sorted(pods)))]
            self.request(pod, data.draw(st.sampled_from(("c0", "c1", "c2"))), cpu, memory, data.draw(st.booleans()))

    @rule(data=st.data(), uids=st.sets(st.sampled_from("uvw"), min_size=1, max_size=2), cpu=CPU)
    def add_claimed(self, data: st.DataObject, uids: set[str], cpu: int) -> None:
        """Run a container on CPUs that a DRA driver has given out: disjoint ones, but with no regard to the policy."""
        pods, cpus = self.state.workload.pods, sorted(self.topology.online)
        given = {uid: CPUSet(cpus[number::3][:2]) for number, uid in enumerate("uvw")}
        claims = tuple(CPUClaim(uid, given[uid]) for uid in sorted(uids) if given[uid])
        if pods and claims:
            pod = pods[data.draw(st.sampled_from(sorted(pods)))]
            self.request(pod, data.draw(st.sampled_from(("d0", "d1"))), cpu, Bytes(0), claims=claims)

    def request(
        self,
        pod: Pod,
        name: str,
        cpu: int,
        memory: Bytes,
        works: bool = True,
        started: bool = False,
        claims: tuple[CPUClaim, ...] = (),
    ) -> None:
        self.count += 1
        key, wanted = ContainerKey(f"k{self.count}"), requirements(pod.qos, cpu, memory)
        container = Container(key, pod.id, name, ContainerState.CREATING, wanted, claims=claims)
        if before := asked_before(self.state.workload, container):
            container = attrs.evolve(container, key=before)
        decision = self.do(ContainerRequested(container))
        if decision.refusal is None:
            assert decision.adjustment is not None
            self.answer(container.key, works)
            if started and works:
                self.do(ContainerStarted(container.key))

    def answer(self, key: ContainerKey, works: bool) -> None:
        self.do(ContainerCreated(key, ContainerId(f"id-{key}")) if works else CreateFailed(key))

    @rule(data=st.data(), cpu=CPU, tries=st.lists(st.booleans(), min_size=2, max_size=3), attempt=st.integers(0, 2))
    def ask_more_than_once(self, data: st.DataObject, cpu: int, tries: list[bool], attempt: int) -> None:
        """A caller that has waited too long asks again, and others come and go before the answers do."""
        pods = self.state.workload.pods
        if not pods:
            return
        pod = pods[data.draw(st.sampled_from(sorted(pods)))]
        self.count += 1
        wanted = requirements(pod.qos, cpu, Bytes(0))
        key, name = ContainerKey(f"k{self.count}"), f"r{self.count}"
        asked = Container(key, pod.id, name, ContainerState.CREATING, wanted, attempt=attempt)
        if self.do(ContainerRequested(asked)).refusal is not None:
            return
        for _ in tries[1:]:
            self.touch(data, data.draw(st.sampled_from((ContainerExited, ContainerRemoved))), but=key)
            had = self.policy.exclusive(self.state.policy).get(key)
            assert self.do(ContainerRequested(asked)).refusal is None
            assert had == self.policy.exclusive(self.state.policy).get(key), "who asks again keeps what it has"
        for works in tries:
            self.answer(key, works)
        assert (key in self.state.workload.containers) is any(tries)

    # --- and live ------------------------------------------------------------------------------------------------

    def some(self, data: st.DataObject) -> Container | None:
        """Return some container that holds a grant."""
        held = sorted(key for key, one in self.state.workload.containers.items() if one.state in HOLDING)
        return self.state.workload.containers[data.draw(st.sampled_from(held))] if held else None

    @rule(data=st.data(), what=st.sampled_from((ContainerStarted, ContainerExited, ContainerRemoved)))
    def touch(
        self,
        data: st.DataObject,
        what: type[ContainerStarted | ContainerExited | ContainerRemoved],
        but: ContainerKey | None = None,
    ) -> None:
        container = self.some(data)
        if container is not None and container.key != but:
            assert self.do(what(container.key)).refusal is None

    @rule(data=st.data(), cpu=CPU, memory=MEMORY, accepted=st.booleans())
    def resize(self, data: st.DataObject, cpu: int, memory: Bytes, accepted: bool) -> None:
        container = self.some(data)
        if container is None:
            return
        before = self.state
        wanted = requirements(before.workload.pods[container.pod].qos, cpu, memory)
        decision = self.do(ResizeRequested(container.key, LinuxResources(cpu_shares=cpu), wanted))
        if decision.refusal is None:
            self.do(ResizeDone(container.key) if accepted else ResizeFailed(container.key))
            if not accepted:
                assert (before.policy, before.adjustments) == (self.state.policy, self.state.adjustments)

    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        running = sorted(key for key, _ in self.state.timers)
        container = self.some(data)
        if running:
            self.do(TimerExpired(data.draw(st.sampled_from(running)), Timer.COLD_START))
        elif container is not None:
            self.do(TimerExpired(container.key, Timer.COLD_START))

    @rule(data=st.data())
    def fail_update(self, data: st.DataObject) -> None:
        container = self.some(data)
        if container is not None:
            self.do(UpdateFailed(container.key, "the runtime says no"))

    # --- and go --------------------------------------------------------------------------------------------------

    @rule(data=st.data(), what=st.sampled_from((PodStopped, PodRemoved)))
    def end_pod(self, data: st.DataObject, what: type[PodStopped | PodRemoved]) -> None:
        pods = self.state.workload.pods
        if pods:
            self.do(what(data.draw(st.sampled_from(sorted(pods)))))

    @rule(data=st.data(), stranger=st.booleans(), cpu=CPU, bound=st.sets(st.integers(0, 9), max_size=3))
    def synchronise(self, data: st.DataObject, stranger: bool, cpu: int, bound: set[int]) -> None:
        """Some have vanished while nobody looked, and somebody else has come."""
        workload = self.state.workload
        pods = tuple(pod for _, pod in sorted(workload.pods.items()) if data.draw(st.sampled_from((True, True, False))))
        there = {pod.id: pod for pod in pods}
        listed = [
            one
            for _, one in sorted(workload.containers.items())
            if one.id is not None and one.pod in there and data.draw(st.sampled_from((True, True, False)))
        ]
        if stranger and there:
            self.count += 1
            key, pod = ContainerKey(f"k{self.count}"), pods[0]
            wanted = requirements(pod.qos, cpu, Bytes(0))
            running = Container(key, pod.id, "s", ContainerState.RUNNING, wanted, id=ContainerId(f"id-{key}"))
            listed.append(attrs.evolve(running, found_on=CPUSet(bound)))
        self.do(Synchronised(pods, tuple(listed)))

    @rule()
    def unknown(self) -> None:
        before = self.state
        for event in (ContainerExited(ContainerKey("nobody")), TimerExpired(ContainerKey("nobody"), Timer.COLD_START)):
            self.do(event)
        assert before == self.state

    # --- what holds ----------------------------------------------------------------------------------------------

    @invariant()
    def only_those_who_live_have_something(self) -> None:
        held = {key for key, one in self.state.workload.containers.items() if one.state in HOLDING}
        assert set(self.state.adjustments) <= held
        assert set(self.policy.exclusive(self.state.policy)) <= held

    @invariant()
    def exclusive_cpus_have_one_owner_and_nobody_else_on_them(self) -> None:
        owned = CPUSet()
        for key, cpus in self.policy.exclusive(self.state.policy).items():
            assert cpus
            assert cpus <= self.topology.online
            assert cpus.isdisjoint(self.reserved), "reserved CPUs belong to nobody"
            mates = self.mates(key)
            assert cpus.isdisjoint(owned - CPUSet.union(mates.values())), "two owners"
            owned |= cpus
            for other, adjustment in self.state.adjustments.items():
                if adjustment.cpus is not None:
                    on = adjustment.cpus & cpus
                    if other != key:
                        assert on == cpus & mates.get(other, CPUSet()), f"{other} on CPUs of {key}"
                    elif on != cpus:  # it hides hyperthreads
                        cores = {self.topology.core_of(cpu) for cpu in cpus}
                        assert CPUSet.union(cores) == cpus
                        assert all(len(core & on) == 1 for core in cores)

    def mates(self, key: ContainerKey) -> dict[ContainerKey, CPUSet]:
        """Return the CPUs of claims that *key* shares with others, by those."""
        containers, held = self.state.workload.containers, self.policy.exclusive(self.state.policy)
        shared = {k: set(containers[k].claims) & set(containers[key].claims) for k in held if k != key}
        return {k: CPUSet.union(claim.cpus for claim in claims) for k, claims in shared.items() if claims}

    @invariant()
    def adjustments_are_such_as_the_kernel_takes(self) -> None:
        for adjustment in self.state.adjustments.values():
            assert adjustment.cpus is None or (adjustment.cpus and adjustment.cpus <= self.topology.online)
            assert adjustment.mems is None or (adjustment.mems and adjustment.mems <= self.topology.memory_nodes)
            assert adjustment.cpu_shares is None or 2 <= adjustment.cpu_shares <= 262144

    @invariant()
    def who_is_alone_on_its_cpus_and_nobody_else_is_without_a_quota(self) -> None:
        for key, adjustment in self.state.adjustments.items():
            own = self.policy.exclusive(self.state.policy).get(key, CPUSet())  # more than its CPUs if it hides threads
            alone = adjustment.cpus is not None and adjustment.cpus <= own
            assert adjustment.cpu_quota_us == (NO_QUOTA if alone else None)

    @invariant()
    def what_is_saved_comes_back_exactly(self) -> None:
        if hasattr(self, "state"):
            saved = json.loads(json.dumps(self.policy.save(self.state.policy)))
            restored = self.policy.restore(saved, self.state.workload)
            assert (self.state.policy, self.state.adjustments, {}) == (
                restored.state,
                restored.adjustments,
                restored.dropped,
            )

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        policy = self.kind.make(self.topology, self.constraints, self.options)
        again = initial(policy)
        for index, event in enumerate(self.journal):
            again = step(policy, again, event, now_s=float(index)).state
        assert again == self.state, "the same sequence gives the same result"
        for pod in sorted(self.state.workload.pods):
            self.do(PodRemoved(pod))
        assert initial(self.policy) == self.state, "when all is released, all is as it was"


SETTINGS = settings(
    max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("name", POLICIES)
def test_any_sequence(name: str) -> None:
    class Machine(PolicyMachine):
        kind = POLICIES[name]

    run_state_machine_as_test(Machine, settings=SETTINGS)
