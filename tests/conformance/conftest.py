from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.machines import Machines, open_machines
from tests.conformance.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    with open_machines() as opened:
        yield opened


@pytest.fixture(scope="session")
def records(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    kept = Records(machines, tmp_path_factory.mktemp("logs"))
    yield kept
    kept.close()
