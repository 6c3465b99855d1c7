"""``python -m tests.vm``: what ``nox -s vm`` runs."""

from __future__ import annotations

import sys
from typing import Any

import click

from crirm.errors import CrirmError
from tests.vm.runs import Plan, open_shell, run_tests
from tests.vm.servers import SERVERS, find_server

CI_ONLY = ("-m", "not thorough")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--topology",
    "-t",
    "topologies",
    metavar="NAME|SPEC",
    multiple=True,
    help="Only this server, by name or described as in docs/topology.md; may be repeated.",
)
@click.option("--all", "every", is_flag=True, help="All tests on all servers that have a name, not only those of CI.")
@click.option("--list", "listing", is_flag=True, help="List the servers that have a name.")
@click.option("--shell", is_flag=True, help="No tests: a shell on the server, with containerd and crirm running.")
@click.option("--keep", is_flag=True, help="When the tests are over, a shell on the server.")
@click.option("--systemd", is_flag=True, help="Boot systemd, and let it make the cgroups.")
@click.option("--suite", metavar="NAME", help="Release of Debian inside; by default this machine's.")
@click.option("--serve", metavar="OPTIONS", default="", help="For --shell: options of crirm serve, in one word.")
@click.option(
    "--limit", "limit_s", metavar="SECONDS", default=3600.0, show_default=True, help="How long a server may take."
)
@click.option("--at-once", metavar="N", default=1, show_default=True, help="How many servers run at the same time.")
@click.argument("pytest_args", nargs=-1)
def main(topologies: tuple[str, ...], pytest_args: tuple[str, ...], **options: Any) -> None:
    """Boot emulated servers and run tests inside them; PYTEST_ARGS after a second `--`."""
    every, listing, shell = (options.pop(name) for name in ("every", "listing", "shell"))
    if listing:
        _list_servers()
        return
    try:
        servers = [find_server(text) for text in topologies]
        if shell:
            open_shell(Plan(**options), (servers or [SERVERS["two-sockets"]])[0])
            return
        if not servers and not every:
            servers, pytest_args = [server for server in SERVERS.values() if server.in_ci], (*CI_ONLY, *pytest_args)
        passed = run_tests(Plan(**options), servers or list(SERVERS.values()), pytest_args)
    except CrirmError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(0 if passed else 1)


def _list_servers() -> None:
    for server in SERVERS.values():
        click.echo(f"{server.name:12} {'CI' if server.in_ci else '':4}{server.line:44} {server.about}")


if __name__ == "__main__":
    main()
