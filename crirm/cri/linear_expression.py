r"""Regular expressions whose matching time is at most proportional to the length of the text times their own.

Python's engine backtracks, so that an expression such as ``(a+)+\d`` takes hours for thirty characters that it does not
match, and nothing else runs meanwhile. This engine tracks all possible states at once, character by character; it lacks
back references, lookarounds and atomic groups. So do Go's expressions, in which CRI Resource Manager's rules are
written.

Source: Ken Thompson, Regular Expression Search Algorithm, CACM 11 (1968); RE2's syntax, https://github.com/google/re2.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple

import attrs

from crirm.errors import CrirmError

LONGEST: Final = 2000  # characters of an expression
LARGEST: Final = 1000  # steps, with repetitions expanded
DEEPEST: Final = 50  # nested groups

_REPEATED: Final = re.compile(r"\{(\d{1,4})(,?)(\d{0,4})\}", re.ASCII)
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_GROUP: Final = re.compile(r"\((?:\?:|\?P<\w+>)?")
_EDGES: Final = {r"\A": "begin", r"\Z": "end", r"\z": "end", r"\b": "boundary"}


class ExpressionError(CrirmError, ValueError):
    """A text is not a regular expression, or not supported; str() is the end of a sentence."""


class _Kind(enum.Enum):
    TAKE = enum.auto()  # a character that fits
    FORK = enum.auto()  # continue at two places
    EDGE = enum.auto()  # continue at an edge
    DONE = enum.auto()


class _Step(NamedTuple):
    kind: _Kind
    chars: re.Pattern[str] | None = None
    targets: tuple[int, ...] = ()
    edge: str = ""


_Code = tuple[_Step, ...]
"""Steps; their targets count from the step itself."""


@attrs.frozen(eq=False)
class LinearExpression:
    """A compiled expression."""

    text: str
    _code: _Code

    @classmethod
    def compile(cls, text: str) -> LinearExpression:
        """Read an expression.

        Raises:
            ExpressionError: it is invalid, too large, or not possible in linear time.
        """
        if len(text) > LONGEST:
            raise ExpressionError(f"{len(text)} characters, at most {LONGEST} are allowed")
        flags = re.IGNORECASE if text.startswith("(?i)") else re.NOFLAG
        try:
            re.compile(text.replace(r"\z", r"\Z"))  # reports errors; never used to search
        except (re.error, OverflowError, RecursionError) as error:
            raise ExpressionError(str(error)) from None
        parser = _Parser(text.removeprefix("(?i)"), flags)
        return cls(text, (*parser.alternatives(0), _Step(_Kind.DONE)))

    def search(self, text: str) -> bool:
        """Whether it matches anywhere in *text*."""
        entered: set[int] = set()
        for at in range(len(text) + 1):
            reached = self._reached(entered | {0}, text, at)
            if len(self._code) - 1 in reached:
                return True
            entered = {place + 1 for place in reached if self._takes(place, text[at : at + 1])}
        return False

    def _takes(self, place: int, character: str) -> bool:
        chars = self._code[place].chars
        return chars is not None and bool(character) and chars.fullmatch(character) is not None

    def _reached(self, entered: set[int], text: str, at: int) -> set[int]:
        """Return all places reachable from those *entered* without a character, each once."""
        reached, waiting = set[int](), list(entered)
        while waiting:
            place = waiting.pop()
            if place in reached:
                continue
            reached.add(place)
            step = self._code[place]
            if step.kind is _Kind.FORK or (step.kind is _Kind.EDGE and _is_edge(step.edge, text, at)):
                waiting += (place + target for target in step.targets)
        return reached


def _is_edge(edge: str, text: str, at: int) -> bool:
    if edge == "boundary":
        before, after = text[at - 1 : at] if at else "", text[at : at + 1]
        return _is_word(before) is not _is_word(after)
    return at == 0 if edge == "begin" else at == len(text)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


@attrs.define
class _Parser:
    """Parses an expression that is known to be well-formed."""

    text: str
    flags: re.RegexFlag
    at: int = 0

    def alternatives(self, depth: int) -> _Code:
        if depth > DEEPEST:
            raise ExpressionError(f"groups are nested more than {DEEPEST} deep")
        code = self._sequence(depth)
        while self._next("|"):
            other = self._sequence(depth)
            fork = _Step(_Kind.FORK, targets=(1, len(code) + 2))
            code = _bounded((fork, *code, _Step(_Kind.FORK, targets=(len(other) + 1,)), *other))
        return code

    def _sequence(self, depth: int) -> _Code:
        code: _Code = ()
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            code = _bounded((*code, *self._repeated(self._atom(depth))))
        return code

    def _atom(self, depth: int) -> _Code:
        rest = self.text[self.at : self.at + 2]
        if rest[0] == "(":
            return self._group(depth)
        if rest[0] in "^$" or rest in _EDGES:
            edge = _EDGES.get(rest) or ("begin" if rest[0] == "^" else "end")
            self.at += 2 if rest in _EDGES else 1
            return (_Step(_Kind.EDGE, targets=(1,), edge=edge),)
        found = _CLASS.match(self.text, self.at) if rest[0] == "[" else None
        piece = found[0] if found else rest if rest[0] == "\\" else rest[0]
        if piece[0] == "\\" and (piece[1:].isdigit() or piece[1:] in {"B", "x", "u", "U", "N"}):
            raise ExpressionError(f"{piece} is not supported")
        self.at += len(piece)
        return (_Step(_Kind.TAKE, re.compile(piece, self.flags)),)

    def _group(self, depth: int) -> _Code:
        found = _GROUP.match(self.text, self.at)
        assert found is not None  # noqa: S101 - it begins with a parenthesis
        if self.text[found.end() : found.end() + 1] == "?":
            raise ExpressionError(f"{self.text[self.at : self.at + 3]} is not supported, only plain groups")
        self.at = found.end()
        code = self.alternatives(depth + 1)
        self.at += 1  # its end
        return code

    def _repeated(self, code: _Code) -> _Code:
        while True:
            found = _REPEATED.match(self.text, self.at)
            if self._next("*"):
                code = _times(code, 0, None)
            elif self._next("+"):
                code = _times(code, 1, None)
            elif self._next("?"):
                code = _times(code, 0, 1)
            elif found is not None:
                self.at = found.end()
                least = int(found[1])
                code = _times(code, least, None if found[2] and not found[3] else int(found[3] or least))
            else:
                return code
            if self._next("+"):
                raise ExpressionError("a + after a repetition is not supported")
            self._next("?")  # the shortest match is a match as well

    def _next(self, character: str) -> bool:
        found = self.text.startswith(character, self.at)
        self.at += found
        return found


def _times(code: _Code, least: int, most: int | None) -> _Code:
    if len(code) * max(least, most or 0) > LARGEST:
        raise ExpressionError(f"more than {LARGEST} steps with its repetitions expanded")
    if most is None:
        loop = (_Step(_Kind.FORK, targets=(1, len(code) + 2)), *code, _Step(_Kind.FORK, targets=(-len(code) - 1,)))
        return _bounded((*(code * least), *loop))
    optional = (_Step(_Kind.FORK, targets=(1, len(code) + 1)), *code)
    return _bounded((*(code * least), *(optional * (most - least))))


def _bounded(code: _Code) -> _Code:
    if len(code) > LARGEST:
        raise ExpressionError(f"more than {LARGEST} steps with its repetitions expanded")
    return code
