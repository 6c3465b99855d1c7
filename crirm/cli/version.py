"""``crirm version``."""

from __future__ import annotations

import platform

import click

from crirm import __version__


def version_line(program: str) -> str:
    """Return the line that a bug report needs."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{program} {__version__} ({python}, {platform.system()} {platform.release()} {platform.machine()})"


@click.command()
def command() -> None:
    """Print the versions of crirm, Python and the kernel."""
    click.echo(version_line("crirm"))
