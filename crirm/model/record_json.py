"""Pods, containers, adjustments and trails as JSON and back, for saved state and traces."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_origin

import attrs

from crirm.errors import CrirmError
from crirm.model.cpuset import CPUSet, ListFormatError, NodeSet
from crirm.model.trail import Move, Trail, Verdict

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")


class RecordError(CrirmError, ValueError):
    """A record is damaged, or of another version."""


def to_record(value: Any) -> Any:
    """Return *value* as plain dicts, lists, numbers and texts; CPU and node sets are texts in Linux list format."""
    return value if type(value) in {str, int, bool} else _converter().unstructure(value)


def from_record(kind: type[T], record: object) -> T:
    """Return the value of class *kind* from the output of `to_record`.

    Raises:
        RecordError: it is not valid.
    """
    import cattrs  # noqa: PLC0415  # as below

    try:
        return _converter().structure(record, kind)
    except (cattrs.BaseValidationError, ListFormatError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"no {kind.__name__}: {record!r:.80}") from error


def _exact(value: object, kind: type[Any]) -> Any:
    if type(value) is not kind:
        raise RecordError(f"expected {kind.__name__}, not {value!r:.40}")
    return value


def _trail_record(trail: Trail) -> Any:
    """Return a trail as nested lists: it is by far the largest record, and the only one that nothing depends on."""
    return attrs.astuple(trail)


def _trail(record: Any, _: type[Trail]) -> Trail:
    key, policy, asked, chosen, granted, verdicts, moves, notes = record
    considered = (Verdict(pool, tuple(map(tuple, facts)), *rest) for pool, facts, *rest in verdicts)
    moved = tuple(Move(*move) for move in moves)
    return Trail(key, policy, asked, chosen, granted, tuple(considered), moved, tuple(notes))


def _is_frozenset(kind: Any) -> bool:
    origin: object = get_origin(kind)
    return origin is frozenset


@cache
def _converter() -> cattrs.Converter:
    import cattrs  # noqa: PLC0415  # 25 ms; the first record is written after the first call

    converter = cattrs.Converter()
    for ids in (CPUSet, NodeSet):
        converter.register_unstructure_hook(ids, str)
        converter.register_structure_hook(ids, lambda text, kind: kind.parse(_exact(text, str)))
    for plain in (int, str, bool):
        converter.register_structure_hook(plain, _exact)
    converter.register_unstructure_hook(Trail, _trail_record)
    converter.register_structure_hook(Trail, _trail)
    converter.register_unstructure_hook_func(_is_frozenset, sorted)
    return converter
