"""``crirm agent``: what a node agent does, by hand: send a configuration or overrides, and query the real agent."""

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
_NODE = click.option(
    "--node", "node_name", metavar="NAME", default=socket.gethostname, help="Name of the Kubernetes node."
)
_CONFIG_SOCKET = click.option(
    "--config-socket",
    metavar="PATH",
    default=Settings().config_interface,
    show_default=True,
    help="Socket on which crirm receives configurations.",
)
_AGENT_SOCKET = click.option(
    "--agent-socket", metavar="PATH", default=Settings().node_agent, show_default=True, help="Socket of the node agent."
)
_TIMEOUT = click.option(
    "--timeout", "timeout_s", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True
)


class UnreadableFileError(CrirmError):
    """A file does not hold what the command needs."""


@click.group("agent")
def command() -> None:
    """Send crirm what a node agent sends, and query the node agent; see docs/node-agent.md."""


@command.command("set-config", short_help="Activate a configuration.")
@_FILE
@_CONFIG_SOCKET
@_NODE
@_TIMEOUT
def set_config(file: Path, config_socket: str, node_name: str, timeout_s: float) -> ExitCode:
    """Activate the configuration in FILE (- is standard input); it survives a restart.

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


@command.command("set-adjustments", short_help="Replace the active overrides.")
@_FILE
@_CONFIG_SOCKET
@_NODE
@_TIMEOUT
def set_adjustments(file: Path, config_socket: str, node_name: str, timeout_s: float) -> ExitCode:
    """Replace the active overrides by those in FILE (- is standard input).

    FILE holds Adjustment objects, or a mapping of names to specs, in YAML or JSON; {} removes all overrides.
    """
    from crirm.kube.config_client import ConfigClient  # noqa: PLC0415
    from crirm.rpc import bridge  # noqa: PLC0415

    async def tell() -> Mapping[str, str]:
        return await ConfigClient(config_socket).set_adjustment(node_name, adjustments, timeout_s=timeout_s)

    adjustments = adjustment_specs(file, documents(file))
    errors = bridge.run(tell)
    say("\n".join(f"{visible(name)}: {visible(why)}" for name, why in sorted(errors.items())) or "accepted")
    return ExitCode.FAILED if errors else ExitCode.OK


@command.command("health", short_help="Query the health of the node agent.")
@click.argument("query", default="")
@_AGENT_SOCKET
@_TIMEOUT
def health(query: str, agent_socket: str, timeout_s: float) -> ExitCode:
    """Query the health of the node agent; QUERY config-status asks about the last configuration."""
    from crirm.kube.agent_client import AgentClient  # noqa: PLC0415
    from crirm.rpc import bridge  # noqa: PLC0415

    async def ask() -> str:
        return await AgentClient(agent_socket).health_check(query, timeout_s=timeout_s)

    trouble = bridge.run(ask)
    say(trouble or "healthy")
    return ExitCode.FAILED if trouble else ExitCode.OK


@command.command("node", short_help="Print the Kubernetes Node object.")
@_AGENT_SOCKET
@_TIMEOUT
def node(agent_socket: str, timeout_s: float) -> None:
    """Print the Kubernetes Node object, as the node agent knows it."""
    from crirm.kube.agent_client import AgentClient  # noqa: PLC0415
    from crirm.rpc import bridge  # noqa: PLC0415

    async def ask() -> dict[str, Any]:
        return await AgentClient(agent_socket).get_node(timeout_s=timeout_s)

    click.echo(json.dumps(bridge.run(ask), indent=2))


def documents(file: Path) -> list[Any]:
    """Return the documents in *file*, without empty ones.

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
    """Return the ConfigMap data for the configuration *found* in *file*.

    Raises:
        UnreadableFileError: the file holds no configuration.
    """
    match found:
        case []:
            return {}
        case [{"kind": "ConfigMap", **rest}]:
            data = rest.get("data") or {}
            if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
                raise UnreadableFileError(f"{file}: the ConfigMap's data must be strings")
            return {str(section): text for section, text in data.items()}
        case [dict(sections)]:
            return {str(name): yaml.safe_dump(value, sort_keys=False) for name, value in sections.items()}
        case _:
            raise UnreadableFileError(f"{file}: expected one ConfigMap or a configuration")


def adjustment_specs(file: Path, found: list[Any]) -> dict[str, Any]:
    """Return the specs of the overrides *found* in *file*, by name.

    Raises:
        UnreadableFileError: the file holds something else.
    """
    if len(found) == 1 and isinstance(found[0], dict) and "kind" not in found[0]:
        return {str(name): spec for name, spec in found[0].items()}
    specs = {}
    for document in found:
        match document:
            case {"kind": "Adjustment", "metadata": {"name": str(name)}, **rest}:
                specs[name] = rest.get("spec")
            case _:
                raise UnreadableFileError(f"{file}: expected only Adjustment objects with names")
    return specs
