"""Expressions over containers: ``{key, operator, values}``, used in affinity annotations.

A key names a property of a container:

========================================================  ===========================================================
key                                                       value
========================================================  ===========================================================
``name``, ``namespace``, ``qosclass``, ``id``             of the container
``labels/L``, ``tags/T``                                  its label L, its mark T
``pod/name``, ``pod/namespace``, ``pod/qosclass``,        of its pod sandbox
``pod/id``, ``pod/uid``, ``pod/labels/L``
a first part with a dot in it, as in ``example.com/app``  short for ``labels/example.com/app``
========================================================  ===========================================================

L and T are all that follows, slashes included. A key *resolves* when the container has what it names.

Several keys may be joint to one, ``:KEY:KEY...``: its value is their values joined by colons, empty for those that do
not resolve; it resolves when one of them does. ``:,-KEY,KEY...`` has separators of its own, here commas between the
keys and dashes between the values: two punctuation characters other than ``/`` and ``.`` after the colon.
"""

from __future__ import annotations

import enum
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

import attrs

from crirm.errors import CrirmError, clipped, quoted
from crirm.model.workload import Container, Pod
from crirm.policy.globs import GlobError, compile_globs

_SEPARATORS: Final = frozenset(string.punctuation) - {"/", "."}

_Reader = Callable[[Container, Pod], str | None]


class ExpressionError(CrirmError, ValueError):
    """Something is not an expression; the text says where in it, as ``$.key: is missing``."""


class Operator(enum.Enum):
    """The operators of expressions."""

    EQUALS = "Equals"
    NOT_EQUAL = "NotEqual"
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    NOT_EXIST = "NotExist"
    ALWAYS_TRUE = "AlwaysTrue"
    MATCHES = "Matches"
    MATCHES_NOT = "MatchesNot"
    MATCHES_ANY = "MatchesAny"
    MATCHES_NONE = "MatchesNone"


_OPERATORS: Final = {operator.value: operator for operator in Operator} | {"NotExists": Operator.NOT_EXIST}
"""By name; the last spelling is that of the original's documentation."""
_ONE_VALUE: Final = frozenset({Operator.EQUALS, Operator.NOT_EQUAL, Operator.MATCHES, Operator.MATCHES_NOT})
_NO_VALUE: Final = frozenset({Operator.EXISTS, Operator.NOT_EXIST, Operator.ALWAYS_TRUE})
_GLOBS: Final = frozenset({Operator.MATCHES, Operator.MATCHES_NOT, Operator.MATCHES_ANY, Operator.MATCHES_NONE})


@attrs.frozen
class Key:
    """What an expression is about; see the module.

    Args:
        text: as written.
        readers: of the values that make up its value.
        separator: between these.
    """

    text: str
    readers: tuple[_Reader, ...] = attrs.field(eq=False)
    separator: str = attrs.field(eq=False)

    def value(self, container: Container, pod: Pod) -> str | None:
        """Return the value for *container* of *pod*; None where the key does not resolve."""
        if len(self.readers) == 1:
            return self.readers[0](container, pod)
        values = [reader(container, pod) for reader in self.readers]
        if values.count(None) == len(values):
            return None
        return self.separator.join([value or "" for value in values])


@attrs.frozen
class Expression:
    """An expression over containers."""

    key: Key
    operator: Operator
    values: tuple[str, ...] = ()
    _is_true_of: Callable[[str | None], bool] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_is_true_of", _claim(self.operator, self.values))

    def holds(self, container: Container, pod: Pod) -> bool:
        """Return whether the expression is true for *container* of *pod*."""
        return self._is_true_of(self.key.value(container, pod))


def _claim(operator: Operator, values: tuple[str, ...]) -> Callable[[str | None], bool]:  # noqa: PLR0911 - a table
    """Return the test for a key's value, made once because a decision tests every container on the node."""
    same = frozenset(values)
    match operator:
        case Operator.EQUALS | Operator.IN:
            return (lambda value: value is not None) if "*" in same else (lambda value: value in same)
        case Operator.NOT_EQUAL:
            return lambda value: value not in same
        case Operator.NOT_IN:
            return (lambda value: value is None) if "*" in same else (lambda value: value not in same)
        case Operator.EXISTS:
            return lambda value: value is not None
        case Operator.NOT_EXIST:
            return lambda value: value is None
        case Operator.ALWAYS_TRUE:
            return lambda _: True
        case Operator.MATCHES | Operator.MATCHES_ANY:
            matches = compile_globs(values).match
            return lambda value: value is not None and matches(value) is not None
        case Operator.MATCHES_NOT | Operator.MATCHES_NONE:
            matches = compile_globs(values).match
            return lambda value: value is None or matches(value) is None
        case _:
            assert_never(operator)


def decode_expression(document: object) -> Expression:
    """Return the expression in a document of mappings, lists and texts.

    Raises:
        ExpressionError: it is malformed.
    """
    fields = strict_fields(document, required=("operator",), optional=("key", "values"))
    name = _text(fields["operator"], "$.operator")
    if name not in _OPERATORS:
        msg = f"$.operator: {quoted(name)} is not an operator; write one of {', '.join(one.value for one in Operator)}"
        raise ExpressionError(msg)
    operator = _OPERATORS[name]
    if "key" not in fields and operator is not Operator.ALWAYS_TRUE:
        msg = "$.key: is missing"
        raise ExpressionError(msg)
    key = parse_key(_text(fields["key"], "$.key")) if "key" in fields else Key("", (_nothing,), "")
    return Expression(key, operator, _values(fields.get("values", []), operator))


def strict_fields(document: object, required: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, object]:
    """Return *document* as the mapping that it must be.

    Raises:
        ExpressionError: it is none, or has other fields, or not all of those required.
    """
    if not isinstance(document, Mapping):
        msg = f"$: is not a mapping; write the fields {', '.join((*required, *optional))}"
        raise ExpressionError(msg)
    for name in document:
        if name not in required and name not in optional:
            msg = f"$.{clipped(name)}: unknown field; write one of {', '.join((*required, *optional))}"
            raise ExpressionError(msg)
    for name in required:
        if name not in document:
            msg = f"$.{name}: is missing"
            raise ExpressionError(msg)
    return document


def parse_key(text: str) -> Key:
    """Return the key that *text* names; the module has the syntax.

    Raises:
        ExpressionError: it can name nothing.
    """
    if not text.startswith(":"):
        return Key(text, (_reader(text),), "")
    if len(text) < 4:
        msg = f"$.key: {quoted(text)} is too short for a joint key; write for example :pod/name:name"
        raise ExpressionError(msg)
    between_keys, between_values = text[1], text[2]
    if between_keys in _SEPARATORS and between_values in _SEPARATORS:
        keys = text[3:].split(between_keys)
    else:
        keys, between_values = text[1:].split(":"), ":"
    return Key(text, tuple(_reader(key) for key in keys), between_values)


def _reader(path: str) -> _Reader:
    first, *rest = parts = [part for part in path.split("/") if part not in ("", ".")] or [""]
    if "." in first:
        return _label("/".join(parts))
    match first.lower(), [part.lower() for part in rest[:1]], rest:
        case "labels", [_], _:
            return _label("/".join(rest))
        case "tags", [_], _:
            return _tag("/".join(rest))
        case "pod", ["labels"], [_, _, *_]:
            return _pod_label("/".join(rest[1:]))
        case "pod", [name], [_] if name in _POD_READERS:
            return _POD_READERS[name]
        case name, [], _ if name in _READERS:
            return _READERS[name]
    known = ", ".join([*_READERS, "labels/LABEL", "tags/TAG", *(f"pod/{name}" for name in _POD_READERS)])
    msg = f"$.key: {quoted(path)} is not a key; write one of {known}, pod/labels/LABEL"
    raise ExpressionError(msg)


def _label(name: str) -> _Reader:
    return lambda container, _: container.labels.get(name)


def _tag(name: str) -> _Reader:
    return lambda container, _: container.tags.get(name)


def _pod_label(name: str) -> _Reader:
    return lambda _, pod: pod.labels.get(name)


def _nothing(_container: Container, _pod: Pod) -> str | None:
    return None


_READERS: Final[Mapping[str, _Reader]] = {
    "name": lambda container, _: container.name,
    "namespace": lambda _, pod: pod.namespace,
    "qosclass": lambda _, pod: pod.qos.value,
    "id": lambda container, _: container.id,
}
_POD_READERS: Final[Mapping[str, _Reader]] = {
    "name": lambda _, pod: pod.name,
    "namespace": lambda _, pod: pod.namespace,
    "qosclass": lambda _, pod: pod.qos.value,
    "id": lambda _, pod: pod.id,
    "uid": lambda _, pod: pod.uid,
}


def _values(document: object, operator: Operator) -> tuple[str, ...]:
    if not isinstance(document, list):
        msg = "$.values: is not a list; write for example [first, second]"
        raise ExpressionError(msg)
    values = tuple(_text(value, f"$.values[{index}]") for index, value in enumerate(document))
    if operator in _NO_VALUE and values:
        msg = f"$.values: {operator.value} takes no values; remove them"
        raise ExpressionError(msg)
    if operator in _ONE_VALUE and len(values) != 1:
        msg = f"$.values: {operator.value} takes exactly one value, not {len(values)}"
        raise ExpressionError(msg)
    if operator not in _NO_VALUE and not values:
        msg = f"$.values: {operator.value} takes at least one value"
        raise ExpressionError(msg)
    for index, value in enumerate(values if operator in _GLOBS else ()):
        try:
            compile_globs((value,))
        except GlobError as fault:
            raise ExpressionError(f"$.values[{index}]: {fault}") from None
    return values


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        msg = f"{place}: is not a string"
        raise ExpressionError(msg)
    return value
