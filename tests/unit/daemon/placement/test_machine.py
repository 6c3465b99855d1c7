"""A machine that changes under a node that goes on deciding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
import trio
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.node import DecidingNode, HostView
from crirm.daemon.placement.engine import Engine
from crirm.daemon.placement.machine import policy_at_start
from crirm.daemon.settings import Settings
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.model.events import ContainerCreated, ContainerRequested, ContainerStarted, PodAdded
from crirm.model.hardware import Hardware, Sight, hardware_of
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.refusal import RefusalCode
from crirm.model.resources import Requirements
from crirm.model.topology import TopologyError
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.api import Choice, Constraints, CPUConstraint
from crirm.policy.partition import PartitionError
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.replay.trace import TraceReader
from crirm.rpc.grpc_wire import RpcError
from crirm.system.journal_file import read_journal
from tests.unit.model.test_hardware import limit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from crirm.model.decision import Decision
    from crirm.model.hardware import Limit

SHAPE = "2p.4c mem=4Gi"  # two NUMA nodes: CPUs 0-3 and 4-7


def hardware(off: str = "", *limits: Limit, shape: str = SHAPE) -> Hardware:
    topology = topology_of(parse_spec(f"{shape} offline={off}" if off else shape))
    return hardware_of(topology, Sight((str(topology.online),), Bytes(topology.memory_of(topology.node_ids)), limits))


def choice(reserved: str = "0", policy: str = "topology-aware") -> Choice:
    options = TopologyAwareOptions() if policy == "topology-aware" else None
    return Choice(policy, Constraints(reserved=CPUConstraint(cpus=CPUSet.parse(reserved))), options)


@attrs.define
class FakeSights:
    """A machine that is what it is set to."""

    now: Hardware | Exception
    parents: list[frozenset[str]] = attrs.field(factory=list)
    reading: Callable[[], None] = lambda: None

    async def look(self, parents: Collection[str]) -> Sight:
        self.parents.append(frozenset(parents))
        await trio.lowlevel.checkpoint()
        return Sight(("unreadable",), Bytes(0)) if isinstance(self.now, Exception) else self.now.sight

    async def read(self, parents: Collection[str]) -> Hardware:
        del parents
        await trio.lowlevel.checkpoint()
        self.reading()
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


@attrs.define
class FakeRuntime:
    """Takes updates, or refuses all of them."""

    socket_path: str = "/nowhere"
    connected: bool = True
    error: RpcError | None = None
    told: dict[str, str] = attrs.field(factory=dict)

    async def unary(self, path: str, message: bytes, *, timeout_s: float) -> bytes:
        del timeout_s
        assert path.endswith("/UpdateContainerResources")
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        request = v1.UpdateContainerResourcesRequest().parse(message)
        self.told[request.container_id] = request.linux.cpuset_cpus
        return b""


class Bench:
    """A node with a runtime that takes all updates, on a machine that changes when told."""

    def __init__(self, nursery: trio.Nursery, chosen: Choice, state_dir: str = "") -> None:
        self.nursery, self.sights, self.runtime = nursery, FakeSights(hardware()), FakeRuntime()
        settings = Settings(host_root="/nowhere", policy=chosen, state_dir=state_dir)
        machine = HostView(hardware(), self.sights)
        engine = Engine(policy_at_start(chosen, machine.hardware), chosen)
        pool = cast("Any", self.runtime)
        self.node = DecidingNode(engine, pool, settings, nursery, machine)
        self.settings = settings
        nursery.start_soon(self.node.effects.run)

    async def becomes(self, now: Hardware | Exception) -> bool:
        """Have the machine be *now*, and the node look at it."""
        self.sights.now = now
        async with trio.open_nursery() as telling:
            changed = await self.node.watch.look(telling)
        await self.node.effects.finish(self.node.engine.state.workload.containers)
        return changed

    def ask(self, name: str, millicpu: int, qos: QoSClass = QoSClass.GUARANTEED, namespace: str = "shop") -> Decision:
        pod = Pod(PodId(f"p-{name}"), f"u-{name}", name, namespace, qos, f"/kubepods/pod-{name}")
        self.node.engine.apply(PodAdded(pod))
        wanted = Requirements(MilliCPU(millicpu), MilliCPU(millicpu))
        container = Container(ContainerKey(name), pod.id, "c", ContainerState.CREATING, wanted)
        return self.node.engine.apply(ContainerRequested(container))

    def run(self, name: str, millicpu: int, qos: QoSClass = QoSClass.GUARANTEED, namespace: str = "shop") -> None:
        assert self.ask(name, millicpu, qos, namespace).refusal is None
        self.node.engine.apply(ContainerCreated(ContainerKey(name), ContainerId(name)))
        self.node.engine.apply(ContainerStarted(ContainerKey(name)))

    def cpus(self) -> dict[str, str]:
        return {key: str(one.cpus) for key, one in self.node.engine.state.adjustments.items()}

    @property
    def degraded(self) -> dict[str, str]:
        return {str(key): why for key, why in self.node.engine.state.degraded.items()}


POLICIES = pytest.mark.parametrize("policy", ["topology-aware", "static"])


@POLICIES
async def test_who_loses_a_cpu_gets_another_and_who_loses_none_stays(nursery: trio.Nursery, policy: str) -> None:
    bench = Bench(nursery, choice(policy=policy))
    bench.run("a", 2000)
    bench.run("b", 2000)
    before = bench.cpus()
    lost = CPUSet.of(CPUSet.parse(before["a"]).lowest)
    assert await bench.becomes(hardware(str(lost)))
    after = {name: CPUSet.parse(cpus) for name, cpus in bench.cpus().items()}
    assert before["b"] == str(after["b"])
    assert len(after["a"]) == 2
    assert after["a"].isdisjoint(lost | after["b"])
    assert bench.runtime.told["a"] == str(after["a"])
    assert not bench.degraded


@POLICIES
async def test_without_room_it_shares_until_the_cpus_are_back(nursery: trio.Nursery, policy: str) -> None:
    bench = Bench(nursery, choice(policy=policy))
    bench.run("a", 3000)
    bench.run("b", 2000)
    lost = bench.cpus()["a"]
    await bench.becomes(hardware(lost))
    assert CPUSet.parse(bench.cpus()["a"]).isdisjoint(CPUSet.parse(lost) | CPUSet.parse(bench.cpus()["b"]))
    assert "3" in bench.degraded["a"]
    await bench.becomes(hardware())
    assert len(CPUSet.parse(bench.cpus()["a"])) == 3
    assert not bench.degraded
    assert bench.runtime.told["a"] == bench.cpus()["a"]


async def test_who_shares_runs_on_what_is_left_and_on_all_again_later(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, choice(policy="static"))
    bench.run("s", 100, QoSClass.BURSTABLE)
    await bench.becomes(hardware("4-7"))
    assert bench.runtime.told == {"s": "0-3"}
    await bench.becomes(hardware())
    assert bench.runtime.told == {"s": "0-7"}


async def test_a_container_that_is_being_made_is_told_once_it_is_there(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, choice(policy="static"))
    bench.ask("s", 100, QoSClass.BURSTABLE)
    await bench.becomes(hardware("4-7"))
    assert bench.runtime.told == {}
    bench.node.engine.apply(ContainerCreated(ContainerKey("s"), ContainerId("s")))
    await bench.node.effects.finish([ContainerKey("s")])
    assert bench.runtime.told == {"s": "0-3"}


async def test_what_a_cgroup_above_pods_loses_is_not_given_away(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, choice())
    bench.run("a", 3000)
    await bench.becomes(hardware("", limit("/kubepods", "0-3,7")))
    assert CPUSet.parse(bench.cpus()["a"]) <= CPUSet.parse("0-3,7")
    assert bench.sights.parents == [frozenset({"/kubepods/pod-a"})]
    status = bench.node.machine_status()
    assert (status["cpus"], status["offline"], status["change"]) == ("0-3,7", "", "CPUs 4-6 are gone")
    assert "/kubepods has only CPUs 0-3,7" in status["notes"][0]


@POLICIES
async def test_without_reserved_cpus_only_what_is_there_is_given(nursery: trio.Nursery, policy: str) -> None:
    bench = Bench(nursery, choice("0-1", policy))
    bench.run("k", 100, QoSClass.BURSTABLE, "kube-system")
    bench.run("a", 2000)
    own = bench.cpus()["a"]
    await bench.becomes(hardware("0-1"))
    there = CPUSet.parse("2-7")
    assert bench.cpus()["a"] == own
    assert bench.runtime.told["k"] == bench.cpus()["k"] == str(there - CPUSet.parse(own))
    assert "ReservedResources.CPU reserves no online CPU" in bench.node.machine_status()["problem"]
    assert "CPUs 0-1 are offline" in bench.node.machine_status()["problem"]
    bench.run("k2", 100, QoSClass.BURSTABLE, "kube-system")
    assert CPUSet.parse(bench.cpus()["k2"]) <= there
    await bench.becomes(hardware())
    assert bench.node.machine_status()["problem"] == ""
    assert bench.cpus()["a"] == own


async def test_exclusive_cpus_that_are_not_there_are_refused(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, choice("0"))
    await bench.becomes(hardware("0,2-7"))
    decision = bench.ask("a", 3000)
    assert decision.refusal is not None
    assert decision.refusal.code is RefusalCode.EXCLUSIVE_CPUS_OFFLINE
    assert "no longer fits the configuration" in str(decision.refusal)


async def test_who_comes_while_the_machine_is_read_is_planned_for(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, choice())
    bench.sights.reading = lambda: bench.run("late", 3000)
    await bench.becomes(hardware("4-6"))
    assert CPUSet.parse(bench.cpus()["late"]) <= CPUSet.parse("0-3,7")


async def test_a_machine_that_cannot_be_read_changes_nothing(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, choice())
    bench.run("a", 2000)
    before = bench.node.engine.state
    assert not await bench.becomes(TopologyError("no CPU found"))
    assert bench.node.engine.state is before
    assert bench.node.machine_status()["problem"] == "no CPU found"
    assert not await bench.becomes(hardware())
    assert bench.node.machine_status()["problem"] == ""


async def test_what_the_runtime_refuses_is_told_again_and_not_undone(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, choice(policy="static"))
    bench.run("s", 100, QoSClass.BURSTABLE)
    bench.runtime.error = RpcError(Status.INTERNAL, "not now")
    await bench.becomes(hardware("4-7"))
    assert bench.cpus() == {"s": "0-3"}
    assert "s" not in bench.node.engine.state.told
    assert bench.node.doubts.present


async def test_nobody_changes_the_configuration_meanwhile(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, choice())
    bench.sights.now = hardware("7")
    async with bench.node.changing, trio.open_nursery() as waiting:
        waiting.start_soon(bench.node.watch.look, nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.node.topology.online == CPUSet(range(8))
        waiting.cancel_scope.cancel()


def test_the_next_process_and_the_journal_know_the_machine_of_the_last(tmp_path: Path) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery, choice(), str(tmp_path))
            await bench.node.keep_state(bench.settings)
            assert bench.node.persistence is not None
            nursery.start_soon(bench.node.persistence.run)
            bench.run("a", 2000)
            await bench.becomes(hardware("7"))
            await bench.becomes(hardware())
            nursery.cancel_scope.cancel()

    trio.run(main)
    told = [(e.machine, e.outcome.partition(";")[0]) for _, e in read_journal(str(tmp_path)) if "machine" in e.kind]
    assert [outcome for _, outcome in told] == ["CPU 7 is gone", "CPU 7 is available now"]
    assert told[0][0] != told[1][0]


def test_a_trace_ends_with_its_machine_and_another_begins(tmp_path: Path) -> None:
    path = tmp_path / "trace"

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery, choice())
            nursery.start_soon(bench.node.recorder.run)
            await bench.node.record(str(path))
            first = bench.node.recorder._trace
            await bench.becomes(hardware("7"))
            with trio.fail_after(10):
                while bench.node.recorder._trace is first or not bench.node.recorder.file:  # noqa: ASYNC110 - a thread makes the file
                    await trio.sleep(0.01)
            bench.run("a", 1000)
            nursery.cancel_scope.cancel()

    trio.run(main)
    traces = [Path(f"{path}{end}").read_bytes().splitlines(keepends=True) for end in (".before", "")]
    before, after = map(TraceReader.open, traces)
    assert (str(before.header.topology.online), str(after.header.topology.online)) == ("0-7", "0-6")
    assert list(before.entries()) == []
    assert "machine changed" in before.notes[0]
    assert len(list(after.entries())) == 4


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param(hardware("0"), ["ReservedResources.CPU", "CPU 0 is offline"], id="offline"),
        pytest.param(
            hardware("", limit("/kubepods", "1-7")),
            ["ReservedResources.CPU", "CPU 0 cannot be used by pods", "/kubepods has only CPUs 1-7"],
            id="not in the cgroup of the kubelet",
        ),
    ],
)
def test_a_start_that_cannot_be_says_which_cpu_is_missing_where(now: Hardware, words: list[str]) -> None:
    with pytest.raises(PartitionError) as caught:
        policy_at_start(choice(), now)
    assert all(word in str(caught.value) for word in words)
