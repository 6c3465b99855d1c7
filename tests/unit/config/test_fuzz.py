"""Whatever the bytes are, they are a configuration or faults with a path and a reason: never a traceback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crirm.config.faults import ConfigFaults
from crirm.config.load import Loaded, load, load_config_map
from crirm.config.machine import judge
from crirm.config.write import dump
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.config.faults import Fault

FOLDERS = (Path(__file__).parents[3] / "configs", Path(__file__).parent / "originals")
SAMPLES = sorted(path.read_bytes() for folder in FOLDERS for path in folder.iterdir())
PIECES = (
    *tuple(
        word.encode()
        for word in [
            "policy",
            "Active",
            "topology-aware",
            "memtier",
            "ReservedResources",
            "AvailableResources",
            "CPU",
            "PinCPU",
            "logger",
            "Klog",
            "rdt",
            "control",
            "data",
            "resource-manager",
            "ConfigMap",
            "kind",
            "750m",
            "0-3",
            "true",
            "[",
            "]",
            "{",
            "}",
            "&a",
            "*a",
            "<<:",
            "!!int",
            "'",
            '"',
            "#",
            "=",
            ".",
            "\\",
            "1e9",
            "0x",
            "-",
            "~",
            '"""',
            "'''",
            "[[",
            "%YAML",
        ]
    ),
    b": ",
    b":\n  ",
    b"\n",
    b"\n- ",
    b"|\n",
    b"---\n",
    b"\t",
    b" ",
    b"? ",
    b"\xff",
    b"\x00",
)
TOPOLOGY = topology_of(parse_spec("1p.2c"))
FAULT = re.compile(r".+ @ \$(\.|\[|$| \(line \d+\)$)", re.DOTALL)
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(read: Callable[[], Loaded]) -> Loaded | tuple[Fault, ...]:
    try:
        return read()
    except ConfigFaults as faults:
        return faults.faults


def check(read: Callable[[], Loaded]) -> None:
    found = outcome(read)
    if isinstance(found, Loaded):
        judge(found, TOPOLOGY, lambda _: CPUSet.of(0))
        assert load(dump(found.config).encode(), "again").config == found.config
    else:
        assert found
        assert all(FAULT.match(str(fault)) for fault in found)


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    check(lambda: load(data, "fuzz"))


@QUICK
@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
@example(b"policy: {Active: |\n 0")
@example(b"kind: ConfigMap\ndata: {policy.Active: '[1]'}")
def test_any_pieces(data: bytes) -> None:
    check(lambda: load(data, "fuzz"))


@QUICK
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 12), st.sampled_from(PIECES)), max_size=3),
)
def test_samples_with_changes(sample: bytes, changes: list[tuple[int, int, bytes]]) -> None:
    for place, length, piece in changes:
        begin = place % (len(sample) + 1)
        sample = sample[:begin] + piece + sample[begin + length :]
    changed = sample
    check(lambda: load(changed, "fuzz"))


@QUICK
@given(
    st.dictionaries(st.sampled_from(("policy", "dump", "policy.memtier", "x", "")), st.text(max_size=40), max_size=3)
)
def test_any_config_map(data: dict[str, str]) -> None:
    check(lambda: load_config_map(data, "fuzz"))
