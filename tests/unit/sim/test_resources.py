from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.cri.proto.runtime.v1 import HugepageLimit
from crirm.cri.proto.runtime.v1 import LinuxContainerResources as Resources
from crirm.sim.resources import merge_resources


@pytest.mark.parametrize(
    ("old", "update", "merged"),
    [
        pytest.param(Resources(cpu_shares=2), Resources(cpu_quota=5), Resources(cpu_shares=2, cpu_quota=5), id="adds"),
        pytest.param(Resources(cpuset_cpus="0"), Resources(cpuset_cpus="1"), Resources(cpuset_cpus="1"), id="replaces"),
        pytest.param(Resources(cpu_quota=-1), Resources(), Resources(cpu_quota=-1), id="what is not set stays"),
        pytest.param(
            Resources(unified={"a": "1", "b": "1"}),
            Resources(unified={"b": "2"}),
            Resources(unified={"a": "1", "b": "2"}),
            id="unified is merged by key",
        ),
        pytest.param(
            Resources(hugepage_limits=[HugepageLimit("2MB", 1)]),
            Resources(hugepage_limits=[HugepageLimit("1GB", 2)]),
            Resources(hugepage_limits=[HugepageLimit("1GB", 2)]),
            id="huge pages are replaced",
        ),
        pytest.param(
            Resources(),
            Resources(memory_limit_in_bytes=7),
            Resources(memory_limit_in_bytes=7, memory_swap_limit_in_bytes=7),
            id="a memory limit alone allows no swap",
        ),
    ],
)
def test_merge(old: Resources, update: Resources, merged: Resources) -> None:
    before = bytes(old), bytes(update)
    assert merge_resources(old, update) == merged
    assert (bytes(old), bytes(update)) == before


def test_unknown_fields_survive() -> None:
    old = Resources().parse(b"\xf8\x7f\x01")
    assert bytes(merge_resources(old, Resources(cpu_shares=2))).endswith(b"\xf8\x7f\x01")


_resources = st.builds(
    Resources,
    cpu_shares=st.integers(0, 1 << 18),
    cpu_quota=st.integers(-1, 1 << 20),
    memory_limit_in_bytes=st.integers(0, 1 << 40),
    cpuset_cpus=st.sampled_from(["", "0", "1-3"]),
    unified=st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")),
)


@given(_resources, _resources)
def test_the_same_update_twice_changes_nothing_more(old: Resources, update: Resources) -> None:
    once = merge_resources(old, update)
    assert merge_resources(once, update) == once
