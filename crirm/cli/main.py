"""The command ``crirm``; each subcommand is a module that is imported only when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from crirm.cli.errors import did_you_mean, leave, run_command
from crirm.cli.exit_codes import ExitCode
from crirm.cli.help import with_whole_defaults

COMMANDS: Final = {
    "serve": "Relay CRI calls between the kubelet and the container runtime.",
    "demo": "Run a container's life cycle through crirm.",
    "status": "Show containers with their pools, CPUs, memory nodes and drift.",
    "explain": "Explain why a container was placed where it is.",
    "fits": "Ask whether a pod would fit, where, and what else would change.",
    "defrag": "Bring containers together that are spread over NUMA nodes.",
    "config": "Explain, print, check and compare configuration files.",
    "agent": "Send what a node agent sends, and query the node agent.",
    "doctor": "Check whether this host is ready for crirm, and how to fix what is not.",
    "journal": "Show past events and decisions.",
    "record": "Start or stop recording events and decisions.",
    "replay": "Replay a trace, on another machine or configuration if you like.",
    "shadow": "Let another policy decide beside the one in force, and compare.",
    "topology": "Show the machine: packages, NUMA nodes, caches, cores, memory.",
    "sim": "Serve an embedded CRI runtime that runs no containers.",
    "version": "Print the version.",
}
"""Each command, which is also a module of crirm.cli, with its line in the list of commands."""


class LazyGroup(click.Group):
    """A group that imports a command when it is used: ``crirm version`` must not wait for Trio and grpclib."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the commands in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        """Import the module of *cmd_name* and return its command."""
        if cmd_name not in COMMANDS:
            return None
        return with_whole_defaults(import_module(f"crirm.cli.{cmd_name}").command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that *args* starts with, or suggest the nearest."""
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
    """A CRI resource manager that runs between the kubelet and the container runtime."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(ExitCode.USAGE)


def main() -> None:
    """Run ``crirm`` with the arguments of this process."""
    code = run_command("crirm", lambda: crirm.main(prog_name="crirm", standalone_mode=False))
    leave(code)
