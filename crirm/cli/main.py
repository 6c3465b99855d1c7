"""The command ``crirm``; each of its commands is a file of its own, read only when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from crirm.cli.errors import did_you_mean, leave, run_command
from crirm.cli.exit_codes import ExitCode

COMMANDS: Final = {
    "serve": "Relay CRI calls between the kubelet and the container runtime.",
    "demo": "Show a container's life passing through crirm.",
    "status": "Show the containers of this node with pool, CPUs, memory nodes and drift.",
    "explain": "Tell why a container got what it got.",
    "config": "Explain, print and check configuration files.",
    "agent": "Tell crirm what a node agent would, and ask the node agent.",
    "doctor": "Check this host: what is in the way of crirm, and how to mend it.",
    "journal": "Show what has happened and what was decided about it.",
    "record": "Begin or end a trace of what happens on this node.",
    "replay": "Decide a recorded trace again, on this or another machine and configuration.",
    "topology": "Print the machine: packages, NUMA nodes, caches, cores, memory.",
    "sim": "Serve an embedded CRI runtime that runs no containers.",
    "version": "Print the version.",
}
"""Name, which is also the module in crirm.cli, to what the list of commands says."""


class LazyGroup(click.Group):
    """A group that imports a command when it is used: ``crirm version`` must not wait for Trio and grpclib."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        """Import the module of *cmd_name* and return its command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"crirm.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that *args* starts with, or name the nearest."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"{args[0]}: no such command{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
    if value:
        ctx.invoke(import_module("crirm.cli.version").command)
        ctx.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    no_args_is_help=False,  # click's own way changed its exit code between releases
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Print the version."
)
@click.pass_context
def crirm(ctx: click.Context) -> None:
    """A CRI resource manager: it sits between the kubelet and the container runtime of a node."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(ExitCode.USAGE)


def main() -> None:
    """Run ``crirm`` with the arguments of this process."""
    code = run_command("crirm", lambda: crirm.main(prog_name="crirm", standalone_mode=False))
    leave(code)
