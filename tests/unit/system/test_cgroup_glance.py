"""Glances at files that are kept open."""

from __future__ import annotations

import gc
import os
import resource
from typing import TYPE_CHECKING

import pytest

from crirm.system.cgroup import Cgroups
from crirm.system.cgroup_find import Place
from crirm.system.cgroup_glance import Glances, raise_limit_of_open_files
from tests.unit.system.cgroup_rig import CONTAINER, POD, MadeV1, MadeV2

if TYPE_CHECKING:
    from pathlib import Path

PLACES = [Place(f"/{POD}", "c1"), Place(f"/{POD}", "c2")]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


@pytest.fixture(params=[MadeV1, MadeV2])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> MadeV1 | MadeV2:
    made: MadeV1 | MadeV2 = request.param(tmp_path)
    made.make(CONTAINER)
    made.make(CONTAINER.replace("c1", "c2"))
    return made


FILES = [
    ("cpuset.cpus", "3", "cpuset/", ""),
    ("cpuset.mems", "1", "cpuset/", ""),
    ("cpu.shares", "77", "cpu/", None),
    ("cpu.weight", "77", None, ""),
    ("cpu.max", "5000 100000", None, ""),
    ("cpu.cfs_quota_us", "5000", "cpu/", None),
]


@pytest.mark.parametrize(("file", "value", "v1", "v2"), FILES, ids=[row[0] for row in FILES])
def test_whatever_changes_is_seen(host: MadeV1 | MadeV2, file: str, value: str, v1: str | None, v2: str | None) -> None:
    place = v1 if isinstance(host, MadeV1) else v2
    if place is None:
        return  # the other version of the interface has this file
    cgroups = Cgroups(host.root, host)
    cgroups.read(PLACES)
    assert [cgroups.changed(part, 2) for part in range(2)] == [[], []]
    host.put(f"{place}{CONTAINER}/{file}", value)
    assert cgroups.changed(0, 1) == ["c1"]
    assert [cgroups.changed(part, 2) for part in range(2)] == [["c1"], []]
    cgroups.read(PLACES)
    assert cgroups.changed(0, 1) == []


def test_files_are_closed_with_the_last_who_knows_them(host: MadeV1 | MadeV2) -> None:
    gc.collect()  # what other tests have left open
    before = open_files()
    cgroups = Cgroups(host.root, host)
    for _ in range(3):
        cgroups.read(PLACES)
    assert open_files() > before
    del cgroups
    gc.collect()
    assert open_files() == before


def test_no_more_files_are_kept_open_than_may_be(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text("1\n")
    glances = Glances(most=2)
    glances.keep("x", {paths[0]: "1", paths[1]: "1"})
    glances.keep("y", {paths[2]: "1"})
    paths[2].write_text("2\n")
    assert glances.changed(0, 1) == []
    glances.forget("x")
    glances.keep("y", {paths[2]: "1"})
    assert glances.changed(0, 1) == ["y"]


def test_a_container_that_has_vanished_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("1\n")
    glances, before = Glances(), open_files()
    glances.keep("x", {tmp_path / "a": "1"})

    def gone(*_: object) -> bytes:
        raise OSError(19, "No such device")

    with monkeypatch.context() as vanished:
        vanished.setattr(os, "pread", gone)
        assert glances.changed(0, 1) == []
    assert open_files() == before
    glances.keep("x", {tmp_path / "missing": "1"})
    assert (glances.changed(0, 1), open_files()) == ([], before)


def test_the_limit_of_open_files_is_raised_as_far_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.update(now=wanted))
    raise_limit_of_open_files()
    assert limits["now"] == (4096, 4096)
    limits["now"] = (1 << 20, 1 << 20)
    raise_limit_of_open_files()
    assert limits["now"] == (1 << 20, 1 << 20)
