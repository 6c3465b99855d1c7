"""What a configuration would change, for people."""

from __future__ import annotations

from typing import Any, Final

from rich.table import Table

from crirm.cli.printing import console

NOTHING: Final = "as the kubelet asks"


def report(file: str, proposal: dict[str, Any]) -> str:
    """Return *proposal*, as the control socket answers it, as text.

    Args:
        file: where the configuration comes from.
        proposal: with ``activated`` in it where it was to be taken into use.
    """
    changes, unfit = proposal["changes"], proposal["unfit"]
    lines = [f"{file}: {warning}" for warning in proposal["warnings"]]
    lines.append(
        f"{file}: policy {proposal['policy']}; {len(changes)} of {proposal['containers']} containers would change, "
        f"{len(unfit)} would not fit"
    )
    if changes:
        lines += ["", _as_text(_table(changes))]
    if unfit:
        lines += ["", "would not fit:", *(f"  {one['name']}: {one['reason']}" for one in unfit)]
    if proposal["refused"]:
        lines += ["", f"refused: {proposal['refused']}"]
    elif proposal.get("activated"):
        lines += ["", "in force, until crirm is restarted or gets another configuration"]
    else:
        lines += ["", "can be taken into use: --activate does it"]
    return "\n".join(lines)


def _table(changes: list[dict[str, Any]]) -> Table:
    table = Table("container", "", "before", "after", "why", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for change in changes:
        rows = [
            (words, _shown(change["before"][field]), _shown(change["after"][field]))
            for field, words in (("cpus", "CPUs"), ("mems", "memory nodes"), ("cpu_shares", "CPU shares"))
            if change["before"][field] != change["after"][field]
        ]
        for number, row in enumerate(rows):
            first = number == 0
            table.add_row(change["name"] if first else "", *row, change["why"] if first else "")
    return table


def _shown(value: str | int | None) -> str:
    return NOTHING if value is None else str(value)


def _as_text(table: Table) -> str:
    printer = console()
    with printer.capture() as captured:
        printer.print(table)
    return captured.get().rstrip()
