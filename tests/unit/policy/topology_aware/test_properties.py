from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crirm.hosts.synthetic import HostSpec, topology_of
from crirm.model.claims import CPUClaim, all_cpus
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import UpdateContainer
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusedError
from crirm.model.workload import ContainerKey, TopologyHint
from crirm.policy.topology_aware.effects import Adjuster
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.hosts.host_specs import host_specs
from tests.unit.policy.topology_aware.invariants import check, grants_of
from tests.unit.policy.topology_aware.support import NS, Node, make_policy

if TYPE_CHECKING:
    from crirm.policy.topology_aware.policy import TopologyAware

OPTIONS = st.builds(
    TopologyAwareOptions,
    prefer_isolated_cpus=st.booleans(),
    prefer_shared_cpus=st.booleans(),
    colocate_pods=st.booleans(),
    cache_pools=st.booleans(),
)
CPU = st.sampled_from((0, 1, 100, 500, 1000, 1000, 1500, 2000, 2000, 2500, 3000, 4000, 6000, 9000))
MEMORY = st.sampled_from((0, 0.01, 0.25, 0.5, 1, 1.5, 2, 3, 6))
ANNOTATIONS = st.dictionaries(
    st.sampled_from(
        (
            f"prefer-isolated-cpus.{NS}",
            f"prefer-shared-cpus.{NS}",
            f"prefer-reserved-cpus.{NS}",
            f"hide-hyperthreads.{NS}",
            f"hide-hyperthreads.{NS}",
            f"require-isolated-cpus.{NS}",
        )
    ),
    st.sampled_from(("true", "false")),
)
MEMORY_ANNOTATIONS = st.fixed_dictionaries(
    {},
    optional={
        f"memory-type.{NS}": st.sampled_from(("dram", "pmem", "hbm", "cxl", "mixed", "dram,pmem", "pmem,cxl")),
        f"cold-start.{NS}": st.sampled_from(("duration: 60s", "duration: 0s")),
    },
)
HINTS = st.lists(
    st.builds(
        TopologyHint,
        provider=st.sampled_from(("/sys/a", "/sys/b", "kubelet")),
        cpus=st.none() | st.sets(st.integers(0, 15)).map(CPUSet),
        nodes=st.none() | st.sets(st.integers(0, 6)).map(NodeSet),
        packages=st.none() | st.frozensets(st.integers(0, 2)),
    ),
    max_size=2,
).map(tuple)


class PlacementMachine(RuleBasedStateMachine):
    """Containers come, start, grow, shrink and go on a random machine."""

    @initialize(spec=host_specs(), reserved=st.sampled_from(("1", "2", "0.5")), options=OPTIONS)
    def boot(self, spec: HostSpec, reserved: str, options: TopologyAwareOptions) -> None:
        topology = topology_of(spec)
        assume(len(topology.online - topology.isolated) >= 3)
        self.node = Node(make_policy(topology, reserved, options))
        self.journal: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self.count = 0

    @property
    def policy(self) -> TopologyAware:
        return self.node.policy

    def do(self, what: str, *args: object, **kwargs: object) -> bool:
        """Do something to the node; tell whether it was not refused."""
        before = self.node.state
        copy = attrs.evolve(before, grants=tuple(dict(filed) for filed in before.grants), pool_of=dict(before.pool_of))
        self.journal.append((what, args, kwargs))
        try:
            placement = getattr(self.node, what)(*args, **kwargs)
        except RefusedError:
            assert self.node.state is before
            return False
        finally:
            assert before == copy
        assert not any(isinstance(effect, UpdateContainer) for effect in placement.effects)
        return True

    @rule(
        cpu=CPU,
        memory=MEMORY,
        extra=st.none() | MEMORY,
        qos=st.sampled_from(QoSClass),
        namespace=st.sampled_from(("default", "default", "default", "kube-system")),
        annotations=st.one_of(st.just({}), ANNOTATIONS, MEMORY_ANNOTATIONS),
        hints=st.one_of(st.just(()), HINTS),
    )
    def add(self, cpu: int, memory: float, extra: float | None, **about: object) -> None:
        self.count += 1
        limit = None if extra is None else memory + extra
        self.do("add", f"c{self.count:03}", cpu, memory, limit=limit, **about)

    @rule(
        claims=st.dictionaries(st.sampled_from("uvw"), st.sets(st.integers(0, 9), min_size=1, max_size=4), max_size=2),
        cpu=CPU,
        memory=MEMORY,
        qos=st.sampled_from(QoSClass),
    )
    def add_claimed(self, claims: dict[str, set[int]], cpu: int, memory: float, qos: QoSClass) -> None:
        """A DRA driver gives out CPUs, as it likes."""
        self.count += 1
        there = sorted(self.policy.machine.topology.online - self.policy.machine.root.reserved)
        few = max(1, len(there) // 4)
        picked = {uid: {there[number % len(there)] for number in cpus} for uid, cpus in sorted(claims.items())}
        given = tuple(CPUClaim(uid, CPUSet(sorted(cpus)[:few])) for uid, cpus in picked.items())
        if given and all_cpus(given) and sum(len(claim.cpus) for claim in given) == len(all_cpus(given)):
            self.do("add", f"c{self.count:03}", cpu, memory, qos=qos, claims=given)

    @rule(data=st.data(), cpu=CPU, memory=MEMORY, extra=st.none() | MEMORY)
    def resize(self, data: st.DataObject, cpu: int, memory: float, extra: float | None) -> None:
        if not self.node.state.pool_of:
            return
        name = data.draw(st.sampled_from(sorted(self.node.state.pool_of)))
        old = self.node.grant(name)
        if not self.do("resize", name, cpu, memory, None if extra is None else memory + extra):
            return
        new = self.node.grant(name)
        if new.pool == old.pool and (old.exclusive <= self.policy.machine.root.isolated) == (
            new.exclusive <= self.policy.machine.root.isolated
        ):
            assert old.exclusive <= new.exclusive or new.exclusive <= old.exclusive
            assert len(old.first & new.exclusive) == min(len(old.first), len(new.exclusive)), "the first CPUs go last"

    @rule(data=st.data(), what=st.sampled_from(("remove", "remove", "start", "expire")))
    def touch(self, data: st.DataObject, what: str) -> None:
        if self.node.state.pool_of:
            assert self.do(what, data.draw(st.sampled_from(sorted(self.node.state.pool_of))))

    @rule()
    def unknown(self) -> None:
        for what in ("release", "started", "expired"):
            placement = getattr(self.policy, what)(self.node.state, self.node.workload, ContainerKey("nobody"))
            assert placement.state is self.node.state
            assert not placement.changed

    @invariant()
    def sound(self) -> None:
        check(self.policy, self.node.state)

    @invariant()
    def told(self) -> None:
        """Following all that was said to have changed, one knows what everybody is to have."""
        state = self.node.state
        adjuster = Adjuster(self.policy.machine, self.policy.reader.options, state)
        assert self.node.has == {key: adjuster.adjustment(grant) for key, grant in grants_of(state).items()}

    def teardown(self) -> None:
        if not hasattr(self, "node"):
            return
        again = Node(self.policy)
        for what, args, kwargs in self.journal:
            with suppress(RefusedError):
                getattr(again, what)(*args, **kwargs)
        assert again.state == self.node.state
        assert again.has == self.node.has
        for key in sorted(self.node.state.pool_of, reverse=True):
            self.node.remove(key)
            check(self.policy, self.node.state)
        assert self.node.state == self.policy.initial()


TestPlacement = PlacementMachine.TestCase
TestPlacement.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
