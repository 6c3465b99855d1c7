from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalCode, RefusalReason, RefusedError
from crirm.model.topology import MemoryKind
from crirm.model.workload import Pod, PodId
from crirm.policy import annotations as asked

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "prefer-shared-cpus.cri-resource-manager.intel.com"
LEGACY = "cri-resource-manager.intel.com/prefer-shared-cpus"
KINDS = "memory-type.cri-resource-manager.intel.com"
LEGACY_KINDS = "cri-resource-manager.intel.com/memory-type"
COLD = "cold-start.cri-resource-manager.intel.com"
LEGACY_COLD = "cri-resource-manager.intel.com/cold-start"


def pod(values: dict[str, str]) -> Pod:
    return Pod(PodId("p"), "uid", "pod", "default", QoSClass.GUARANTEED, annotations=values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({KEY: "a"}, "a", id="the bare key"),
        pytest.param({KEY: "a", f"{KEY}/pod": "b"}, "b", id="the pod before the bare key"),
        pytest.param({f"{KEY}/pod": "b", f"{KEY}/container.c1": "c"}, "c", id="the container before the pod"),
        pytest.param({f"{KEY}/container.c2": "c"}, None, id="another container"),
        pytest.param({f"{KEY}/container.c1": "", KEY: "a"}, "", id="an empty value is a value"),
        pytest.param({LEGACY: "a"}, None, id="the legacy key has another syntax"),
    ],
)
def test_scopes(values: dict[str, str], expected: str | None) -> None:
    assert expected == asked.lookup(pod(values), "c1", KEY)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, None, id="not said"),
        pytest.param({KEY: "true"}, True, id="true"),
        pytest.param({f"{KEY}/container.c1": "False", KEY: "true"}, False, id="the scope that counts"),
        pytest.param({LEGACY: "true"}, True, id="legacy: one value for all containers"),
        pytest.param({LEGACY: "c1: false\nc2: true"}, False, id="legacy: one value per container"),
        pytest.param({LEGACY: 'c1: "true"'}, True, id="legacy: as a string"),
        pytest.param({LEGACY: "c2: true"}, None, id="legacy: another container"),
        pytest.param({LEGACY: "true", f"{KEY}/pod": "false"}, False, id="legacy: only where the new key is absent"),
        pytest.param({LEGACY: "true", f"{KEY}/container.c2": "false"}, True, id="legacy: beside another's new key"),
    ],
)
def test_boolean(values: dict[str, str], expected: bool | None) -> None:
    assert expected is asked.boolean(pod(values), "c1", KEY)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, None, id="not said"),
        pytest.param({KINDS: "dram"}, {MemoryKind.DRAM}, id="one kind"),
        pytest.param({KINDS: "DRAM, pmem"}, {MemoryKind.DRAM, MemoryKind.PMEM}, id="a list, in any case"),
        pytest.param({KINDS: "mixed"}, set(MemoryKind), id="mixed is all"),
        pytest.param({LEGACY_KINDS: "hbm"}, {MemoryKind.HBM}, id="legacy: a plain value"),
        pytest.param({LEGACY_KINDS: "c1: pmem,dram"}, {MemoryKind.DRAM, MemoryKind.PMEM}, id="legacy: per container"),
    ],
)
def test_memory_kinds(values: dict[str, str], expected: set[MemoryKind] | None) -> None:
    assert expected == asked.memory_kinds(pod(values), "c1")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, None, id="not said"),
        pytest.param({f"{COLD}/container.c1": "duration: 60s"}, 60.0, id="a duration"),
        pytest.param({COLD: "{duration: 1h}"}, 3600.0, id="the longest"),
        pytest.param({COLD: "duration: 0s"}, 0.0, id="none at all"),
        pytest.param({LEGACY_COLD: "c1:\n  duration: 90s\nc2:\n  duration: 1s"}, 90.0, id="legacy: per container"),
        pytest.param({LEGACY_COLD: "c2:\n  duration: 1s"}, None, id="legacy: another container"),
    ],
)
def test_cold_start(values: dict[str, str], expected: float | None) -> None:
    assert expected == asked.cold_start_s(pod(values), "c1")


def boolean(one: Pod, name: str) -> bool | None:
    return asked.boolean(one, name, KEY)


@pytest.mark.parametrize(
    ("read", "values", "message"),
    [
        pytest.param(
            boolean,
            {f"{KEY}/pod": "yes"},
            f"annotation {KEY}/pod: 'yes' is not a boolean; write true or false",
            id="no boolean",
        ),
        pytest.param(
            boolean,
            {LEGACY: "c1: maybe"},
            f"annotation {LEGACY}: $.c1: 'maybe' is not a boolean; write true or false",
            id="legacy: no boolean",
        ),
        pytest.param(
            boolean,
            {LEGACY: "[true]"},
            f"annotation {LEGACY}: is not a single value; write one string",
            id="legacy: neither a value nor a mapping",
        ),
        pytest.param(
            boolean,
            {LEGACY: "c1: [broken"},
            f"annotation {LEGACY}: is not valid YAML: expected ',' or ']', but got '<stream end>' at line 1, "
            "character 12",
            id="legacy: no YAML",
        ),
        pytest.param(
            asked.memory_kinds,
            {KINDS: "dram,floppy"},
            f"annotation {KINDS}: 'floppy' is not a kind of memory; write a list of dram, pmem, hbm, cxl, or mixed",
            id="no kind of memory",
        ),
        pytest.param(
            asked.cold_start_s,
            {COLD: "60s"},
            f'annotation {COLD}: must be the single field "duration"; write for example "duration: 60s"',
            id="cold start without the field",
        ),
        pytest.param(
            asked.cold_start_s,
            {LEGACY_COLD: "c1: {duration: 60s, size: 3}"},
            f'annotation {LEGACY_COLD}: $.c1: must be the single field "duration"; write for example "duration: 60s"',
            id="legacy: cold start with an unknown field",
        ),
        pytest.param(
            asked.cold_start_s,
            {COLD: "duration: 60"},
            f"annotation {COLD}: $.duration: '60' is not a duration; write numbers with units, such as 60s or 1h30m",
            id="a duration without a unit",
        ),
        pytest.param(
            asked.cold_start_s,
            {COLD: "duration: 61m"},
            f"annotation {COLD}: $.duration: 61m is out of range; write 0s to 1h",
            id="a cold start that is too long",
        ),
        pytest.param(
            asked.cold_start_s,
            {COLD: "duration: -1s"},
            f"annotation {COLD}: $.duration: -1s is out of range; write 0s to 1h",
            id="a cold start before the start",
        ),
    ],
)
def test_refusals(read: Callable[[Pod, str], Any], values: dict[str, str], message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read(pod(values), "c1")
    assert message == caught.value.message
    assert (caught.value.code, caught.value.reason) == (RefusalCode.BAD_ANNOTATION, RefusalReason.BAD_REQUEST)


@given(st.text(max_size=40), st.sampled_from((KEY, LEGACY, KINDS, LEGACY_KINDS, COLD, LEGACY_COLD)))
@example("{duration: 1h1s}", COLD)
@example("duration: -1s", LEGACY_COLD)
@example("dram,,mixed", KINDS)
@example("{c: [true]}", LEGACY)
def test_any_value_is_read_or_refused(value: str, key: str) -> None:
    for read in (boolean, asked.memory_kinds, asked.cold_start_s):
        for text in (value, f"c1: {value}", f"duration: {value}"):
            with suppress(RefusedError):
                read(pod({key: text}), "c1")
