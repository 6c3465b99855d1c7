"""``crirm record``: start and stop a trace of the running daemon."""

from __future__ import annotations

from pathlib import Path

import click

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.printing import say

_control_socket = click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Control socket of the daemon."
)


@click.group("record")
def command() -> None:
    """Record events and decisions on this node, for crirm replay."""


@command.command("start", short_help="Start a trace.")
@click.argument("file", type=click.Path(path_type=Path))
@_control_socket
def start(file: Path, control_socket: str) -> None:
    """Start a trace in FILE, which the daemon creates; an existing trace is renamed."""
    answer = ask(control_socket, {"ask": "record", "file": str(file.absolute())})
    say(f"recording to {answer['file']}; stop with `crirm record stop`")


@command.command("stop")
@_control_socket
def stop(control_socket: str) -> None:
    """Stop the trace that is being recorded."""
    answer = ask(control_socket, {"ask": "record", "file": ""})
    say(f"recorded to {answer['file']}; replay it with `crirm replay {answer['file']}`")
