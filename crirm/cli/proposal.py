"""What a configuration would change, as text."""

from __future__ import annotations

from typing import Any, Final

from crirm.cli.printing import screen_width
from crirm.cli.tables import Column, table_lines

NOTHING: Final = "kubelet's"  # crirm does not set it
_COLUMNS: Final = (
    Column("container"),
    Column("what"),
    Column("before"),
    Column("after"),
    Column("why", text=True),
)


def report(file: str, proposal: dict[str, Any]) -> str:
    """Return *proposal*, an answer of the control socket, as text.

    Args:
        file: where the configuration comes from.
        proposal: with ``activated`` where activation was requested.
    """
    changes, unfit = proposal["changes"], proposal["unfit"]
    lines = [f"{file}: {warning}" for warning in proposal["warnings"]]
    lines.append(
        f"{file}: policy {proposal['policy']}; {len(changes)} of {proposal['containers']} containers would change, "
        f"{len(unfit)} would not fit"
    )
    if changes:
        lines += ["", *_lines(changes)]
    if unfit:
        lines += ["", "would not fit:", *(f"  {one['name']}: {one['reason']}" for one in unfit)]
    if proposal["refused"]:
        lines += ["", f"rejected: {proposal['refused']}"]
    elif proposal.get("activated"):
        lines += ["", "active until crirm restarts or gets another configuration"]
    else:
        lines += ["", "this configuration can be activated: add --activate"]
    return "\n".join(lines)


def _lines(changes: list[dict[str, Any]]) -> list[str]:
    rows = []
    for change in changes:
        differing = [
            (words, _shown(change["before"][field]), _shown(change["after"][field]))
            for field, words in (("cpus", "CPUs"), ("mems", "memory"), ("cpu_shares", "shares"))
            if change["before"][field] != change["after"][field]
        ]
        for number, row in enumerate(differing):
            first = number == 0
            rows.append([change["name"] if first else "", *row, change["why"] if first else ""])
    return table_lines(_COLUMNS, rows, screen_width())


def _shown(value: str | int | None) -> str:
    return NOTHING if value is None else str(value)
