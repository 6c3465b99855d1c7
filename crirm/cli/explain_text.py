"""How a container was placed, for people: the pool, the rule that decided, and the other pools as a table."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any, Final

from crirm.cli.printing import local_time, say, say_hanging, say_table
from crirm.cli.tables import Column
from crirm.model.cpuset import CPUSet
from crirm.policy.topology_aware.choice import Lack
from crirm.policy.topology_aware.wording import size_text

_UNITS: Final = {"_milli": "CPUs", "_cpus": "CPUs", "_bytes": "bytes"}
_TIES: Final = frozenset({"pool_number", "order"})
_SHORT: Final = {
    "memory_suffices": "too little memory for its limit",
    "reserved_cpus_suffice": "too few reserved CPUs",
    "isolated_cpus_suffice": "too few isolated CPUs",
    "shared_cpus_suffice": "no shared CPUs to spare",
    "memory_kinds_suffice": "lacks a kind of memory",
    "has_memory_kinds": "no such memory",
    "near_all_devices": "not near its devices",
    "contains_current_pool": "not where it is",
    "depth": "higher in the tree",
    "affinity": "affinity {own}, not {other}",
    "nearness_to_all_devices": "nearness {own}, not {other}",
    "nearness_to_some_devices": "nearness {own}, not {other}",
    "reserved_per_container_milli": "leaves {own} for each, not {other}",
    "isolated_left_cpus": "leaves {own} isolated, not {other}",
    "shared_left_milli": "leaves {own} shared, not {other}",
    "fewest_isolated_left_cpus": "leaves {own} isolated, not {other}",
    "spare_taken_cpus": "costs {own} CPUs, not {other}",
    "cpus_in_one_place": "CPUs of several nodes",
    "fewest_spare_left_cpus": "leaves {own} spare, not {other}",
    "spare_left_cpus": "leaves {own} spare, not {other}",
    "largest_in_one_place_cpus": "largest {own}, not {other}",
    "caches": "{own} L3 caches, not {other}",
    "cores": "{own} cores, not {other}",
    "containers": "holds {own}, not {other}",
    "pool_number": "equal, but later",
    "order": "later",
    "exclusive_cpus": "too few exclusive",
    "isolated_cpus": "too few isolated",
    "shared_milli": "too few shared",
    "memory_bytes": "too little memory",
    "free_cpus": "too few free",
}
"""What decided against a pool, in a few words; the sentence of a rule that is not here is shown itself."""
_LACKS: Final = frozenset({*(lack.value for lack in Lack), "free_cpus"})
"""Rules by which a pool cannot hold the container at all."""
_NUMBERED: Final = re.compile(r"(.+) #(.*?)(\d+)")
_CAPTION: Final = "\nwhat each pool had before, and what decided between it and the chosen one:"
_NAMES_CHARS: Final = 24
_LABEL: Final = "  {:<11}"
_MOVES: Final = (Column("container"), Column("what"), Column("before"), Column("after"), Column("why", text=True))
_SINCE: Final = (Column("changed since"), Column("what"), Column("before"), Column("after"), Column("why", text=True))


def tell(entry: dict[str, Any]) -> None:
    """Print how the container of *entry*, an answer of the control socket, was placed."""
    trail = entry["trail"]
    say(entry["name"])
    fact("placed", f"{local_time(entry['at_s'])}, by policy {trail['policy']}")
    fact("requested", trail["asked"])
    if trail["chosen"]:
        fact("pool", trail["chosen"])
    fact("assigned", trail["granted"])
    if sentence := runner_up(trail["verdicts"]):
        fact("why", sentence)
    for note in trail["notes"]:
        fact("note", note)
    if len(trail["verdicts"]) > 1:
        say(_CAPTION)
        _tell_pools(trail["verdicts"])
    if trail["moves"]:
        say("")
        say_table(_MOVES, [[move["name"], *_change(move)] for move in trail["moves"]])
    if entry["since"]:
        say("")
        say_table(_SINCE, [[local_time(move["at_s"]), *_change(move)] for move in entry["since"]])


def tell_refusal(refusal: dict[str, Any]) -> None:
    """Print why a container was refused."""
    times = "once," if refusal["times"] == 1 else f"{refusal['times']} times, last"
    say(f"{refusal['name']}, refused {times} at {local_time(refusal['at_s'])}")
    fact("reason", refusal["refused"])
    for way in refusal.get("fits", ()):
        fact("would fit", way)


def fact(label: str, text: str) -> None:
    """Print a fact under the name of the container; on a terminal its lines stand below one another."""
    say_hanging(_LABEL.format(label), text)


def runner_up(verdicts: list[dict[str, Any]]) -> str:
    """Return in one sentence what decided between the chosen pool and the next best; empty if there was no other."""
    others = verdicts[1:]
    if not others:
        return ""
    chosen, second = verdicts[0]["pool"], others[0]
    ties = [one for one in others if one["rule"] in _TIES]
    if second["rule"] in _LACKS:
        return f"no other pool can hold it; {second['pool']}: {second['why']}"
    if ties:
        pools = f"{_names([one['pool'] for one in ties])} {'was' if len(ties) == 1 else 'were'}"
        rest = [one for one in others if one["rule"] not in _TIES | _LACKS]
        then = f"; of the others {rest[0]['pool']} was next: {rest[0]['why']}" if rest else ""
        return f"{pools} as good, and {chosen} comes first{then}"
    return f"{second['pool']} was next: {second['why']}"


def why_not(entry: dict[str, Any], pool: str) -> str:
    """Return why *pool*, which was considered, was not chosen for the container of *entry*."""
    verdict = next(one for one in entry["trail"]["verdicts"] if one["pool"] == pool)
    if pool == entry["trail"]["chosen"]:
        return f"{entry['name']}: {pool} was chosen"
    return f"{entry['name']}: {pool} was not chosen: {verdict['why']}"


def _change(move: dict[str, Any]) -> list[str]:
    return [move["what"], move["before"], move["after"], move["why"]]


def _tell_pools(verdicts: list[dict[str, Any]]) -> None:
    """Print what each pool had before the container was placed; pools that are alike share a row."""
    names = list(dict.fromkeys(name for verdict in verdicts for name, _ in verdict["facts"]))
    heads = [name.rpartition("_")[0] if _unit(name) else name for name in names]
    columns = [Column("pool"), *(Column(head, right=True) for head in heads), Column("decided by", text=True)]
    rows = [["", *(_unit(name) or "" for name in names), ""]] if any(map(_unit, names)) else []
    for cells, alike in groupby(verdicts, lambda verdict: _cells(verdict, names)):
        rows.append([_names([verdict["pool"] for verdict in alike]), *cells])
    say_table(columns, rows)


def _cells(verdict: dict[str, Any], names: list[str]) -> list[str]:
    facts = dict(verdict["facts"])
    return [*(_amount(name, facts[name]) if name in facts else "-" for name in names), _decided_by(verdict)]


def _decided_by(verdict: dict[str, Any]) -> str:
    rule = verdict["rule"]
    if not rule:
        return verdict["why"] or "chosen"
    own, other = (_amount(rule, verdict[side]) for side in ("own", "other"))
    return _SHORT[rule].format(own=own, other=other) if rule in _SHORT else str(verdict["why"])


def _unit(name: str) -> str | None:
    return next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), None)


def _amount(name: str, value: Any) -> str:
    """Return an amount in the unit of its column; one from a trail of an older crirm is a text already."""
    if not isinstance(value, int | float):
        return str(value)
    if name.endswith("_milli"):
        return f"{value / 1000:.3f}".rstrip("0").rstrip(".")
    return size_text(int(value)) if name.endswith("_bytes") else f"{value:.3g}"


def _names(pools: list[str]) -> str:
    """Return the names of pools, for example ``NUMA nodes #1-3,7``."""
    numbered = [_NUMBERED.fullmatch(pool) for pool in pools]
    found = [match for match in numbered if match]
    if len(pools) > 1 and len(found) == len(pools) and len({match.group(1, 2) for match in found}) == 1:
        return f"{found[0][1]}s #{found[0][2]}{CPUSet(int(match[3]) for match in found)}"
    joined = ", ".join(pools)
    return joined if len(pools) == 1 or len(joined) <= _NAMES_CHARS else f"{pools[0]} and {len(pools) - 1} more"
