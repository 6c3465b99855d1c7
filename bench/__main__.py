"""``python -m bench``, which is ``nox -s bench``."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click
import trio
from rich.box import HEAVY_HEAD, MARKDOWN
from rich.console import Console

from bench import decisions, machine, report
from bench.client import CallError
from bench.placement import report as placement_report
from bench.placement.run import Placed
from bench.placement.run import run as place
from bench.plan import carry_out
from bench.processes import BenchError
from bench.rows import FULL, QUICK, ROWS
from bench.ways import CRIRM, Build, Other, Rig, build_in, open_lean, open_private_containerd
from crirm import logs
from crirm.errors import CrirmError
from crirm.launcher.containerd import find_installed
from crirm.logs.settings import Level, LogSettings

if TYPE_CHECKING:
    from bench.figures import Figure

_TABLE_COLUMNS: Final = 180  # where the output is no terminal
_DECISIONS: Final = "decisions"
_PLACEMENT: Final = "placement"
_PURE: Final = (_DECISIONS, _PLACEMENT)  # rows that need neither runtime nor daemon


@attrs.frozen
class Wanted:
    """What the command line asks for."""

    quick: bool
    runtimes: tuple[str, ...]
    runtime_socket: Path | None
    builds: tuple[Build, ...]
    other: Other | None
    only: tuple[str, ...]


def _other(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Other | None:
    if value is None:
        return None
    name, is_there, socket = value.partition("=")
    if not is_there or not name or not socket:
        raise click.BadParameter(f"{value!r} is not NAME=SOCKET, such as original=/run/other.sock")
    return Other(name, Path(socket).absolute())


_PATH: Final = click.Path(path_type=Path, exists=True, resolve_path=True)


@click.command()
@click.option(
    "--quick",
    is_flag=True,
    help="A few rounds of each row on the lean runtime; only what holds on any machine is judged.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="ROW",
    type=click.Choice([*(row.key for row in ROWS), *_PURE]),
    help=f"Measure this row only; may be given again.  [{', '.join((*(row.key for row in ROWS), *_PURE))}]",
)
@click.option("--before", metavar="DIR", type=_PATH, help="Also an older crirm: a checkout or a virtual environment.")
@click.option(
    "--other", metavar="NAME=SOCKET", callback=_other, help="Also this proxy, which runs before --runtime-socket."
)
@click.option("--runtime-socket", type=_PATH, help="The lean runtime already serves here (python -m bench.runtime).")
@click.option(
    "--runtime",
    "runtimes",
    type=click.Choice(["lean", "containerd"]),
    multiple=True,
    help="Measure on this one only; may be given twice.  [default: both, or what --quick or the machine allows]",
)
@click.option("--markdown", is_flag=True, help="Print tables as Markdown, for docs/benchmarks.md.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
def main(*, markdown: bool, json_path: Path | None, before: Path | None, **options: Any) -> None:
    """Measure what relaying costs: the same calls directly and through crirm, in turn, in one run."""
    logs.configure(LogSettings(stderr_level=Level.WARNING))
    console = Console(stderr=False) if os.isatty(1) else Console(width=_TABLE_COLUMNS)
    try:
        older = (build_in(before),) if before else ()
        wanted = Wanted(builds=(*older, Build(CRIRM, sys.executable)), **options)
        _refuse_contradictions(wanted)
        facts = machine.facts()
        figures = trio.run(_measure, wanted, console)
    except (BenchError, CallError, CrirmError) as fault:
        raise click.ClickException(str(fault)) from fault
    decided = decisions.measure(quick=wanted.quick) if _DECISIONS in (wanted.only or _PURE) else []
    _show(console, wanted, facts, figures, decided, markdown=markdown)
    placed = _place(wanted, console) if _PLACEMENT in (wanted.only or _PURE) else None
    if placed is not None:
        placed.show(console, MARKDOWN if markdown else HEAVY_HEAD)
    if json_path is not None:
        document = report.as_json(facts, figures, _name(wanted.other), judged=not wanted.quick)
        document["decisions"] = [attrs.asdict(row) for row in decided]
        if placed is not None:
            document["placement"] = placement_report.as_json(placed.rows, placed.goals)
        json_path.write_text(json.dumps(document, indent=1))
    sys.exit(placed is not None and placed.failed)


def _place(wanted: Wanted, console: Console) -> Placed:
    return place(lambda what: console.print(f"[dim]{what} …"), quick=wanted.quick)


def _refuse_contradictions(wanted: Wanted) -> None:
    if (wanted.other is None) != (wanted.runtime_socket is None):
        raise BenchError("--other and --runtime-socket go together: the runtime that both proxies stand before")
    if wanted.other and "containerd" in wanted.runtimes:
        raise BenchError("--other stands before the runtime of --runtime-socket, not before a private containerd")


def _show(
    console: Console,
    wanted: Wanted,
    facts: dict[str, Any],
    figures: list[Figure],
    decided: list[decisions.Decisions],
    *,
    markdown: bool,
) -> None:
    box = MARKDOWN if markdown else HEAVY_HEAD
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)
    for _, of_runtime in groupby(figures, key=lambda figure: figure.runtime):
        console.print(report.figures_table(list(of_runtime), _name(wanted.other), box, judged=not wanted.quick))
    if decided:
        console.print(decisions.table(decided, box))


def _name(other: Other | None) -> str | None:
    return other.name if other else None


def _runtimes(wanted: Wanted, console: Console) -> tuple[str, ...]:
    if wanted.runtimes:
        return wanted.runtimes
    if wanted.quick or wanted.other:
        return ("lean",)
    if os.geteuid() != 0 or find_installed() is None:
        console.print("Without root and an installed containerd, only the lean runtime is measured.")
        return ("lean",)
    return ("lean", "containerd")


async def _measure(wanted: Wanted, console: Console) -> list[Figure]:
    """Measure on each runtime, one after the other; nothing else runs in this process meanwhile."""
    figures: list[Figure] = []
    amount = QUICK if wanted.quick else FULL
    rows = [row for row in ROWS if not wanted.only or row.key in wanted.only]

    def tell(what: str) -> None:
        console.print(f"[dim]{what} …")

    with tempfile.TemporaryDirectory(prefix="crirm-bench-") as name:
        folder = Path(name)
        runtimes = _runtimes(wanted, console) if rows else ()
        if "lean" in runtimes:
            with open_lean(folder, wanted.runtime_socket) as runtime:
                figures += carry_out(Rig(runtime, wanted.builds, wanted.other, folder), rows, amount, tell)
        if "containerd" in runtimes:
            async with open_private_containerd(folder) as runtime:
                figures += carry_out(Rig(runtime, wanted.builds, None, folder), rows, amount, tell)
    return figures


if __name__ == "__main__":
    main()
