"""The policy and settings that files and options choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.cli.configured import choice_from_options, configured
from crirm.cli.cri_resmgr import settings_of
from crirm.cli.cri_resmgr_flags import FLAGS
from crirm.cli.goflags import parse
from crirm.config.faults import ConfigFaults
from crirm.config.topology_aware import TopologyAwareOptions
from crirm.daemon.settings import Settings
from crirm.errors import UsageError
from crirm.model.cpuset import CPUSet
from crirm.policy.api import Choice, Constraints, CPUConstraint

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
policy:
  Active: topology-aware
  ReservedResources: {CPU: 750m}
  topology-aware: {PinMemory: false}
dump: {Config: "full:Create.*", File: /tmp/x.dump}
logger: {Debug: "relay"}
"""


def test_a_file_decides_about_policy_dump_and_logs(tmp_path: Path) -> None:
    path = tmp_path / "crirm.yaml"
    path.write_text(FILE)
    settings = configured(Settings(), str(path))
    assert (settings.policy.name, settings.policy.constraints.reserved.millicpu) == ("topology-aware", 750)
    assert isinstance(settings.policy.options, TopologyAwareOptions)
    assert not settings.policy.options.pin_memory
    assert (
        settings.dump_rules,
        settings.dump_file,
        settings.log.debug["relay"],
    ) == ("full:Create.*", "/tmp/x.dump", True)


def test_what_a_file_leaves_out_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "crirm.yaml"
    path.write_text("policy: {Active: none}\n")
    assert configured(Settings(dump_rules="off:*"), str(path)).dump_rules == "off:*"


def test_a_bad_file_is_refused_with_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "crirm.yaml"
    path.write_text("policy: {Actve: none}\n")
    with pytest.raises(ConfigFaults, match="Active"):
        configured(Settings(), str(path))


@pytest.mark.parametrize(
    ("available", "reserved", "constraints"),
    [
        pytest.param(None, None, Constraints(), id="nothing said"),
        pytest.param(
            "2-7",
            "750m",
            Constraints(CPUConstraint(cpus=CPUSet.parse("2-7")), CPUConstraint(millicpu=750)),  # type: ignore[arg-type] # NewType
            id="a list and an amount",
        ),
    ],
)
def test_options_choose_too(available: str | None, reserved: str | None, constraints: Constraints) -> None:
    assert Choice("static", constraints, choice_from_options("static", None, None, "/").options) == choice_from_options(
        "static", available, reserved, "/"
    )


@pytest.mark.parametrize(
    ("name", "reserved", "sentence"),
    [
        pytest.param("topolgy-aware", None, "there is no such policy", id="no such policy"),
        pytest.param("balloons", None, "there is no such policy", id="one that comes later"),
        pytest.param("static", "many", "--reserved-cpus many", id="no amount"),
    ],
)
def test_what_cannot_be_chosen_is_named(name: str, reserved: str | None, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        choice_from_options(name, None, reserved, "/")


def test_the_flags_of_the_first_version_choose_as_they_did() -> None:
    argv = ["--policy", "topology-aware", "-reserved-resources=cpu=750m", "--available-resources", "cpu=0-3"]
    policy = settings_of(parse(argv, FLAGS), {}).policy
    assert ("topology-aware", 750, CPUSet.parse("0-3")) == (
        policy.name,
        policy.constraints.reserved.millicpu,
        policy.constraints.available.cpus,
    )
