from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from crirm.cli.config import command
from crirm.cli.exit_codes import ExitCode
from crirm.config.config import Config
from crirm.config.cpus import CgroupCPUs
from crirm.config.faults import ConfigFaults
from crirm.config.load import load
from crirm.config.policy import PolicySection, Resources
from crirm.cri.dump_rules import DEFAULT_RULES
from crirm.daemon.configuration.grammars import GRAMMARS
from crirm.daemon.configuration.meaning import UnreadableError, constraints_of, read_cgroup
from crirm.errors import UsageError
from crirm.hosts.synthetic import parse_spec, write_tree
from crirm.model.cpuset import CPUSet
from crirm.policy.api import CPUConstraint

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "policy:\n  Active: static\n  ReservedResources:\n    CPU: cpuset:0\n"
SMALL = ("--synthetic", "1p.2c")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "node.yaml"


def run(*args: object, given: bytes | None = None) -> tuple[int, str]:
    """The exit code and standard output of ``crirm config``."""
    result = CliRunner().invoke(command, [str(arg) for arg in args], input=given, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value or 0), result.stdout


def test_a_file_that_can_be_used_is_told_in_one_line(file: Path) -> None:
    file.write_text(GOOD)
    assert run("check", file, *SMALL) == (
        ExitCode.OK,
        f"{file}: valid: policy static, available all CPUs, reserved cpuset:0\n",
    )


def test_faults_are_told_and_end_with_1(file: Path) -> None:
    file.write_text(GOOD + "dmp: {}\n")
    code, output = run("check", file, *SMALL)
    assert code == ExitCode.FAILED
    assert output == f"{file}: 1 fault\n  unknown section 'dmp' (did you mean dump?) @ $.dmp (line 5)\n"


def test_warnings_do_not_stand_in_the_way(file: Path) -> None:
    file.write_text(f"{GOOD}  memtier: {{}}\nlogger: {{Debug: relya}}\n")
    code, output = run("check", file, *SMALL)
    assert code == ExitCode.OK
    assert output.splitlines()[:3] == [
        f"{file}: 2 warnings",
        "  not used: the active policy is static @ $.policy.memtier (line 5)",
        "  relya: no such source (did you mean relay?) @ $.logger.Debug (line 6)",
    ]


@pytest.mark.parametrize(
    ("text", "document"),
    [
        pytest.param(GOOD, {"usable": True, "faults": [], "warnings": []}, id="fine"),
        pytest.param(
            "x: 1",
            {
                "usable": False,
                "faults": [{"reason": "unknown section 'x'", "path": "$.x", "line": 1}],
                "warnings": [],
            },
            id="a fault",
        ),
    ],
)
def test_findings_are_told_to_programs(file: Path, text: str, document: dict[str, Any]) -> None:
    file.write_text(text)
    code, output = run("check", file, "--json", *SMALL)
    assert json.loads(output) == {"file": str(file), **document}
    assert (code == ExitCode.OK) == document["usable"]


def test_a_file_may_come_from_standard_input() -> None:
    assert run("check", "-", *SMALL, given=GOOD.encode())[0] == ExitCode.OK
    assert "Active: static" in run("print", "-", given=GOOD.encode())[1]


def test_the_machine_may_be_another_one(file: Path, tmp_path: Path) -> None:
    write_tree(parse_spec("1p.4c"), tmp_path / "host")
    file.write_text(GOOD.replace("cpuset:0", "cpuset:6"))
    code, output = run("check", file, "--host-root", tmp_path / "host")
    assert code == ExitCode.FAILED
    assert "CPU 6 is not in this machine, which has 0-3" in output


def test_what_the_policy_itself_refuses_is_a_fault(file: Path) -> None:
    file.write_text("policy: {Active: static, AvailableResources: {CPU: 500m}, ReservedResources: {CPU: 100m}}")
    code, output = run("check", file, *SMALL)
    assert code == ExitCode.FAILED
    assert "@ $.policy" in output


def test_a_cgroup_is_read_from_the_machine(file: Path, tmp_path: Path) -> None:
    write_tree(parse_spec("1p.4c"), tmp_path)
    cgroup = tmp_path / "sys/fs/cgroup/nodes"
    cgroup.mkdir(parents=True)
    (cgroup / "cpuset.cpus").write_text("1-9\n")
    file.write_text(GOOD.replace("cpuset:0", "cgroup:nodes"))
    assert "CPUs 4-9 are not in this machine" in run("check", file, "--host-root", tmp_path)[1]


def test_a_cgroup_is_not_judged_on_a_made_up_machine(file: Path) -> None:
    file.write_text(GOOD.replace("cpuset:0", "/nodes"))
    code, output = run("check", file, *SMALL)
    assert code == ExitCode.OK
    assert "not checked" in output


def test_two_machines_are_one_too_many(file: Path) -> None:
    with pytest.raises(UsageError, match="use one of them"):
        run("check", file, "--host-root", "/", *SMALL)


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(UnreadableError, match=f"{file}: cannot be read: No such file"):
        run("check", file)


def test_the_defaults_are_printed() -> None:
    assert load(run("print")[1].encode(), "printed").config == Config()


def test_what_a_file_amounts_to_is_printed(file: Path) -> None:
    file.write_text(GOOD)
    printed = yaml.safe_load(run("print", file)[1])
    assert printed["policy"]["Active"] == "static"
    assert printed["dump"]["Config"] == DEFAULT_RULES


def test_warnings_do_not_get_into_what_is_printed(file: Path) -> None:
    file.write_text("rdt: {a: 1}")
    result = CliRunner().invoke(command, ["print", str(file)])
    assert "without effect" in result.stderr
    assert yaml.safe_load(result.stdout)["rdt"] == {"a": 1}


def test_a_file_with_faults_is_not_printed(file: Path) -> None:
    file.write_text("x: 1")
    with pytest.raises(ConfigFaults, match="unknown section 'x'"):
        run("print", file)


def test_help_and_schema_are_printed() -> None:
    assert "PinCPU" in run("help", ".memtier")[1]
    assert json.loads(run("schema")[1])["$schema"].startswith("https://json-schema.org")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("logger: {Debug: 'maybe:relay'}", "unknown state 'maybe'", id="debug list"),
        pytest.param("logger: {Klog: {v: x}}", "expected a whole number", id="value of a flag"),
        pytest.param("logger: {Klog: {vv: 1}}", "unknown logging flag 'vv' (did you mean v?)", id="flag"),
        pytest.param("logger: {Klog: {debug: x}}", "unknown logging flag 'debug'", id="an option that is no flag"),
        pytest.param("dump: {Config: 'fll:.*'}", "(did you mean full?)", id="dump rules"),
        pytest.param("dump: {File: x}", "'x' is not an absolute path", id="dump file"),
        pytest.param("policy: {memtier: {ReservedPoolNamespaces: ['[']}}", "is not a glob pattern", id="pattern"),
    ],
)
def test_texts_that_are_languages_are_read(text: str, fault: str) -> None:
    with pytest.raises(ConfigFaults) as told:
        load(text.encode(), "test", GRAMMARS)
    assert len(told.value.faults) == 1
    assert fault in str(told.value)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param("logger: {Debug: cache}", "this version of crirm has no such source", id="later source"),
        pytest.param(
            "logger: {Klog: {one_output: true}}",
            "one_output: accepted, but has no effect in crirm",
            id="flag without meaning",
        ),
        pytest.param(
            "dump: {Config: 'full:CreateContaner'}",
            "CRI has no method CreateContaner (did you mean CreateContainer?)",
            id="rule for no method",
        ),
    ],
)
def test_texts_without_effect_are_named(text: str, warning: str) -> None:
    (found,) = load(text.encode(), "test", GRAMMARS).warnings
    assert warning in found.reason


def test_nothing_is_said_about_the_defaults_nor_about_names_of_the_original() -> None:
    assert load(b"logger: {Debug: resource-manager}\ndump: {File: /x}", "test", GRAMMARS).warnings == ()


def test_the_default_rules_are_those_of_the_dump() -> None:
    assert Config().dump.config == DEFAULT_RULES


def test_bounds_are_those_of_the_configuration() -> None:
    cgroups = {"/x": CPUSet.of(1, 2)}
    policy = load(b"policy: {Active: static, ReservedResources: {CPU: 750m}}", "test").config.policy
    config = Config(PolicySection("static", Resources(CgroupCPUs("/x")), policy.reserved))
    constraints = constraints_of(config, cgroups.__getitem__)
    assert constraints.available == CPUConstraint(cpus=CPUSet.of(1, 2))
    assert (constraints.reserved.cpus, constraints.reserved.millicpu) == (None, 750)
    assert constraints_of(Config(), cgroups.__getitem__).available == CPUConstraint()


@pytest.mark.parametrize(
    ("place", "name", "directory"),
    [
        pytest.param("cg", "cpuset.cpus", "/cg", id="an absolute directory"),
        pytest.param("sys/fs/cgroup/cg", "cpuset.cpus", "/cg", id="below the mount, with a slash"),
        pytest.param("sys/fs/cgroup/cg", "cpuset.cpus.effective", "cg", id="below the mount, version 2"),
        pytest.param("sys/fs/cgroup/cpuset/cg", "cpuset.effective_cpus", "cg", id="below the controller, version 1"),
    ],
)
def test_the_cpus_of_a_cgroup_are_found(tmp_path: Path, place: str, name: str, directory: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "cpuset.cpus").write_text("\n")
    (tmp_path / place / name).write_text("1,3-4\n")
    assert read_cgroup(tmp_path, directory) == CPUSet.of(1, 3, 4)


def test_a_cgroup_without_cpus_is_named(tmp_path: Path) -> None:
    (tmp_path / "cg").mkdir()
    (tmp_path / "cg/cpuset.cpus").write_text("\n")
    with pytest.raises(UnreadableError, match=f"no cgroup with CPUs at {tmp_path}/cg or {tmp_path}/sys/fs/cgroup/cg"):
        read_cgroup(tmp_path, "/cg")
