from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crirm.config.config import Config
from crirm.config.cpus import CgroupCPUs, CPUAmount, ExactCPUs
from crirm.config.faults import ConfigFaults
from crirm.config.load import load
from crirm.errors import CrirmError
from crirm.model.cpuset import CPUSet
from crirm.model.quantity import MilliCPU
from crirm.policy.registry import POLICIES
from crirm.policy.static.options import StaticOptions
from crirm.policy.topology_aware.options import TopologyAwareOptions

from .reading import load_faults, loaded

if TYPE_CHECKING:
    from collections.abc import Iterable

RESERVED = "ReservedResources: {CPU: 1}"
*_MOST, _LAST = POLICIES
KNOWN = f"this version has {', '.join(_MOST)} and {_LAST}"


def test_a_configuration_says_all_that_the_daemon_asks() -> None:
    config = loaded(
        "policy:\n"
        "  Active: topology-aware\n"
        "  AvailableResources: {cpu: cpuset:0-7}\n"
        "  ReservedResources: {CPU: 750m}\n"
        "  topology-aware: {PinMemory: false, ReservedPoolNamespaces: [a, 7]}\n"
        "  static: {RelaxedIsolation: true, Rdt: true}\n"
        "logger: {Debug: '*', LogSource: yes, Klog: {v: 4, skip_headers: true}}\n"
        "dump: {Config: 'full:.*', File: /x, Debug: on, Disabled: off}\n"
    )
    assert config.policy_name == "topology-aware"
    assert config.available == ExactCPUs(CPUSet.parse("0-7"))
    assert config.reserved == CPUAmount(MilliCPU(750))
    assert config.policy_options == TopologyAwareOptions(pin_memory=False, reserved_pool_namespaces=("a", "7"))
    assert config.options["static"] == StaticOptions(relaxed_isolation=True, rdt="true")
    assert (config.logger.debug, config.logger.log_source) == ("*", True)
    assert config.logger.klog == {"v": "4", "skip_headers": "true"}
    assert (config.dump.config, config.dump.file, config.dump.debug, config.dump.disabled) == (
        "full:.*",
        "/x",
        True,
        False,
    )


def test_only_the_section_of_the_name_that_is_chosen_counts() -> None:
    text = "policy: {Active: %s, ReservedResources: {CPU: 1}, topology-aware: {PinCPU: false}}"
    assert not loaded(text % "topology-aware").policy_options.pin_cpu
    assert loaded(text % "memtier").policy_options.pin_cpu


def test_the_policy_none_has_no_options() -> None:
    assert Config().policy_options is None
    assert Config().available is Config().reserved is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(
            "policy: {Active: topologyaware}",
            f"unknown policy 'topologyaware' (did you mean topology-aware?); {KNOWN} @ $.policy.Active (line 1)",
            id="a policy that does not exist",
        ),
        pytest.param(
            "policy:\n  Active: balloons",
            f"policy balloons is not supported yet; {KNOWN} @ $.policy.Active (line 2)",
            id="a policy that does not exist yet",
        ),
        pytest.param(
            "policy:\n  Active: static",
            "policy static needs reserved CPUs; set for example CPU: 1 @ $.policy.ReservedResources (line 1)",
            id="no reserved CPUs",
        ),
        pytest.param(
            "dump: {Debug: 'true'}",
            "expected true or false, found string 'true'; write true without quotes @ $.dump.Debug (line 1)",
            id="a text for a boolean",
        ),
        pytest.param(
            "dump: {Debug: maybe}",
            "expected true or false, found string 'maybe' @ $.dump.Debug (line 1)",
            id="a word",
        ),
        pytest.param("dump: {Debug: 1}", "expected true or false, found number 1 @ $.dump.Debug (line 1)", id="1"),
        pytest.param(
            "dump: {Config: [a]}", "expected a string, found a list @ $.dump.Config (line 1)", id="a list for a text"
        ),
        pytest.param(
            f"policy: {{Active: memtier, {RESERVED}, memtier: {{ReservedPoolNamespaces: kube-system}}}}",
            "expected a list such as [kube-system], found string 'kube-system' "
            "@ $.policy.memtier.ReservedPoolNamespaces (line 1)",
            id="a text for a list",
        ),
        pytest.param(
            "policy:\n  memtier:\n    ReservedPoolNamespaces:\n    - a\n    -\n",
            "expected a string, found nothing @ $.policy.memtier.ReservedPoolNamespaces[1] (line 5)",
            id="nothing in a list",
        ),
        pytest.param(
            "policy: {AvailableResources: 4}",
            "expected a mapping such as CPU: ..., found number 4 @ $.policy.AvailableResources (line 1)",
            id="a number for a mapping",
        ),
        pytest.param(
            "policy:\n  AvailableResources:\n    CPU: 1\n    Memory: 1G\n",
            "unknown option 'Memory' @ $.policy.AvailableResources.Memory (line 4)",
            id="another resource",
        ),
        pytest.param(
            "policy:\n  AvailableResources:\n    Cpus: 1\n",
            "unknown option 'Cpus' (did you mean CPU?) @ $.policy.AvailableResources.Cpus (line 3)",
            id="a misspelled resource",
        ),
        pytest.param(
            "policy: {AvailableResources: {CPU: 1, cpu: 2}}",
            "CPU is given twice in different cases; keep one @ $.policy.AvailableResources (line 1)",
            id="a resource in two spellings",
        ),
        pytest.param(
            "policy:\n  ReservedResources:\n    cpu: 0\n",
            "expected an amount of CPUs above zero, such as 750m or 2, found 0 "
            "@ $.policy.ReservedResources.CPU (line 3)",
            id="a place is found whatever the case of its key",
        ),
        pytest.param(
            'policy: {ReservedResources: {CPU: "cgroup:/a\\0b"}}',
            "the string contains a NUL character (U+0000); remove it @ $.policy.ReservedResources.CPU (line 1)",
            id="a character that ends every name",
        ),
        pytest.param(
            'logger: {Klog: {log_file: "/a\\0b"}}',
            "the string contains a NUL character (U+0000); remove it @ $.logger.Klog (line 1)",
            id="such a character in a flag",
        ),
        pytest.param(
            f"dump: {{Config: '{'a,' * 3000}'}}",
            "the string has 6000 characters; the limit is 4096 @ $.dump.Config (line 1)",
            id="a very long text",
        ),
        pytest.param(
            "logger: {Klog: v}",
            "expected a mapping of names to values such as v: 4, found string 'v' @ $.logger.Klog (line 1)",
            id="a text for flags",
        ),
        pytest.param(
            "logger: {Klog: {v: [1]}}",
            "expected a value for 'v', found a list @ $.logger.Klog (line 1)",
            id="a list for a flag",
        ),
        pytest.param(
            f"policy: {{? {'x' * 300} : 1}}",
            f"unknown option '{'x' * 200}'... (300 characters) @ $.policy.{'x' * 200}... (300 characters) (line 1)",
            id="a very long key is cut",
        ),
    ],
)
def test_what_is_wrong_is_refused(text: str, fault: str) -> None:
    assert load_faults(text) == [fault]


def test_all_faults_are_told_at_once_in_the_order_of_lines() -> None:
    text = (
        "dump:\n  Debug: 'no'\n  Deubg: true\n"
        "policy:\n  Active: nine\n  AvailableResources:\n    CPU: x\n    GPU: 1\n  activ: x\n"
        "blokio: {}\n"
    )
    lines = [fault.rpartition("(")[2] for fault in load_faults(text)]
    assert lines == ["line 2)", "line 3)", "line 5)", "line 7)", "line 8)", "line 9)", "line 10)"]


def test_faults_are_one_error_that_names_the_file() -> None:
    with pytest.raises(ConfigFaults) as one:
        load(b"x: 1", "a.yaml")
    assert str(one.value) == "a.yaml: unknown section 'x' @ $.x (line 1)"
    with pytest.raises(ConfigFaults) as two:
        load(b"x: 1\nz: 2\n", "a.yaml")
    assert str(two.value).splitlines() == [
        "a.yaml: 2 faults",
        "  unknown section 'x' @ $.x (line 1)",
        "  unknown section 'z' @ $.z (line 2)",
    ]


def even(text: str) -> Iterable[str]:
    if len(text) % 2:
        raise CrirmError(f"{text} is odd")
    return [f"{text} is even"] if text else []


def test_texts_that_are_languages_are_read_by_who_knows_them() -> None:
    found = load(b"dump:\n  Config: ab\n", "test", {"dump.Config": even})
    assert [str(one) for one in found.warnings] == ["ab is even @ $.dump.Config (line 2)"]
    with pytest.raises(ConfigFaults, match=r"abc is odd @ \$\.dump\.Config \(line 2\)"):
        load(b"dump:\n  Config: abc\n", "test", {"dump.Config": even})


def test_a_default_is_read_too() -> None:
    with pytest.raises(ConfigFaults, match=r"is odd @ \$\.dump\.Config$"):
        load(b"", "test", {"dump.Config": lambda text: even(text + "." * (1 - len(text) % 2))})


def test_of_a_list_each_item_is_read() -> None:
    key = "policy.memtier.ReservedPoolNamespaces"
    with pytest.raises(ConfigFaults) as told:
        load(b"policy:\n  memtier:\n    ReservedPoolNamespaces:\n    - ab\n    - abc\n", "test", {key: even})
    assert str(told.value) == f"test: abc is odd @ $.{key}[1] (line 5)"


def test_of_a_mapping_each_pair_is_read() -> None:
    def read(pair: tuple[str, str]) -> Iterable[str]:
        return even("".join(pair))

    with pytest.raises(ConfigFaults) as told:
        load(b"logger:\n  Klog:\n    a: b\n    c: 10\n", "test", {"logger.Klog": read})
    assert str(told.value) == "test: c10 is odd @ $.logger.Klog.c (line 4)"


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "originals").iterdir()), ids=lambda path: path.stem)
def test_files_for_the_original_load_as_they_are(path: Path) -> None:
    assert load(path.read_bytes(), path.name).config.policy_name


def test_a_cgroup_is_kept_by_its_directory() -> None:
    config = loaded("policy: {Active: static, ReservedResources: {CPU: /sys/fs/cgroup/x}}")
    assert config.reserved == CgroupCPUs("/sys/fs/cgroup/x")
