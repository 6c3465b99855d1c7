"""``crirm fits``: whether a pod would fit, where, and at whose cost."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.exit_codes import ExitCode
from crirm.cli.printing import harmless, say, say_table
from crirm.cli.tables import Column
from crirm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

WITHIN_S: Final = 60.0
OTHERS_SHOWN: Final = 8
_PAPER: Final = ("host", "config", "policy", "available_cpus", "reserved_cpus")
"""Options of a machine that is not the daemon's."""
_COLUMNS: Final = (
    Column("copy", optional=1, right=True),
    Column("pool"),
    Column("CPUs"),
    Column("memory"),
    Column("note", optional=2, text=True),
)


@click.command()
@click.option("--cpu", metavar="AMOUNT", help="CPU request, such as 4 or 500m; for a Guaranteed pod the limit too.")
@click.option("--memory", metavar="AMOUNT", help="Memory request, such as 8Gi; for a Guaranteed pod the limit too.")
@click.option("--cpu-limit", metavar="AMOUNT", help="CPU limit of a Burstable pod.")
@click.option("--memory-limit", metavar="AMOUNT", help="Memory limit of a Burstable pod.")
@click.option(
    "--qos",
    type=click.Choice(["guaranteed", "burstable", "besteffort"], case_sensitive=False),
    default="guaranteed",
    show_default=True,
    help="QoS class of the pod.",
)
@click.option("--annotation", "annotations", metavar="K=V", multiple=True, help="An annotation of the pod; repeatable.")
@click.option("--namespace", metavar="NS", default="default", show_default=True, help="Namespace of the pod.")
@click.option("--count", metavar="N", type=click.IntRange(1), default=1, show_default=True, help="So many such pods.")
@click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Control socket of the daemon."
)
@click.option(
    "--host",
    metavar="WHAT",
    help="Not the daemon: an empty machine such as '2p.8c.2t' (docs/topology.md), or a directory with its /sys.",
)
@click.option("--config", metavar="FILE", help="With --host: the policy in this configuration file.")
@click.option("--policy", metavar="NAME", help="With --host: this policy.  [default: topology-aware]")
@click.option("--available-cpus", metavar="CPUS", help="With --host: CPUs for containers.")
@click.option("--reserved-cpus", metavar="CPUS", help="With --host: CPUs for kube-system.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, annotations: tuple[str, ...], control_socket: str, as_json: bool, **options: Any) -> int:
    """Ask the running daemon whether a pod with one container would fit now, where, and which others would change.

    Nothing is changed or reserved. The exit status is 0 if all copies fit, and 1 if not: then the reason, its code and
    the smallest changes that would fit are shown. Names of annotations may be short: prefer-shared-cpus=true. Devices
    and disks are unknown, so topology hints do not count.
    """
    host, *_ = paper = [options.pop(name) for name in _PAPER]
    question = {"ask": "fits", **options, "annotations": dict(map(_pair, annotations))}
    if host is not None:
        answer = _on_paper(question, *paper)
    elif any(each is not None for each in paper):
        raise UsageError("the daemon has its own configuration; --config, --policy and CPUs need --host")
    else:
        answer = ask(control_socket, question, within_s=WITHIN_S)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        tell(harmless(answer))
    return ExitCode.OK if answer["fits"] else ExitCode.FAILED


def _on_paper(
    question: dict[str, Any],
    host: str,
    config: str | None,
    policy: str | None,
    available_cpus: str | None,
    reserved_cpus: str | None,
) -> dict[str, Any]:
    """Return the answer for an empty machine."""
    from crirm.cli.replay import Chosen, choice_named, topology_named  # noqa: PLC0415 - the daemon's answer needs none
    from crirm.policy import fitting, pipeline  # noqa: PLC0415
    from crirm.policy.api import Choice  # noqa: PLC0415
    from crirm.policy.registry import make_policy  # noqa: PLC0415

    topology = topology_named(host)
    if topology is None:
        raise UsageError("--host is empty; write a machine such as '2p.8c.2t'")
    base = Choice("topology-aware" if policy is None else policy)
    if base.name == "none":
        raise UsageError("policy none places nothing, so everything fits; choose another policy")
    choice = choice_named(base, host, config, Chosen(policy, available_cpus, reserved_cpus))
    made, wish = make_policy(choice, topology), fitting.wish_of(question)
    decisions = list(fitting.copies(made, pipeline.initial(made), wish, 0.0))
    return {**fitting.record(made, wish, decisions), "overflow": choice.overflow}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--annotation {text}: write NAME=VALUE")
    return key, value


def tell(answer: dict[str, Any]) -> None:
    """Print an answer for people."""
    say(_head(answer))
    copies = answer["copies"]
    if copies:
        say("")
        rows = [_row(each) for each in copies]
        some = 5 if any(row[-1] != "-" for row in rows) else 4
        say_table(_COLUMNS[:some], [row[:some] for row in rows])
    others = list(_others(copies))
    if others:
        say("\nother containers that would change:")
    for line in others[:OTHERS_SHOWN]:
        say(f"  {line}")
    if len(others) > OTHERS_SHOWN:
        say(f"  and {len(others) - OTHERS_SHOWN} more kinds of changes; --json has all")
    if answer["refused"]:
        say("")
        _tell_refusal(answer["refused"])
        if answer["overflow"]:
            say("AllowOverflow is set: it would be admitted to shared CPUs, with nothing reserved for it")


def _head(answer: dict[str, Any]) -> str:
    count, fitting, policy = answer["count"], answer["fitting"], answer["policy"]
    if count == 1:
        return f"{'fits' if answer['fits'] else 'does not fit'}, says policy {policy}"
    if answer["fits"]:
        return f"all {count} fit, says policy {policy}"
    return f"{fitting or 'none'} of {count} would fit, says policy {policy}"


def _row(copy: dict[str, Any]) -> list[str]:
    notes = ["wider than on an empty machine"] if copy["cramped"] else []
    values = [copy["copy"], copy["pool"], copy["cpus"], copy["mems"], "; ".join([*notes, *copy["notes"]])]
    return ["-" if value in (None, "") else str(value) for value in values]


def _others(copies: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Yield the changes of other containers: one by name, and of several alike how many there are."""
    moves = [move for copy in copies for move in copy["moves"]]
    alike = Counter((move["what"], move["before"], move["after"], move["why"]) for move in moves)
    named = {(move["what"], move["before"], move["after"], move["why"]): move["name"] for move in moves}
    for (what, before, after, why), number in alike.items():
        who = named[what, before, after, why] if number == 1 else f"{number} containers"
        yield f"{who}: {what} {before} -> {after}, because {why}"


def _tell_refusal(refused: dict[str, Any]) -> None:
    say(f"reason     {refused['reason']}")
    say(f"code       {refused['code']} (docs/refusals.md)")
    for way in refused["fits"]:
        say(f"would fit  {way}")
