"""What a configuration file means for the daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from crirm.config.faults import ConfigFaults
from crirm.daemon.configuration.meaning import read_config, with_config
from crirm.daemon.settings import Settings
from crirm.logs import Level, settings_from
from crirm.policy.topology_aware.options import TopologyAwareOptions

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
    settings = with_config(Settings(), read_config(str(path)))
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
    assert with_config(Settings(dump_rules="off:*"), read_config(str(path))).dump_rules == "off:*"


def test_a_bad_file_is_refused_with_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "crirm.yaml"
    path.write_text("policy: {Actve: none}\n")
    with pytest.raises(ConfigFaults, match="Active"):
        with_config(Settings(), read_config(str(path)))


@pytest.mark.parametrize(
    ("klog", "debug", "headers"),
    [
        pytest.param("", {"relay": True, "policy": True}, False, id="environment and options where the file is silent"),
        pytest.param("Klog: {skip_headers: 'false'}", {"relay": True, "policy": True}, True, id="a flag of the file"),
        pytest.param("Debug: 'off:relay'", {"relay": False, "policy": True}, False, id="switched off by the file"),
    ],
)
def test_a_file_adds_to_environment_and_options(
    klog: str, debug: dict[str, bool], headers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGGER_DEBUG", "relay")
    monkeypatch.setenv("LOGGER_SKIP_HEADERS", "true")
    options = {"debug": "policy"}
    base = Settings(log_options=options, log=settings_from(os.environ, options))
    path = tmp_path / "crirm.yaml"
    path.write_text(f"logger: {{{klog}}}\n" if klog else "policy: {Active: none}\n")
    log = with_config(base, read_config(str(path))).log
    assert ({**log.debug}, log.headers, log.stderr_level) == (debug, headers, Level.DEBUG)
