from __future__ import annotations

from typing import Any

import pytest

from crirm.config.faults import ConfigFaults
from crirm.config.load import load, load_config_map
from crirm.config.nodes import MAX_BYTES

from .reading import load_faults, loaded

NESTED = loaded("{policy: {Active: memtier, ReservedResources: {CPU: 1}, memtier: {PinCPU: false, PinMemory: false}}}")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "policy: {Active: memtier, ReservedResources: {CPU: 1}}\npolicy.memtier: {PinCPU: false, PinMemory: false}",
            id="a section with a dotted name",
        ),
        pytest.param(
            "policy.memtier.PinCPU: no\npolicy: {Active: memtier, memtier.PinMemory: no, ReservedResources: {cpu: 1}}",
            id="options with dotted names, at two levels",
        ),
        pytest.param(
            "policy.Active: memtier\npolicy.ReservedResources: {Cpu: 1000m}\n"
            "policy.memtier: {PinCPU: off, PinMemory: n}",
            id="only dotted names",
        ),
        pytest.param(
            "policy: |\n  Active: memtier\n  ReservedResources: {CPU: 1}\n  memtier: {PinCPU: false, PinMemory: false}",
            id="a section in a text",
        ),
        pytest.param(
            "kind: ConfigMap\napiVersion: v1\ndata:\n  policy: |\n    Active: memtier\n"
            "    ReservedResources: {CPU: 1}\n    memtier: {PinCPU: false, PinMemory: false}",
            id="the manifest of a ConfigMap",
        ),
        pytest.param(
            '[policy]\nActive = "memtier"\nReservedResources.CPU = 1\n["policy.memtier"]\nPinCPU = false\n'
            "PinMemory = false",
            id="TOML with a dotted name in quotes",
        ),
        pytest.param(
            '[policy]\nActive = "memtier"\nReservedResources = {CPU = "1"}\n'
            "memtier = {PinCPU = false, PinMemory = false}",
            id="TOML with nested tables",
        ),
    ],
)
def test_names_may_be_spelled_in_many_ways(text: str) -> None:
    assert loaded(text) == NESTED


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="no bytes"),
        pytest.param("# nothing\n", id="a comment"),
        pytest.param("{}", id="no sections"),
        pytest.param("policy:\nlogger:\ndump:\n", id="sections without options"),
        pytest.param("policy:\n  Active:\n  AvailableResources:\n    CPU:\n", id="options without values"),
        pytest.param("kind: ConfigMap\ndata:\n", id="a ConfigMap without data"),
        pytest.param("kind: ConfigMap\n", id="a ConfigMap with nothing"),
        pytest.param("policy: ''\nlogger: |\n  # nothing\n", id="empty texts"),
    ],
)
def test_what_says_nothing_is_the_default(text: str) -> None:
    assert loaded(text) == loaded("policy: {Active: none}")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        pytest.param(
            "policy: {memtier: {PinCPU: true}}\npolicy.memtier.PinCPU: false\n",
            ["given twice, nested and dotted, first on line 1; keep one @ $.policy.memtier.PinCPU (line 2)"],
            id="an option, nested and dotted",
        ),
        pytest.param(
            "policy.memtier: {}\npolicy:\n  memtier: {}\n",
            ["given twice, nested and dotted, first on line 1; keep one @ $.policy.memtier (line 3)"],
            id="a section, dotted and nested",
        ),
        pytest.param(
            "polcy: {}\n", ["unknown section 'polcy' (did you mean policy?) @ $.polcy (line 1)"], id="section"
        ),
        pytest.param(
            "policy.memtir: {}\n",
            ["unknown option 'memtir' (did you mean memtier?) @ $.policy.memtir (line 1)"],
            id="a section below another",
        ),
        pytest.param(
            "resource-manager: {controls: {}}\n",
            ["unknown option 'controls' (did you mean control?) @ $.resource-manager.controls (line 1)"],
            id="a section below what is none itself",
        ),
        pytest.param(
            "\nLogSource: true\n",
            ["unknown section 'LogSource'; it is an option of logger @ $.LogSource (line 2)"],
            id="an option outside all sections",
        ),
        pytest.param(
            "logger: {Active: none}\n",
            ["unknown option 'Active'; it is an option of policy @ $.logger.Active (line 1)"],
            id="in another section",
        ),
        pytest.param(
            "policy: {active: none}\n",
            ["unknown option 'active' (did you mean Active?) @ $.policy.active (line 1)"],
            id="in another case",
        ),
        pytest.param("policy: 5\n", ["expected a mapping, found number 5 @ $.policy (line 1)"], id="a number"),
        pytest.param("policy: none\n", ["expected a mapping, found string 'none' @ $.policy (line 1)"], id="a text"),
        pytest.param(
            "policy:\n  memtier: |\n    PinCPU: true\n",
            ["expected a mapping, found string 'PinCPU: true\\n' @ $.policy.memtier (line 2)"],
            id="a text below the top",
        ),
        pytest.param("- policy\n", ["expected sections such as policy, found a list @ $ (line 1)"], id="a list"),
        pytest.param("hello\n", ["expected sections such as policy, found string 'hello' @ $ (line 1)"], id="prose"),
        pytest.param(
            "kind: ConfigMap\ndata: 5\n", ["expected a mapping, found number 5 @ $.data (line 2)"], id="no data"
        ),
        pytest.param(
            "kind: Pod\ndata: {}\n",
            ["unknown section 'kind' @ $.kind (line 1)", "unknown section 'data' @ $.data (line 2)"],
            id="another manifest",
        ),
        pytest.param(
            "kind: ConfigMap\ndata:\n  dump: |\n    # x\n    File: 'x\n",
            ["not valid YAML: found unexpected end of stream @ $.dump (line 6)"],
            id="a broken text has lines of the file",
        ),
        pytest.param(
            "kind: ConfigMap\ndata:\n  dump: |\n    Debug: 1\n    debug: 2\n",
            [
                "expected true or false, found number 1 @ $.dump.Debug (line 4)",
                "unknown option 'debug' (did you mean Debug?) @ $.dump.debug (line 5)",
            ],
            id="faults in a text have lines of the file",
        ),
    ],
)
def test_what_belongs_nowhere_is_told(text: str, faults: list[str]) -> None:
    assert load_faults(text) == faults


def test_the_data_of_a_config_map_is_read() -> None:
    data = {"policy": "Active: memtier\nReservedResources: {CPU: 1}\n", "policy.memtier": "PinCPU: no\nPinMemory: no\n"}
    assert load_config_map(data, "map").config == NESTED
    assert load_config_map({}, "map").config == loaded("")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        pytest.param({"policy": "Active: x\nactive: y"}, "map: 2 faults", id="its texts"),
        pytest.param({"x": ""}, "map: unknown section 'x' @ $.x (line 1)", id="its keys"),
        pytest.param(
            {"policy": "#" * (MAX_BYTES + 1)},
            "map: is larger than 1024 KiB @ $",
            id="its size",
        ),
    ],
)
def test_the_faults_of_a_config_map_are_told(data: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigFaults) as told:
        load_config_map(data, "map")
    assert str(told.value).splitlines()[0] == fault


@pytest.mark.parametrize(
    ("text", "later"),
    [
        pytest.param("rdt: {a: {b.c: 1}}", {"rdt": {"a": {"b.c": 1}}}, id="a section at the top"),
        pytest.param("policy.balloons.PinCPU: yes", {"policy.balloons": {"PinCPU": True}}, id="a dotted option"),
        pytest.param(
            "resource-manager: {control: {x: 1, page-migration: {z: 2}}}",
            {"resource-manager.control": {"x": 1}, "resource-manager.control.page-migration": {"z": 2}},
            id="two sections, one in the other",
        ),
    ],
)
def test_sections_of_features_to_come_are_kept_and_named(text: str, later: dict[str, Any]) -> None:
    found = load(text.encode(), "test")
    assert found.config.later == later
    names = ", ".join(later)
    assert [str(one) for one in found.warnings] == [f"not supported yet and without effect: {names} @ $"]


def test_an_option_that_two_sections_have_is_told_with_both() -> None:
    (fault,) = load_faults("PinCPU: true\n")
    assert "; it is an option of policy.topology-aware and policy.memtier @" in fault
