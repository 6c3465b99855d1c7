"""Any order of calls keeps the model whole."""

from __future__ import annotations

from contextlib import suppress

from grpclib import GRPCError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crirm.sim.states import EXITED, RUNNING
from tests.unit.sim.nodes import Node

_names = st.sampled_from(["a", "b"])
_argv = st.sampled_from([("true",), ("sleep", "3"), ("sleep", "inf"), ("/none",)])


class Life(RuleBasedStateMachine):
    """A client that does everything in any order, to pods and containers that exist or do not."""

    def __init__(self) -> None:
        super().__init__()
        self.node = Node()

    def pod_id(self, name: str) -> str:
        return next((pod.id for pod in self.node.model.pods if pod.config.metadata.name == name), "ffff")

    def container_id(self, name: str) -> str:
        return next((c.id for c in self.node.model.containers if c.config.metadata.name == name), "ffff")

    @rule(name=_names)
    def run_pod(self, name: str) -> None:
        with suppress(GRPCError):
            self.node.pod(name)

    @rule(name=_names)
    def stop_pod(self, name: str) -> None:
        self.node.model.stop_pod(self.pod_id(name))

    @rule(name=_names)
    def remove_pod(self, name: str) -> None:
        self.node.model.remove_pod(self.pod_id(name))

    @rule(pod=_names, name=_names, argv=_argv)
    def create(self, pod: str, name: str, argv: tuple[str, ...]) -> None:
        with suppress(GRPCError):
            self.node.container(self.node.model.pods.get(self.pod_id(pod), ""), *argv, name=name)

    @rule(name=_names)
    def start(self, name: str) -> None:
        with suppress(GRPCError):
            self.node.model.start_container(self.container_id(name))

    @rule(name=_names)
    def stop(self, name: str) -> None:
        record = self.node.model.containers.find(self.container_id(name), "")
        if record is not None:
            self.node.model.ask_to_stop(record)

    @rule(name=_names)
    def remove(self, name: str) -> None:
        self.node.model.remove_container(self.container_id(name))

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.node.tick(seconds)

    @invariant()
    def containers_belong_to_pods(self) -> None:
        pods = {pod.id: pod for pod in self.node.model.pods}
        for record in self.node.model.containers:
            assert record.pod_id in pods
            assert not record.is_running or pods[record.pod_id].is_ready

    @invariant()
    def times_and_states_agree(self) -> None:
        for record in self.node.model.containers:
            assert (record.finished_ns > 0) == (record.state == EXITED)
            assert (record.pid > 0) == (record.state == RUNNING)
            assert record.state != EXITED or record.finished_ns >= record.started_ns

    @invariant()
    def nothing_that_has_slept_long_enough_still_runs(self) -> None:
        for record in self.node.model.containers:
            if record.argv == ("sleep", "3") and record.is_running:
                assert self.node.clock() - record.started_ns < 3 * 10**9


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
