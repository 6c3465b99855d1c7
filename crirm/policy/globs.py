"""Glob patterns over names.

``*`` stands for any text, ``?`` for one character, ``[a-z]`` for one of a class and ``[^a-z]`` for one outside it; a
backslash takes the next character as it is. None of them stands for a slash.

Source: Go's path.Match, which the original uses (and in which a class may stand for a slash).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from crirm.errors import CrirmError, quoted

_TOKEN = re.compile(
    r"(?P<star>\*+)|(?P<any>\?)|(?P<negated>\[\^)|(?P<class>\[)|\\(?P<escaped>.)|(?P<broken>\\)|(?P<plain>.)", re.DOTALL
)
_CLASS_END = re.compile(r"(?:(?:\\.|[^\]\\-])(?:-(?:\\.|[^\]\\-]))?)+\]", re.DOTALL)
_RANGE = re.compile(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", re.DOTALL)


class GlobError(CrirmError, ValueError):
    """A text is not a glob pattern."""


def check_glob(pattern: str) -> None:
    """Refuse a text that is no pattern.

    Raises:
        GlobError: it is none.
    """
    compile_globs((pattern,))


@lru_cache(maxsize=512)
def compile_globs(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return one regular expression for what any of *patterns* stands for, to be used with its ``match``.

    Matching takes time in proportion to patterns and text.

    Raises:
        GlobError: one of them is not a pattern.
    """
    return re.compile("|".join(map(_expression, patterns)), re.DOTALL)


def _expression(pattern: str) -> str:
    pieces = [""]
    for piece in _pieces(pattern):
        if piece is None:
            pieces.append("")
        else:
            pieces[-1] += piece
    if len(pieces) == 1:
        return rf"{pieces[0]}\Z"
    # The first place where a piece fits is as good as any later one, so no attempt is ever repeated: hence (?>...).
    first, *inner, last = pieces
    return rf"{first}{''.join(f'(?>[^/]*?{piece})' for piece in inner)}[^/]*{last}\Z"


def _pieces(pattern: str) -> Iterator[str | None]:
    """Yield a regular expression for each item of *pattern*, None for a star."""
    at = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        assert found is not None  # noqa: S101 - some alternative always fits
        at = found.end()
        match found.lastgroup:
            case "star":
                yield None
            case "any":
                yield "[^/]"
            case "negated" | "class":
                end = _CLASS_END.match(pattern, at)
                if end is None:
                    msg = f"{quoted(pattern)} is not a glob pattern: its [ is not closed or its class is malformed"
                    raise GlobError(msg)
                at = end.end()
                yield _class(pattern, end.group()[:-1], negated=found.lastgroup == "negated")
            case "broken":
                msg = f"{quoted(pattern)} is not a glob pattern: nothing follows its last backslash"
                raise GlobError(msg)
            case _:
                yield re.escape(found["escaped"] or found["plain"])


def _class(pattern: str, members: str, *, negated: bool) -> str:
    parts = []
    for low, high in _RANGE.findall(members):
        first, last = low[-1], (high or low)[-1]
        if last < first:
            msg = f"{quoted(pattern)} is not a glob pattern: {first}-{last} runs backwards"
            raise GlobError(msg)
        parts.append(f"{re.escape(first)}-{re.escape(last)}")
    return f"(?!/)[{'^' if negated else ''}{''.join(parts)}]"
