"""What has changed about a machine, and what of it pods may use."""

from __future__ import annotations

import pytest

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.hardware import MEMORY_STEP, Limit, Sight, changes_text, hardware_of
from crirm.model.quantity import Bytes

EIGHT = "2p.4c mem=4Gi"


def limit(cgroup: str, cpus: str, mems: str = "0-1") -> Limit:
    return Limit(cgroup, f"/sys/fs/cgroup{cgroup}/cpuset.cpus", CPUSet.parse(cpus), NodeSet.parse(mems))


def sight(*limits: Limit, facts: tuple[str, ...] = ("0-7",), memory: int = 8 << 30) -> Sight:
    return Sight(facts, Bytes(memory), limits)


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        pytest.param(sight(), False, id="the same"),
        pytest.param(sight(facts=("0-6",)), True, id="a CPU less"),
        pytest.param(sight(limit("/kubepods", "0-3")), True, id="a cgroup that was narrowed"),
        pytest.param(sight(memory=(8 << 30) + MEMORY_STEP - 1), False, id="a balloon that breathes"),
        pytest.param(sight(memory=(8 << 30) - MEMORY_STEP), True, id="a block of memory less"),
    ],
)
def test_a_look_shows_what_has_changed(other: Sight, changed: bool) -> None:
    assert sight().shows_change(other) is changed
    assert other.shows_change(sight()) is changed


@pytest.mark.parametrize(
    ("limits", "usable", "told"),
    [
        pytest.param([], "0-7", [], id="no cgroup"),
        pytest.param([limit("/kubepods", "0-9", "0-3")], "0-7", [], id="a cgroup that has all"),
        pytest.param([limit("/kubepods", "1-7")], "1-7", ["CPU 0 cannot"], id="a cgroup that lacks one"),
        pytest.param(
            [limit("/kubepods", "1-7"), limit("/kubepods/burstable", "1-7")],
            "1-7",
            ["CPU 0 cannot be used by pods: cgroup /kubepods has only CPUs 1-7"],
            id="one inside that lacks the same is not told of",
        ),
        pytest.param(
            [limit("/kubepods", "1-7"), limit("/kubepods/burstable", "2-7")],
            "2-7",
            ["CPU 0 cannot", "CPUs 0-1 cannot be used by pods: cgroup /kubepods/burstable"],
            id="one inside that lacks more is",
        ),
        pytest.param([limit("/kubepods", "0-7", "0")], "0-7", ["the memory of NUMA node 1 cannot"], id="memory"),
    ],
)
def test_cgroups_above_pods_leave_a_part(limits: list[Limit], usable: str, told: list[str]) -> None:
    hardware = hardware_of(topology_of(parse_spec(EIGHT)), sight(*limits))
    assert str(hardware.usable.online) == usable
    assert len(hardware.notes) == len(told)
    assert all(note.startswith(begin) for note, begin in zip(hardware.notes, told, strict=True))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param(EIGHT, f"{EIGHT} offline=7", "CPU 7 is gone", id="one CPU goes"),
        pytest.param(f"{EIGHT} offline=5-7", EIGHT, "CPUs 5-7 are available now", id="several come"),
        pytest.param(f"{EIGHT} offline=1", f"{EIGHT} offline=2", "CPU 2 is gone; CPU 1 is available now", id="both"),
        pytest.param(EIGHT, "2p.4c mem=5Gi", "the memory of NUMA nodes 0-1 changed its size", id="memory is plugged"),
        pytest.param(EIGHT, "1p.4c mem=4Gi", "CPUs 4-7 are gone; the memory of NUMA node 1 is gone", id="a node goes"),
    ],
)
def test_a_change_is_told_in_words(before: str, after: str, told: str) -> None:
    assert changes_text(topology_of(parse_spec(before)), topology_of(parse_spec(after))) == told
