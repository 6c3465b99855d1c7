"""One suite over real containerds and the embedded runtime, called directly and through crirm.

Every scenario asserts what must hold, and returns what it saw. What is seen through crirm must equal what is seen
directly; what is seen of the embedded runtime must equal what is seen of containerd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.cri.proto.runtime import v1
from tests.conformance.client import GrpcioClient
from tests.conformance.cri import OK, UNIMPLEMENTED, V1, Cri
from tests.conformance.differences import differences
from tests.conformance.machines import BOTH, CONTAINERDS, PACKAGES
from tests.conformance.records import REAL_ONLY, SCENARIOS, Run

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from tests.conformance.machines import Machines
    from tests.conformance.records import Records


GRPCLIB_SCENARIOS = (
    "version",
    "unknown_ids",
    "unknown_methods",
    "container_life",
    "container_events",
    "exec_sync",
    "cancelled_exec",
    "overdue_exec",
    "large_answer",
)


def _param(run: Run) -> ParameterSet:
    marks = [pytest.mark.containerd] if run.machine in CONTAINERDS else []
    return pytest.param(run, id=f"{run.machine}-{run.package.rpartition('.')[2]}-{run.scenario}", marks=marks)


def _scenarios(machine: str) -> list[str]:
    return [name for name in SCENARIOS if machine in CONTAINERDS or name not in REAL_ONLY]


DIRECT = [
    Run(scenario, machine, package, through_crirm=False)
    for machine, packages in PACKAGES.items()
    for package in packages
    for scenario in _scenarios(machine)
]
# Of the embedded runtimes with one package, only the callers with the other are of interest.
RELAYED = [
    Run(scenario, machine, package, through_crirm=True)
    for machine, native in PACKAGES.items()
    for package in BOTH
    for scenario in _scenarios(machine)
    if machine in CONTAINERDS or len(native) == 2 or package not in native
]
RELAYED_FROM_GRPCLIB = [
    Run(scenario, machine, V1, through_crirm=True, client="grpclib")
    for machine in ("sim", "bookworm", "sid")
    for scenario in GRPCLIB_SCENARIOS
]
COMPARED = [
    (
        Run(scenario, "sim", V1, through_crirm=False),
        tuple(Run(scenario, machine, V1, through_crirm=False) for machine in CONTAINERDS if V1 in PACKAGES[machine]),
    )
    for scenario in _scenarios("sim")
]


@pytest.mark.parametrize(
    "machine",
    [pytest.param(name, marks=[pytest.mark.containerd] if name in CONTAINERDS else []) for name in PACKAGES],
)
def test_runtime_serves_the_packages_that_the_suite_counts_on(machine: str, machines: Machines) -> None:
    client = GrpcioClient(machines.get(machine).socket)
    codes = {package: Cri(client, package).reply("Version", v1.VersionRequest()).code for package in BOTH}
    client.close()
    assert {package for package, code in codes.items() if code == OK} == set(PACKAGES[machine])
    assert set(codes.values()) <= {OK, UNIMPLEMENTED}


@pytest.mark.parametrize("run", [_param(run) for run in DIRECT])
def test_runtime_does_what_the_scenario_expects(run: Run, records: Records) -> None:
    assert records.outcome(run)


@pytest.mark.parametrize("run", [_param(run) for run in RELAYED])
def test_same_through_crirm(run: Run, records: Records) -> None:
    direct = records.outcome(run.direct())
    assert records.outcome(run) == direct


@pytest.mark.parametrize("run", [_param(run) for run in RELAYED_FROM_GRPCLIB])
def test_same_through_crirm_for_another_client(run: Run, records: Records) -> None:
    direct = records.outcome(run.direct())
    assert records.outcome(run) == direct


@pytest.mark.containerd
@pytest.mark.parametrize(("run", "references"), [pytest.param(*pair, id=pair[0].scenario) for pair in COMPARED])
def test_embedded_runtime_is_like_containerd(run: Run, references: tuple[Run, ...], records: Records) -> None:
    outcomes = [records.outcome(reference) for reference in references]
    assert differences(run.scenario, records.outcome(run), outcomes) == []
