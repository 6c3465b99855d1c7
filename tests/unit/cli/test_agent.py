from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crirm.cli.agent import UnreadableFileError, adjustment_specs, config_map_data, documents
from crirm.cli.exit_codes import ExitCode
from crirm.cli.main import crirm
from crirm.kube.agent_client import AgentError
from crirm.kube.calls import CallError
from crirm.kube.proto import v1
from crirm.policy.overrides import Amounts, decode_overrides
from tests.unit.kube.rig import Accepted, FakeAgent, agent_server, config_server

CONFIG_MAP = """
kind: ConfigMap
metadata: {name: cri-resmgr-config.default}
data:
  policy: |
    Active: none
"""
ADJUSTMENTS = """
kind: Adjustment
metadata: {name: a}
spec: {resources: {limits: {cpu: 1}}}
---
---
kind: Adjustment
metadata: {name: b}
"""


def agent(*argv: object) -> Any:
    return crirm.main(["agent", *map(str, argv)], standalone_mode=False)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        pytest.param(CONFIG_MAP, {"policy": "Active: none\n"}, id="a ConfigMap goes as it is"),
        pytest.param("policy: {Active: none}\n", {"policy": "Active: none\n"}, id="YAML"),
        pytest.param("[policy]\nActive = 'none'\n", {"policy": "Active: none\n"}, id="TOML"),
        pytest.param("# nothing\n", {}, id="nothing"),
        pytest.param("kind: ConfigMap\ndata:\n", {}, id="a ConfigMap without data"),
    ],
)
def test_a_configuration_is_sent_section_by_section(short_path: Path, text: str, data: dict[str, str]) -> None:
    (short_path / "f").write_text(text)
    accepted = Accepted()
    with config_server(short_path / "c.sock", accepted):
        code = agent("set-config", short_path / "f", "--config-socket", short_path / "c.sock", "--node", "n1")
    assert (ExitCode.OK, [("n1", data)]) == (code, accepted.configs)


def test_a_rejection_is_printed_and_fails(short_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (short_path / "f").write_text("policy: {}")
    with config_server(short_path / "c.sock", Accepted(reason="no")):
        assert agent("set-config", short_path / "f", "--config-socket", short_path / "c.sock") is ExitCode.FAILED
    assert capsys.readouterr().out == "rejected: no\n"


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        pytest.param(ADJUSTMENTS, {"a": {"resources": {"limits": {"cpu": 1}}}, "b": None}, id="objects"),
        pytest.param('{"a": {"scope": []}}', {"a": {"scope": []}}, id="specs by name"),
        pytest.param("{}", {}, id="none"),
    ],
)
def test_adjustments_are_sent_by_name(short_path: Path, text: str, specs: dict[str, Any]) -> None:
    (short_path / "f").write_text(text)
    accepted = Accepted()
    with config_server(short_path / "c.sock", accepted):
        agent("set-adjustments", short_path / "f", "--config-socket", short_path / "c.sock", "--node", "n1")
    assert accepted.adjustments == [("n1", specs)]


def test_what_is_wrong_with_adjustments_is_printed_by_name(
    short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (short_path / "f").write_text("{}")
    with config_server(short_path / "c.sock", Accepted(errors={"b": "no", "a": "never"})):
        assert agent("set-adjustments", short_path / "f", "--config-socket", short_path / "c.sock") is ExitCode.FAILED
    assert capsys.readouterr().out == "a: never\nb: no\n"


@pytest.mark.parametrize(
    ("reader", "text", "problem"),
    [
        pytest.param(config_map_data, "[", "cannot be read: while parsing", id="no YAML"),
        pytest.param(config_map_data, "a = \n", "cannot be read: Invalid value", id="no TOML"),
        pytest.param(config_map_data, "- 1", "expected one ConfigMap or a configuration", id="a list"),
        pytest.param(config_map_data, "a: 1\n---\nb: 2\n", "expected one ConfigMap or", id="two documents"),
        pytest.param(config_map_data, "kind: ConfigMap\ndata: {a: {}}", "the ConfigMap's data must be", id="no texts"),
        pytest.param(adjustment_specs, "kind: Pod", "expected only Adjustment objects", id="another object"),
        pytest.param(adjustment_specs, "kind: Adjustment", "expected only Adjustment objects", id="without a name"),
    ],
)
def test_files_that_hold_something_else(short_path: Path, reader: Any, text: str, problem: str) -> None:
    file = short_path / "f"
    file.write_text(text)
    with pytest.raises(UnreadableFileError) as caught:
        reader(file, documents(file))
    assert str(caught.value).startswith(f"{file}: {problem}")


def test_the_agents_health_and_node(short_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeAgent({"HealthCheckRequest": v1.HealthCheckReply("config error")})
    with agent_server(short_path / "a.sock", fake):
        assert agent("health", "config-status", "--agent-socket", short_path / "a.sock") is ExitCode.FAILED
        fake.answers = {}
        assert agent("health", "--agent-socket", short_path / "a.sock") is ExitCode.OK
        agent("node", "--agent-socket", short_path / "a.sock")
    assert fake.asked[0] == v1.HealthCheckRequest("config-status")
    assert capsys.readouterr().out == 'config error\nhealthy\n{\n  "metadata": {\n    "name": "n1"\n  }\n}\n'


def test_nobody_there(short_path: Path) -> None:
    (short_path / "f").write_text("policy: {}")
    with pytest.raises(CallError, match=r"crirm's configuration interface at .*: socket not found"):
        agent("set-config", short_path / "f", "--config-socket", short_path / "c.sock")
    with pytest.raises(AgentError, match=r"the node agent at .*: socket not found"):
        agent("health", "--agent-socket", short_path / "a.sock")


def test_the_example_of_the_documentation_is_an_adjustment() -> None:
    text = (Path(__file__).parents[3] / "docs" / "node-agent.md").read_text()
    example = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    specs = adjustment_specs(Path("example"), [example])
    (adjustment,), errors = decode_overrides(specs)
    assert (errors, adjustment.name, adjustment.cpu) == ({}, "favour-the-database", Amounts(4000, 4000))
