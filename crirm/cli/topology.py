"""``crirm topology``: the machine as crirm sees it, as text or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import click

from crirm.cli.printing import console
from crirm.cli.topology_text import render
from crirm.errors import UsageError
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.topology_json import digest, to_json
from crirm.system.sysfs import Discovery, discover


@click.command("topology")
@click.option(
    "--host-root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Describe the machine whose /sys and /proc are below DIR.  [default: /]",
)
@click.option(
    "--synthetic",
    metavar="SPEC",
    help="Describe a synthetic machine: '2p.2n.8c.2t mem=64Gi' has 2 packages of 2 NUMA nodes of 8 cores of 2 threads, "
    "with 64 GiB each; see docs/topology.md.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a tree.")
def command(host_root: Path | None, synthetic: str | None, *, as_json: bool) -> None:
    """Print the machine's packages, dies, NUMA nodes, caches, cores and memory."""
    if host_root is not None and synthetic is not None:
        msg = "--host-root and --synthetic are mutually exclusive; use one of them"
        raise UsageError(msg)
    if synthetic is None:
        found = discover(host_root or Path("/"))
    else:
        found = Discovery(topology_of(parse_spec(synthetic)), warnings=())
    if as_json:
        click.echo(json.dumps(_document(found)))
        return
    click.echo(_text(found))


def _text(found: Discovery) -> str:
    screen = console()
    with screen.capture() as capture:
        for part in render(found.topology, [str(oddity) for oddity in found.warnings]):
            screen.print(part)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _document(found: Discovery) -> dict[str, object]:
    return {
        "topology": to_json(found.topology),
        "digest": digest(found.topology),
        "warnings": [{"fault": oddity.fault.name, "text": str(oddity)} for oddity in found.warnings],
    }
