"""Synthetic hosts as a line of text.

The first word is the shape: counts with a letter each, from the outside in, separated by dots. Every further word is
``NAME=VALUE``. docs/topology.md explains them all.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from crirm.errors import CrirmError
from crirm.hosts.spec import HostSpec, HostSpecError, MemoryOnlyNode
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.quantity import parse_bytes
from crirm.model.topology import MemoryKind

if TYPE_CHECKING:
    from collections.abc import Callable

_LEVELS = {"p": "packages", "d": "dies", "n": "nodes", "l": "l3s", "k": "clusters", "c": "cores", "t": "threads"}
_LEVEL = re.compile(r"(\d{1,4})([pdnlkct])", re.ASCII)
_KHZ = {"GHz": 1_000_000, "MHz": 1000, "kHz": 1}


def parse_spec(text: str) -> HostSpec:
    """Return the synthetic host that a line such as ``2p.2n.8c.2t mem=64Gi pmem=2x256Gi isolated=2-3`` describes.

    Raises:
        HostSpecError: which word is wrong, where it stands and what would be right; or why there is no such machine.
    """
    words = re.finditer(r"\S+", text)
    shape = next(words, None)
    if shape is None:
        msg = (
            "the synthetic host is empty; write its shape, such as 2p.8c.2t (2 packages, 8 cores each, 2 threads each)"
        )
        raise HostSpecError(msg)
    fields: dict[str, Any] = {}
    for word in (shape, *words):
        try:
            if word is shape:
                fields |= _shape(word.group())
            else:
                _read_word(word.group(), fields)
        except CrirmError as fault:
            place = f"synthetic host: {word.group()!r} at character {word.start() + 1}"
            raise HostSpecError(f"{place}: {fault}") from None
    return HostSpec(**fields)


def _shape(word: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    order = list(_LEVELS)
    for part in word.split("."):
        found = _LEVEL.fullmatch(part)
        if found is None:
            known = ", ".join(f"{letter} ({level})" for letter, level in _LEVELS.items())
            msg = f"{part!r} is not a level; write a count and one of {known}"
            raise HostSpecError(msg)
        if counts and order.index(found[2]) <= max(order.index(letter) for letter in counts):
            msg = f"{part!r} is out of order; write levels from the outside in, {'.'.join(order)}, each at most once"
            raise HostSpecError(msg)
        counts[found[2]] = int(found[1])
    return {_LEVELS[letter]: count for letter, count in counts.items()}


def _read_word(word: str, fields: dict[str, Any]) -> None:
    name, equals, value = word.partition("=")
    if not equals or name not in _WORDS:
        msg = f"no such setting; write NAME=VALUE, where NAME is one of {', '.join(_WORDS)}"
        raise HostSpecError(msg)
    field, read, repeated = _WORDS[name]
    if field in fields and not repeated:
        msg = f"{name} is given twice; keep one"
        raise HostSpecError(msg)
    fields[field] = fields.get(field, ()) + read(value, fields) if repeated else read(value, fields)


def _count(value: str, _: dict[str, Any]) -> int:
    return int(_matched(r"\d{1,4}", value, "a whole number")[0])


def _size(value: str, _: dict[str, Any]) -> int:
    return parse_bytes(value)


def _sizes(value: str, _: dict[str, Any]) -> tuple[int, ...]:
    return tuple(parse_bytes(size) for size in value.split(","))


def _cpus(value: str, _: dict[str, Any]) -> CPUSet:
    return CPUSet.parse(value)


def _node_set(value: str, _: dict[str, Any]) -> NodeSet:
    return NodeSet.parse(value)


def _node_ids(value: str, _: dict[str, Any]) -> tuple[int, ...]:
    return tuple(NodeSet.parse(value))


def _threads(value: str, _: dict[str, Any]) -> bool:
    return _matched("adjacent|split", value, "adjacent or split")[0] == "adjacent"


def _rows(value: str, _: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    _matched(r"\d{1,5}([,/]\d{1,5})*", value, "rows of numbers such as 10,21/21,10")
    return tuple(tuple(int(far) for far in row.split(",")) for row in value.split("/"))


def _memory_only(kind: MemoryKind) -> Callable[[str, dict[str, Any]], tuple[MemoryOnlyNode, ...]]:
    """Return a reader of values such as ``4x128Gi@0,1``, which needs to know how many nodes have CPUs."""

    def read(value: str, fields: dict[str, Any]) -> tuple[MemoryOnlyNode, ...]:
        found = _matched(r"(?:(\d{1,3})x)?([^@]+)(?:@(.+))?", value, "COUNTxSIZE@NODES, such as 2x128Gi@0,1 or 128Gi")
        count = fields.get("packages", 1) * fields.get("dies", 1) * fields.get("nodes", 1)
        homes = list(NodeSet.parse(found[3])) if found[3] else list(range(count or 1))
        size = parse_bytes(found[2])
        return tuple(MemoryOnlyNode(kind, size, homes[one % len(homes)]) for one in range(int(found[1] or 1)))

    return read


def _frequency(value: str, _: dict[str, Any]) -> tuple[tuple[int, CPUSet]]:
    amount, cpus = _where(value)
    found = _matched(r"(\d{1,8}(?:\.\d{1,6})?)(GHz|MHz|kHz)", amount, "a frequency such as 2.3GHz")
    return ((round(Fraction(found[1]) * _KHZ[found[2]]), cpus),)


def _preference(value: str, _: dict[str, Any]) -> tuple[tuple[str, CPUSet]]:
    name, cpus = _where(value)
    return ((_matched(r"\w+", name, "a word such as balance_power")[0], cpus),)


def _where(value: str) -> tuple[str, CPUSet]:
    what, at, cpus = value.partition("@")
    return what, CPUSet.parse(cpus) if at else NO_CPUS


def _matched(expression: str, value: str, wanted: str) -> re.Match[str]:
    found = re.fullmatch(expression, value, re.ASCII)
    if found is None:
        msg = f"{value!r} is not {wanted}"
        raise HostSpecError(msg)
    return found


_WORDS: dict[str, tuple[str, Callable[[str, dict[str, Any]], Any], bool]] = {
    "mem": ("memory", _sizes, False),
    "pmem": ("memory_only", _memory_only(MemoryKind.PMEM), True),
    "hbm": ("memory_only", _memory_only(MemoryKind.HBM), True),
    "cxl": ("memory_only", _memory_only(MemoryKind.CXL), True),
    "movable": ("movable", _node_set, False),
    "nodes": ("node_ids", _node_ids, False),
    "dist": ("distances", _rows, False),
    "ecores": ("ecores", _count, False),
    "isolated": ("isolated", _cpus, False),
    "nohz_full": ("nohz_full", _cpus, False),
    "offline": ("offline", _cpus, False),
    "holes": ("holes", _cpus, False),
    "threads": ("adjacent_threads", _threads, False),
    "l2": ("l2_size", _size, False),
    "l3": ("l3_size", _size, False),
    "base": ("base_khz", _frequency, True),
    "epp": ("preferences", _preference, True),
}
"""The words after the shape: the field each one fills, how its value is read, and whether it may be repeated."""
