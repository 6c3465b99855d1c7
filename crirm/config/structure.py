"""Plain values to the classes of the schema, or to all their faults.

The hooks registered with cattrs here prevent silent conversions: no string becomes a boolean, or a list of its
letters, and no unknown key is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NewType

import attrs
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, override

from crirm.config.cpus import CPUs, parse_cpus
from crirm.config.faults import ValueFault, kind_of, nearest
from crirm.config.logger import Flags
from crirm.config.option import keys_of
from crirm.config.scalars import as_text
from crirm.config.schema import SECTIONS
from crirm.errors import quoted
from crirm.model.go_text import GoTextError, parse_duration_s
from crirm.model.option import KEY

Seconds = NewType("Seconds", float)
"""The type of an option that takes a Go duration, such as ``90s``."""

MAX_TEXT: Final = 4096
"""Longest string of an option, in characters; parsing such strings may take quadratic time."""

Path = tuple[str | int, ...]

_SECTION_TYPES: Final = frozenset(section.type for section in SECTIONS.values())


class WrongValuesError(Exception):
    """A section is invalid; the faults are pairs of a path in it and a reason."""

    def __init__(self, faults: tuple[tuple[Path, str], ...]) -> None:
        super().__init__(faults)
        self.faults = faults


def structure(value: Any, section: type) -> Any:
    """Return the *section* described by its plain *value*.

    Raises:
        WrongValuesError: it is invalid, with all faults.
    """
    try:
        return _CONVERTER.structure(value, section)
    except ClassValidationError as error:
        raise WrongValuesError(tuple(_faults(error, ()))) from None


def _faults(error: BaseException, path: Path) -> Iterator[tuple[Path, str]]:
    match error:
        case ClassValidationError():
            noted, others = error.group_exceptions()
            keys = {field.name: field.metadata[KEY] for field in attrs.fields(error.cl)}
            for inner, note in noted:
                yield from _faults(inner, (*path, keys[note.name]))
            for inner in others:
                yield from _faults(inner, path)
        case IterableValidationError():
            for inner, place in error.group_exceptions()[0]:
                yield from _faults(inner, (*path, place.index))
        case ForbiddenExtraKeysError():
            for key in sorted(error.extra_fields):
                yield (*path, key), f"unknown option {quoted(key)}{nearest(key, keys_of(error.cl))}"
        case ValueFault():
            yield path, str(error)
        case _:
            raise error


def _boolean(value: Any, _type: Any) -> bool:
    if isinstance(value, bool):
        return value
    hint = f"; write {value.lower()} without quotes" if str(value).lower() in {"true", "false"} else ""
    raise ValueFault(f"expected true or false, found {kind_of(value)}{hint}")


def _text(value: Any, _type: Any) -> str:
    match value:
        case str() if len(value) > MAX_TEXT:
            raise ValueFault(f"the string has {len(value)} characters; the limit is {MAX_TEXT}")
        case str() if "\0" in value:
            raise ValueFault("the string contains a NUL character (U+0000); remove it")
        case str() | bool() | int() | float():
            return as_text(value)
        case _:
            raise ValueFault(f"expected a string, found {kind_of(value)}")


def _texts(value: Any, _type: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueFault(f"expected a list such as [kube-system], found {kind_of(value)}")
    return tuple(_CONVERTER.structure(value, list[str]))


def _cpus(value: Any, type_: Any) -> CPUs:
    return parse_cpus(_text(value, type_) if isinstance(value, str) else value)


def _flags(value: Any, _type: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueFault(f"expected a mapping of names to values such as v: 4, found {kind_of(value)}")
    wrong = [flag for flag, one in value.items() if one is None or isinstance(one, list | dict)]
    if wrong:
        raise ValueFault(f"expected a value for {wrong[0]!r}, found {kind_of(value[wrong[0]])}")
    return {flag: _text(one, _type) for flag, one in value.items()}


def _seconds(value: Any, _type: Any) -> Seconds:
    if not isinstance(value, str):
        raise ValueFault(f"expected a duration with a unit, such as 90s, found {kind_of(value)}")
    try:
        return Seconds(parse_duration_s(value))
    except GoTextError as error:
        raise ValueFault(str(error)) from None


def _object(cls: type) -> Callable[[Any, Any], Any]:
    """Return a hook that makes *cls* of a mapping by the keys of its fields, which match in case for sections only."""
    names = {field.name: override(rename=field.metadata[KEY]) for field in attrs.fields(cls)}
    make: Any = make_dict_structure_fn(cls, _CONVERTER, _cattrs_forbid_extra_keys=True, **names)  # type: ignore[arg-type]
    keys = keys_of(cls)

    def structure_object(value: Any, _type: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueFault(f"expected a mapping such as {keys[0]}: ..., found {kind_of(value)}")
        given = value if cls in _SECTION_TYPES else _folded(value, keys)
        # nothing after a key is as good as leaving it out: what remains when all below a heading is a comment
        return make({key: one for key, one in given.items() if one is not None or key not in keys}, cls)

    return structure_object


def _folded(value: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return *value* with keys in their proper case."""
    spelling = {key.casefold(): key for key in keys}
    folded: dict[str, Any] = {}
    for given, one in value.items():
        key = spelling.get(given.casefold(), given)
        if key in folded:
            raise ValueFault(f"{key} is given twice in different cases; keep one")
        folded[key] = one
    return folded


def _converter() -> Converter:
    converter = Converter(detailed_validation=True)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook_func(lambda type_: type_ == CPUs | None, _cpus)
    converter.register_structure_hook_func(lambda type_: type_ == tuple[str, ...], _texts)
    converter.register_structure_hook_func(lambda type_: type_ == Flags, _flags)
    converter.register_structure_hook_func(lambda type_: type_ is Seconds, _seconds)
    converter.register_structure_hook_factory(attrs.has, _object)
    return converter


_CONVERTER: Final = _converter()
