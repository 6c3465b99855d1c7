"""Reports on replays, and differences between two, as text."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from crirm.cli.tables import Column, table_lines, wrapped
from crirm.cli.topology_text import human_size
from crirm.errors import visible
from crirm.model.quantity import MilliCPU, format_millicpu
from crirm.replay.report import ENDED, REFUSED, RUNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.replay.diff import Diff, Figure
    from crirm.replay.moments import Moment
    from crirm.replay.report import Outcome, Report
    from crirm.replay.stories import Refusal

NAMED: Final = 5

_OUTCOMES: Final = (
    Column("container"),
    Column("QoS", optional=4),
    Column("CPU", optional=2, right=True),
    Column("memory", optional=3, right=True),
    Column("pool"),
    Column("CPUs"),
    Column("exclusive"),
    Column("nodes"),
    Column("far", optional=6),
    Column("changes", optional=5, right=True),
    Column("state", optional=1),
)
_NODES: Final = (
    Column("  NUMA node"),
    Column("CPUs"),
    Column("exclusive"),
    Column("requested", right=True),
    Column("free", right=True),
    Column("memory", optional=1, right=True),
    Column("requested", right=True),
    Column("free", right=True),
)
_SIDES: Final = (Column(""), Column("A", text=True), Column("B", text=True))
_CONTAINERS: Final = (Column("container"), Column("A", text=True), Column("B", text=True))


def report_text(trace: str, report: Report, width: int) -> str:
    """Return *report* on the file *trace* as text for a screen of *width* characters."""
    return "\n".join(map(visible, _report(trace, report, width)))


def diff_text(trace: str, one: Report, other: Report, diff: Diff, width: int) -> str:
    """Return what differs between two reports as text for a screen of *width* characters."""
    return "\n".join(map(visible, _diff(trace, (one, other), diff, width)))


def _report(trace: str, report: Report, width: int) -> Iterator[str]:
    for line in _facts(trace, report):
        yield from wrapped(line, width)
    yield ""
    if report.outcomes:
        yield from table_lines(_OUTCOMES, [_outcome(one) for one in report.outcomes], width)
        yield ""
    if report.refusals:
        yield "refused"
        yield from _refusals(report.refusals, width)
        yield ""
    yield f"at its fullest, {when(report.fullest.at_s)}"
    yield from _moment(report.fullest, width)
    yield ""
    yield f"at the end, {when(report.end.at_s)}"
    yield from _moment(report.end, width)


def _facts(trace: str, report: Report) -> Iterator[str]:
    counts = [
        f"{report.count(state)} {words}"
        for state, words in ((RUNS, "running"), (ENDED, "ended"), (REFUSED, "never placed"))
    ]
    facts = [
        ("trace", f"{trace}: {_events(report)}, recorded by crirm {report.crirm}"),
        ("machine", _machine(report)),
        ("policy", _policy(report)),
        ("decisions", "" if report.not_as_made is None else _as_made(report.not_as_made)),
        ("containers", f"{len(report.outcomes)}: {', '.join(counts)}"),
        ("refusals", str(len(report.refusals))),
        ("updates", f"{report.updates} of running containers"),
        *(("note", note) for note in report.notes),
    ]
    return (f"{name:<12}{text}" for name, text in facts if text)


def _as_made(others: int) -> str:
    return f"{others} differ from the recording" if others else "all as recorded"


def _events(report: Report) -> str:
    return f"{report.events} events, {when(report.from_s)} to {when(report.to_s)}"


def _machine(report: Report) -> str:
    return f"{report.machine} ({'as recorded' if report.same_machine else 'another'})"


def _policy(report: Report) -> str:
    return f"{report.policy} ({'as recorded' if report.same_policy else 'another'})"


def _outcome(one: Outcome) -> list[str]:
    nothing = one.state == REFUSED
    return [
        one.name,
        one.qos,
        cpu(one.cpu_millicpu),
        size(one.memory_bytes),
        one.pool or "-",
        "-" if nothing else _any(one.cpus),
        one.own or "-",
        "-" if nothing else _any(one.mems),
        one.far or "-",
        str(one.changes or "-"),
        one.state,
    ]


def _any(ids: str | None) -> str:
    return "any" if ids is None else ids


def _refusals(refusals: tuple[Refusal, ...], width: int) -> Iterator[str]:
    for refusal in refusals:
        yield from wrapped(f"  {when(refusal.at_s)}  {refusal.what}  {refusal.sentence}", width)


def _moment(moment: Moment, width: int) -> Iterator[str]:
    rows = [
        [
            f"  {use.node}",
            use.cpus or "-",
            use.exclusive or "-",
            cpu(use.promised_millicpu),
            cpu(use.free_millicpu),
            size(use.memory_bytes),
            size(use.promised_bytes),
            size(use.free_bytes),
        ]
        for use in moment.nodes
    ]
    yield from table_lines(_NODES, rows, width)
    free_cpu, free_memory = moment.cpu, moment.memory
    remote = f", {size(moment.remote_bytes)} requested" if moment.remote else ""
    free = (
        f"free CPU: {cpu(free_cpu.total)}, in one node {cpu(free_cpu.largest)} "
        f"(fragmentation {free_cpu.fragmentation_percent} %); free memory: {size(free_memory.total)}, in one node "
        f"{size(free_memory.largest)} ({free_memory.fragmentation_percent} %)"
    )
    for line in (
        f"  {moment.containers} containers; {free}",
        f"  may use remote memory: {_named(moment.remote)}{remote}",
        f"  CPUs of several NUMA nodes: {_named(moment.spread)}",
    ):
        yield from wrapped(line, width)


def _named(names: tuple[str, ...]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)}: {', '.join(names[:NAMED])}{more}"


def _diff(trace: str, reports: tuple[Report, Report], diff: Diff, width: int) -> Iterator[str]:
    one, other = reports
    yield f"{trace}: {_events(other)}"
    yield ""
    rows = [
        ["machine", _machine(one), _machine(other)],
        ["policy", _policy(one), _policy(other)],
        *([figure.what, *_values(figure)] for figure in diff.figures),
    ]
    yield from table_lines(_SIDES, rows, width)
    for note in dict.fromkeys((*one.notes, *other.notes)):
        whose = " on A" if note not in other.notes else " on B" if note not in one.notes else ""
        yield from wrapped(f"note{whose}: {note}", width)
    yield ""
    yield f"{len(diff.containers)} containers differ, {diff.same} do not"
    if diff.containers:
        differing = [[each.name, each.one or "-", each.other or "-"] for each in diff.containers]
        yield from table_lines(_CONTAINERS, differing, width)
    only_here = [refusal for refusal in other.refusals if refusal.key not in {each.key for each in one.refusals}]
    if only_here:
        yield ""
        yield "refused in B only"
        yield from _refusals(tuple(only_here), width)


def _values(figure: Figure) -> tuple[str, str]:
    match figure.unit:
        case "m":
            return cpu(figure.one), cpu(figure.other)
        case "bytes":
            return size(figure.one), size(figure.other)
        case unit:
            return f"{figure.one} {unit}".rstrip(), f"{figure.other} {unit}".rstrip()


def when(at_s: float) -> str:
    """Return a wall-clock time as local time."""
    return datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def cpu(amount: int) -> str:
    """Return thousandths of a CPU for people."""
    return format_millicpu(MilliCPU(amount))


def size(amount: int) -> str:
    """Return bytes for people."""
    if not amount:
        return "0"
    return f"-{human_size(-amount)}" if amount < 0 else human_size(amount)
