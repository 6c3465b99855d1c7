from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.machines import Machines, open_machines
from tests.conformance.records import Records, Run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    with open_machines() as opened:
        yield opened


@pytest.fixture(scope="session")
def records(
    machines: Machines, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Records]:
    """Outcomes of all the runs that the selected tests have as parameters, and of the direct runs beside them."""
    kept = Records(machines, tmp_path_factory.mktemp("logs"))
    kept.plan(needed for run in _runs(request.session) for needed in (run.direct(), run))
    yield kept
    kept.close()


def _runs(session: pytest.Session) -> Iterator[Run]:
    for item in session.items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            for value in item.callspec.params.values():
                yield from (run for run in (value if isinstance(value, tuple) else (value,)) if isinstance(run, Run))
