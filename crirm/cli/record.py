"""``crirm record``: begin and end a trace of the daemon that runs."""

from __future__ import annotations

from pathlib import Path

import click

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.printing import say

_control_socket = click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Of the daemon to ask."
)


@click.group("record")
def command() -> None:
    """Record what happens on this node and what is decided about it, for crirm replay."""


@command.command("start")
@click.argument("file", type=click.Path(path_type=Path))
@_control_socket
def start(file: Path, control_socket: str) -> None:
    """Begin a trace in FILE, which the daemon makes; a trace that is there already is set aside."""
    answer = ask(control_socket, {"ask": "record", "file": str(file.absolute())})
    say(f"recording to {answer['file']}; `crirm record stop` ends it")


@command.command("stop")
@_control_socket
def stop(control_socket: str) -> None:
    """End the trace that is being recorded."""
    answer = ask(control_socket, {"ask": "record", "file": ""})
    say(f"{answer['file']}: `crirm replay {answer['file']}` decides it again")
