from __future__ import annotations

import pytest

from crirm.config.describe import NoSectionError, help_text
from crirm.config.schema import SECTIONS


def titles(*names: str) -> list[str]:
    return [line.partition(":")[0] for line in help_text(names).splitlines() if line and not line.startswith(" ")]


@pytest.mark.parametrize(
    ("names", "sections"),
    [
        pytest.param((), list(SECTIONS), id="none named: all"),
        pytest.param(("dump",), ["dump"], id="a name"),
        pytest.param(("policy",), ["policy"], id="a name that others begin with"),
        pytest.param(
            ("resource-manager.",),
            ["resource-manager.control", "resource-manager.control.page-migration"],
            id="the beginning",
        ),
        pytest.param((".memtier",), ["policy.memtier"], id="the end"),
        pytest.param((".control.",), ["resource-manager.control.page-migration"], id="the middle"),
        pytest.param(("logger", "dump", "logger"), ["logger", "dump"], id="several, each once"),
    ],
)
def test_help_is_about_what_is_named(names: tuple[str, ...], sections: list[str]) -> None:
    assert titles(*names) == sections


def test_an_unknown_section_is_told_with_the_nearest() -> None:
    with pytest.raises(NoSectionError, match=r"dmp: no such section \(did you mean dump\?\)"):
        help_text(["dmp"])


def test_help_tells_type_default_and_meaning() -> None:
    assert help_text(["policy.static"]).splitlines()[1:3] == [
        "  RelaxedIsolation (bool, default false)",
        "      Whether to prefer kernel-isolated CPUs as exclusive CPUs, unless the pod says otherwise.",
    ]


@pytest.mark.parametrize(
    "shown",
    [
        "AvailableResources (mapping of CPU, default {})",
        "ReservedPoolNamespaces (list of strings, default [kube-system])",
        "Klog (mapping of strings, default {})",
        "File (string, default '')",
    ],
)
def test_every_kind_of_option_is_shown(shown: str) -> None:
    assert shown in help_text()


def test_a_section_to_come_says_so() -> None:
    assert "Not supported yet" in help_text(["rdt"])


def test_every_option_has_a_sentence() -> None:
    for section in SECTIONS.values():
        for option in section.options:
            assert option.text.endswith("."), f"{section.name}.{option.key}"
