"""``python -m bench.placement``: the benchmark's part about placing, with more choices."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
from rich.box import HEAVY_HEAD, MARKDOWN
from rich.console import Console

from bench.placement import report
from bench.placement.modes import WAYS
from bench.placement.run import run
from bench.placement.shapes import HOSTS, SHAPES


@click.command()
@click.option("--quick", is_flag=True, help="One short trace of each kind.")
@click.option("--trace", "traces", multiple=True, type=click.Choice([shape.key for shape in SHAPES]))
@click.option("--nodes", multiple=True, type=click.Choice([str(nodes) for nodes in HOSTS]), help="NUMA nodes.")
@click.option("--way", "ways", multiple=True, help=f"Policy and mode.  [{'; '.join(way.name for way in WAYS)}]")
@click.option("--examples", is_flag=True, help="Also print some containers that were refused or wide without need.")
@click.option("--markdown", is_flag=True, help="Print tables as Markdown, for docs/benchmarks.md.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
def main(
    *,
    quick: bool,
    traces: tuple[str, ...],
    nodes: tuple[str, ...],
    ways: tuple[str, ...],
    examples: bool,
    markdown: bool,
    json_path: Path | None,
) -> None:
    """Place traces of containers by each policy and mode, best fit and the exact bound beside."""
    known = {way.name: way for way in WAYS}
    unknown = [name for name in ways if name not in known]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none; there are: {'; '.join(known)}", param_hint="--way")
    console = Console() if os.isatty(1) else Console(width=200)
    chosen = [known[name] for name in ways] or list(WAYS)
    placed = run(_tell, quick=quick, traces=traces, nodes=tuple(map(int, nodes)), ways=chosen)
    placed.show(console, MARKDOWN if markdown else HEAVY_HEAD, examples=examples)
    if json_path is not None:
        json_path.write_text(json.dumps(report.as_json(placed.rows, placed.goals), indent=1))
    sys.exit(placed.failed)


def _tell(what: str) -> None:
    print(f"{what} …", file=sys.stderr)


if __name__ == "__main__":
    main()
