"""``python -m bench``, which is ``nox -s bench``."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import attrs
import click
import trio
from rich.box import HEAVY_HEAD, MARKDOWN
from rich.console import Console

from bench import decisions, machine, plan, report
from bench.processes import BenchError
from bench.rig import open_embedded, open_private_containerd
from bench.targets import judge
from crirm import logs
from crirm.errors import CrirmError
from crirm.launcher.containerd import find_installed
from crirm.logs.settings import Level, LogSettings

_TABLE_COLUMNS = 150  # where the output is no terminal


@click.command()
@click.option("--quick", is_flag=True, help="A few calls of each kind on the embedded runtime; no figure is judged.")
@click.option(
    "--runtime",
    "runtimes",
    type=click.Choice(["embedded", "containerd"]),
    multiple=True,
    help="Measure on this one only; may be given twice.  [default: both, or what --quick or the machine allows]",
)
@click.option("--markdown", is_flag=True, help="Print tables as Markdown, for docs/benchmarks.md.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
def main(*, quick: bool, runtimes: tuple[str, ...], markdown: bool, json_path: Path | None) -> None:
    """Measure what relaying costs: the same calls directly and through crirm, in turn, in one run."""
    logs.configure(LogSettings(stderr_level=Level.WARNING))
    console = Console(stderr=False) if os.isatty(1) else Console(width=_TABLE_COLUMNS)
    chosen = runtimes or _default_runtimes(console, quick=quick)
    facts = machine.facts()
    box = MARKDOWN if markdown else HEAVY_HEAD
    try:
        findings = trio.run(_measure, chosen, quick, console)
    except (BenchError, CrirmError) as fault:
        raise click.ClickException(str(fault)) from fault
    decided = decisions.measure(quick=quick)
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)
    for one in findings:
        console.print(report.calls_table(one, box))
    console.print(decisions.table(decided, box))
    if not quick:
        console.print(report.targets_table([judged for one in findings for judged in judge(one)], box))
    if json_path is not None:
        figures = report.as_json(facts, findings, judged=not quick)
        json_path.write_text(json.dumps({**figures, "decisions": [attrs.asdict(row) for row in decided]}, indent=1))


def _default_runtimes(console: Console, *, quick: bool) -> tuple[str, ...]:
    if quick:
        return ("embedded",)
    if os.geteuid() != 0 or find_installed() is None:
        console.print("Without root and an installed containerd, only the embedded runtime is measured.")
        return ("embedded",)
    return ("embedded", "containerd")


async def _measure(runtimes: tuple[str, ...], quick: bool, console: Console) -> list[plan.Findings]:
    """Measure on each runtime, one after the other; nothing else runs in this process meanwhile."""
    findings = []
    amount = plan.QUICK if quick else plan.FULL
    with tempfile.TemporaryDirectory(prefix="crirm-bench-") as name:
        folder = Path(name)

        def tell(what: str) -> None:
            console.print(f"[dim]{what} …")

        if "embedded" in runtimes:
            with open_embedded(folder) as runtime:
                findings.append(plan.carry_out(runtime, amount, folder, tell))
        if "containerd" in runtimes:
            async with open_private_containerd(folder) as runtime:
                findings.append(plan.carry_out(runtime, amount, folder, tell))
    return findings


if __name__ == "__main__":
    main()
