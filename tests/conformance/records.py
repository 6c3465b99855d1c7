"""What each scenario came to, on each runtime by each path; worked out once and compared as often as needed."""

from __future__ import annotations

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
    from collections.abc import Callable
    from pathlib import Path

Outcome = dict[str, Any]
Scenario = "Callable[[World], Outcome]"

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
    """Outcomes of this session."""

    _machines: Machines
    _folder: Path
    _outcomes: dict[Run, Outcome | Exception] = attrs.field(factory=dict)
    _clients: dict[tuple[Path, str], Client] = attrs.field(factory=dict)

    def outcome(self, run: Run) -> Outcome:
        """The outcome of *run*, which happens at most once; what it raised is raised again."""
        if run not in self._outcomes:
            machine = self._machines.get(run.machine)
            try:
                self._outcomes[run] = SCENARIOS[run.scenario](self._world(run, machine))
            except Exception as fault:  # noqa: BLE001 - kept for every test that needs this run
                self._outcomes[run] = fault
        outcome = self._outcomes[run]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _world(self, run: Run, machine: Machine) -> World:
        logs = self._folder / f"run-{len(self._outcomes)}"
        logs.mkdir()
        masks = Masks()
        masks.name(str(logs), "logs")
        masks.name(machine.cgroup_parent, "cgroup")
        return World(
            cri=Cri(self._client(run, machine), run.package),
            cgroup_parent=machine.cgroup_parent,
            logs=logs,
            runtime=machine.name,
            has_events=machine.has_events,
            has_processes=machine.has_processes,
            masks=masks,
            import_image=machine.import_image,
        )

    def _client(self, run: Run, machine: Machine) -> Client:
        socket = machine.relay_socket if run.through_crirm else machine.socket
        if (socket, run.client) not in self._clients:
            self._clients[socket, run.client] = CLIENTS[run.client](socket)
        return self._clients[socket, run.client]
