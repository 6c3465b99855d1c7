"""What each scenario came to, on each runtime by each path; worked out once and compared as often as needed."""

from __future__ import annotations

import itertools
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import attrs

from tests.conformance import (
    scenarios_calls,
    scenarios_containers,
    scenarios_images,
    scenarios_limits,
    scenarios_pods,
    scenarios_streams,
)
from tests.conformance.client import Client, GrpcioClient, GrpclibClient
from tests.conformance.cri import Cri, World
from tests.conformance.machines import PACKAGES, Machine, Machines
from tests.conformance.normal import Masks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

Outcome = dict[str, Any]

_AT_A_TIME = 2
_PLAN_WITHIN_S = 600.0

SCENARIOS = {
    scenario.__name__: scenario
    for module in (
        scenarios_calls,
        scenarios_pods,
        scenarios_containers,
        scenarios_images,
        scenarios_streams,
        scenarios_limits,
    )
    for scenario in module.SCENARIOS
}

# What only a runtime can do that runs processes, has a registry's protocol and unpacks images.
REAL_ONLY = {
    "image_of_two_names",
    "failed_pull",
    "attach_stream",
    "port_forward_stream",
    "resources_reach_the_kernel",
}

CLIENTS: dict[str, Callable[[Path], Client]] = {"grpcio": GrpcioClient, "grpclib": GrpclibClient}


@attrs.frozen
class Run:
    """One scenario on one runtime, by one path."""

    scenario: str
    machine: str
    package: str
    through_crirm: bool
    client: str = "grpcio"

    def direct(self) -> Run:
        """The same without crirm, with the package that the runtime has if it lacks the caller's."""
        native = PACKAGES[self.machine]
        package = self.package if self.package in native else native[0]
        return Run(self.scenario, self.machine, package, through_crirm=False)


@attrs.frozen(eq=False)
class Records:
    """Outcomes of this session: runs that are planned happen in the background, two runtimes at a time."""

    _machines: Machines
    _folder: Path
    _outcomes: dict[Run, Future[Outcome]] = attrs.field(factory=dict)
    _clients: dict[tuple[Path, str], Client] = attrs.field(factory=dict)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)
    _pool: ThreadPoolExecutor = attrs.field(factory=lambda: ThreadPoolExecutor(_AT_A_TIME))

    def plan(self, runs: Iterable[Run]) -> None:
        """Have *runs* happen, each once; those of one runtime one after the other, since they share its images."""
        by_machine: dict[str, list[Run]] = {}
        for run in dict.fromkeys(runs):
            self._outcomes[run] = Future()
            by_machine.setdefault(run.machine, []).append(run)
        for planned in by_machine.values():
            self._pool.submit(self._happen, planned)

    def outcome(self, run: Run) -> Outcome:
        """The outcome of a planned *run*; what it raised is raised here."""
        return self._outcomes[run].result(_PLAN_WITHIN_S)

    def close(self) -> None:
        for outcome in self._outcomes.values():
            outcome.cancel()
        self._pool.shutdown()
        for client in self._clients.values():
            client.close()

    def _happen(self, runs: list[Run]) -> None:
        for run in runs:
            future = self._outcomes[run]
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(SCENARIOS[run.scenario](self._world(run, self._machines.get(run.machine))))
                except BaseException as fault:  # noqa: BLE001 - skips are no Exception; all of it is the test's to raise
                    future.set_exception(fault)

    def _world(self, run: Run, machine: Machine) -> World:
        logs = self._folder / f"run-{next(self._numbers)}"
        logs.mkdir()
        masks = Masks()
        masks.name(str(logs), "logs")
        masks.name(machine.cgroup_parent, "cgroup")
        return World(
            cri=Cri(self._client(run, machine), run.package),
            cgroup_parent=machine.cgroup_parent,
            logs=logs,
            runtime=machine.name,
            has_events=run.direct().package in machine.events_in,
            has_processes=machine.has_processes,
            masks=masks,
            import_image=machine.import_image,
        )

    def _client(self, run: Run, machine: Machine) -> Client:
        socket = self._machines.relay_socket(run.machine) if run.through_crirm else machine.socket
        if (socket, run.client) not in self._clients:
            self._clients[socket, run.client] = CLIENTS[run.client](socket)
        return self._clients[socket, run.client]
