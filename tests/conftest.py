"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

# Machines are shared: how long an example takes says nothing. In CI the same examples every time, so that it is fair.
hypothesis.settings.register_profile(
    "crirm",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(  # for tests/random_run.py: all comes from the seed, nothing from runs before
    "random", hypothesis.settings.get_profile("crirm"), derandomize=False, database=None
)
hypothesis.settings.load_profile("crirm")
pytest.register_assert_rewrite("tests.conformance", "tests.daemons")

from crirm.launcher.containerd import Installation, find_installed  # noqa: E402 - after the line above

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def installation() -> Installation:
    """The machine's own containerd; a machine without one fails, since the tests would prove nothing."""
    found = find_installed()
    assert found is not None, "containerd and runc are not installed: apt-get install containerd runc busybox-static"
    return found


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary directory whose name leaves room for Unix sockets in it; pytest's own are too long for that."""
    path = Path(tempfile.mkdtemp(prefix="crirm-"))
    yield path
    shutil.rmtree(path)
