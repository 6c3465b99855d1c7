"""``crirm agent``: what a node agent does, by hand: tell crirm a configuration, and ask the real agent how it is."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import tomli
import yaml

from crirm.cli.exit_codes import ExitCode
from crirm.cli.printing import say
from crirm.config.text import is_toml
from crirm.daemon.configuration.meaning import read
from crirm.daemon.settings import Settings
from crirm.errors import CrirmError, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
_NODE = click.option("--node", "node_name", metavar="NAME", default=socket.gethostname, help="Of the Kubernetes node.")
_CONFIG_SOCKET = click.option(
    "--config-socket", metavar="PATH", default=Settings().config_interface, show_default=True, help="crirm serves here."
)
_AGENT_SOCKET = click.option(
    "--agent-socket", metavar="PATH", default=Settings().node_agent, show_default=True, help="The agent serves here."
)
_TIMEOUT = click.option(
    "--timeout", "timeout_s", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True
)


class UnreadableFileError(CrirmError):
    """A file is not what it should be."""


@click.group("agent")
def command() -> None:
    """Tell crirm what a node agent would, and ask the node agent; docs/node-agent.md has more."""


@command.command("set-config")
@_FILE
@_CONFIG_SOCKET
@_NODE
@_TIMEOUT
def set_config(file: Path, config_socket: str, node_name: str, timeout_s: float) -> ExitCode:
    """Have the configuration in FILE (- is standard input) taken into use, and at the next start again.

    FILE is a ConfigMap or a configuration file, in YAML or TOML.
    """
    from crirm.kube.config_client import ConfigClient  # noqa: PLC0415 - --help must not wait for grpclib
    from crirm.rpc import bridge  # noqa: PLC0415

    async def tell() -> str:
        return await ConfigClient(config_socket).set_config(node_name, data, timeout_s=timeout_s)

    data = config_map_data(file, documents(file))
    rejection = bridge.run(tell)
    say(f"rejected: {rejection}" if rejection else "accepted")
    return ExitCode.FAILED if rejection else ExitCode.OK


@command.command("set-adjustments")
@_FILE
@_CONFIG_SOCKET
@_NODE
@_TIMEOUT
def set_adjustments(file: Path, config_socket: str, node_name: str, timeout_s: float) -> ExitCode:
    """Have the adjustments in FILE (- is standard input) taken into use instead of those that are.

    FILE has Adjustment objects, or a mapping of names to their specs, in YAML or JSON; {} takes all away.
    """
    from crirm.kube.config_client import ConfigClient  # noqa: PLC0415
    from crirm.rpc import bridge  # noqa: PLC0415

    async def tell() -> Mapping[str, str]:
        return await ConfigClient(config_socket).set_adjustment(node_name, adjustments, timeout_s=timeout_s)

    adjustments = adjustment_specs(file, documents(file))
    errors = bridge.run(tell)
    say("\n".join(f"{visible(name)}: {visible(why)}" for name, why in sorted(errors.items())) or "accepted")
    return ExitCode.FAILED if errors else ExitCode.OK


@command.command("health")
@click.argument("query", default="")
@_AGENT_SOCKET
@_TIMEOUT
def health(query: str, agent_socket: str, timeout_s: float) -> ExitCode:
    """Ask the node agent how it is; the QUERY config-status asks how the last configuration fared."""
    from crirm.kube.agent_client import AgentClient  # noqa: PLC0415
    from crirm.rpc import bridge  # noqa: PLC0415

    async def ask() -> str:
        return await AgentClient(agent_socket).health_check(query, timeout_s=timeout_s)

    trouble = bridge.run(ask)
    say(trouble or "healthy")
    return ExitCode.FAILED if trouble else ExitCode.OK


@command.command("node")
@_AGENT_SOCKET
@_TIMEOUT
def node(agent_socket: str, timeout_s: float) -> None:
    """Print the Node object of Kubernetes, which the node agent knows."""
    from crirm.kube.agent_client import AgentClient  # noqa: PLC0415
    from crirm.rpc import bridge  # noqa: PLC0415

    async def ask() -> dict[str, Any]:
        return await AgentClient(agent_socket).get_node(timeout_s=timeout_s)

    click.echo(json.dumps(bridge.run(ask), indent=2))


def documents(file: Path) -> list[Any]:
    """Return the documents in *file*, empty ones left out.

    Raises:
        UnreadableFileError: it is neither YAML nor TOML.
    """
    try:
        text = read(file).decode()
        found = [tomli.loads(text)] if is_toml(text) else list(yaml.safe_load_all(text))
    except (yaml.YAMLError, ValueError, RecursionError) as fault:  # TOML's error is a ValueError
        raise UnreadableFileError(f"{file}: cannot be read: {' '.join(str(fault).split())}") from None
    return [document for document in found if document is not None]


def config_map_data(file: Path, found: list[Any]) -> dict[str, str]:
    """Return the data of a ConfigMap for the configuration that was *found* in *file*.

    Raises:
        UnreadableFileError: it is none.
    """
    match found:
        case []:
            return {}
        case [{"kind": "ConfigMap", **rest}]:
            data = rest.get("data") or {}
            if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
                raise UnreadableFileError(f"{file}: the data of the ConfigMap are not texts")
            return {str(section): text for section, text in data.items()}
        case [dict(sections)]:
            return {str(name): yaml.safe_dump(value, sort_keys=False) for name, value in sections.items()}
        case _:
            raise UnreadableFileError(f"{file}: is neither one ConfigMap nor a configuration")


def adjustment_specs(file: Path, found: list[Any]) -> dict[str, Any]:
    """Return the specs of the adjustments that were *found* in *file*, by name.

    Raises:
        UnreadableFileError: there is something else.
    """
    if len(found) == 1 and isinstance(found[0], dict) and "kind" not in found[0]:
        return {str(name): spec for name, spec in found[0].items()}
    specs = {}
    for document in found:
        match document:
            case {"kind": "Adjustment", "metadata": {"name": str(name)}, **rest}:
                specs[name] = rest.get("spec")
            case _:
                raise UnreadableFileError(f"{file}: holds something that is no Adjustment with a name")
    return specs
