"""Reports on replays, and what differs between two, as text for a person."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.table import Table

from crirm.cli.printing import console
from crirm.cli.topology_text import human_size
from crirm.model.quantity import MilliCPU, format_millicpu
from crirm.replay.report import ENDED, REFUSED, RUNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from crirm.replay.diff import Diff, Figure
    from crirm.replay.moments import Moment
    from crirm.replay.report import Outcome, Report
    from crirm.replay.stories import Refusal

NAMED: Final = 5


def report_text(trace: str, report: Report) -> str:
    """Return *report* on the file *trace* as text."""
    return _text(_report(trace, report))


def diff_text(trace: str, one: Report, other: Report, diff: Diff) -> str:
    """Return what differs between two reports as text."""
    return _text(_diff(trace, one, other, diff))


def _text(parts: Iterator[RenderableType]) -> str:
    screen = console()
    with screen.capture() as capture:
        for part in parts:
            screen.print(part)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _report(trace: str, report: Report) -> Iterator[RenderableType]:
    yield _facts(trace, report)
    yield ""
    if report.outcomes:
        yield _outcomes(report.outcomes)
        yield ""
    if report.refusals:
        yield "refused"
        yield _refusals(report.refusals)
        yield ""
    yield f"at its fullest, {when(report.fullest.at_s)}"
    yield from _moment(report.fullest)
    yield ""
    yield f"at the end, {when(report.end.at_s)}"
    yield from _moment(report.end)


def _facts(trace: str, report: Report) -> Table:
    counts = [
        f"{report.count(state)} {words}"
        for state, words in ((RUNS, "run"), (ENDED, "ended"), (REFUSED, "never placed"))
    ]
    table = Table.grid(padding=(0, 2))
    table.add_row("trace", f"{trace}: {_events(report)}, recorded by crirm {report.crirm}")
    table.add_row("machine", _machine(report))
    table.add_row("policy", _policy(report))
    if report.not_as_made is not None:
        table.add_row("decisions", _as_made(report.not_as_made))
    table.add_row("containers", f"{len(report.outcomes)}: {', '.join(counts)}")
    table.add_row("refusals", str(len(report.refusals)))
    table.add_row("updates", f"{report.updates} of containers that ran")
    for note in report.notes:
        table.add_row("note", note)
    return table


def _as_made(others: int) -> str:
    return f"{others} are not as they were made" if others else "all as they were made"


def _events(report: Report) -> str:
    return f"{report.events} events, {when(report.from_s)} to {when(report.to_s)}"


def _machine(report: Report) -> str:
    return f"{report.machine} ({'as recorded' if report.same_machine else 'another'})"


def _policy(report: Report) -> str:
    return f"{report.policy} ({'as recorded' if report.same_policy else 'another'})"


def _outcomes(outcomes: tuple[Outcome, ...]) -> Table:
    table = Table(
        "container",
        "QoS",
        "CPU",
        "memory",
        "pool",
        "CPUs",
        "own",
        "nodes",
        "far",
        "changes",
        "state",
        box=None,
        pad_edge=False,
    )
    for one in outcomes:
        nothing = one.state == REFUSED
        table.add_row(
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
        )
    return table


def _any(ids: str | None) -> str:
    return "any" if ids is None else ids


def _refusals(refusals: tuple[Refusal, ...]) -> Table:
    table = Table.grid(padding=(0, 2))
    for refusal in refusals:
        table.add_row(f"  {when(refusal.at_s)}", refusal.what, refusal.sentence)
    return table


def _moment(moment: Moment) -> Iterator[RenderableType]:
    table = Table(
        "  NUMA node", "CPUs", "exclusive", "promised", "free", "memory", "promised", "free", box=None, pad_edge=False
    )
    for use in moment.nodes:
        table.add_row(
            f"  {use.node}",
            use.cpus or "-",
            use.exclusive or "-",
            cpu(use.promised_millicpu),
            cpu(use.free_millicpu),
            size(use.memory_bytes),
            size(use.promised_bytes),
            size(use.free_bytes),
        )
    yield table
    free_cpu, free_memory = moment.cpu, moment.memory
    yield (
        f"  {moment.containers} containers; free CPU: {cpu(free_cpu.total)}, in one node {cpu(free_cpu.largest)} "
        f"(fragmentation {free_cpu.fragmentation_percent} %); free memory: {size(free_memory.total)}, in one node "
        f"{size(free_memory.largest)} ({free_memory.fragmentation_percent} %)"
    )
    remote = f", promised {size(moment.remote_bytes)}" if moment.remote else ""
    yield f"  may use remote memory: {_named(moment.remote)}{remote}"
    yield f"  CPUs of several NUMA nodes: {_named(moment.spread)}"


def _named(names: tuple[str, ...]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)}: {', '.join(names[:NAMED])}{more}"


def _diff(trace: str, one: Report, other: Report, diff: Diff) -> Iterator[RenderableType]:
    yield f"{trace}: {_events(other)}"
    yield ""
    table = Table("", "A", "B", box=None, pad_edge=False)
    table.add_row("machine", _machine(one), _machine(other))
    table.add_row("policy", _policy(one), _policy(other))
    for figure in diff.figures:
        table.add_row(figure.what, *_values(figure))
    yield table
    for note in dict.fromkeys((*one.notes, *other.notes)):
        whose = " on A" if note not in other.notes else " on B" if note not in one.notes else ""
        yield f"note{whose}: {note}"
    yield ""
    yield f"{len(diff.containers)} containers differ, {diff.same} do not"
    if diff.containers:
        differing = Table("container", "A", "B", box=None, pad_edge=False)
        for each in diff.containers:
            differing.add_row(each.name, each.one or "-", each.other or "-")
        yield differing
    only_here = [refusal for refusal in other.refusals if refusal.key not in {each.key for each in one.refusals}]
    if only_here:
        yield ""
        yield "refused in B only"
        yield _refusals(tuple(only_here))


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
