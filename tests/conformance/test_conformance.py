"""One suite over real containerds and the embedded runtime, called directly and through crirm.

Every scenario asserts what must hold, and returns what it saw. What is seen through crirm must equal what is seen
directly; what is seen of the embedded runtime must equal what is seen of containerd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.cri import V1, V1ALPHA2
from tests.conformance.machines import BOTH, CONTAINERDS, PACKAGES
from tests.conformance.records import SCENARIOS, Run

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from tests.conformance.records import Records


def _target(machine: str, package: str) -> ParameterSet:
    marks = [pytest.mark.containerd] if machine in CONTAINERDS else []
    return pytest.param(machine, package, id=f"{machine}-{package.rpartition('.')[2]}", marks=marks)


DIRECT = [_target(machine, package) for machine, packages in PACKAGES.items() for package in packages]
RELAYED = [_target(machine, package) for machine in PACKAGES for package in BOTH]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("machine", "package"), DIRECT)
def test_runtime_does_what_the_scenario_expects(scenario: str, machine: str, package: str, records: Records) -> None:
    assert records.outcome(Run(scenario, machine, package, through_crirm=False))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("machine", "package"), RELAYED)
def test_same_through_crirm(scenario: str, machine: str, package: str, records: Records) -> None:
    run = Run(scenario, machine, package, through_crirm=True)
    direct = records.outcome(run.direct())
    assert records.outcome(run) == direct
