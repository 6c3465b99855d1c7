"""Which calls are dumped, and how: a comma-separated list of rules ``[level:]pattern``.

The syntax is that of CRI Resource Manager's ``dump.Config``, and includes the older one of its ``--dump`` flag:

- A level holds for the rules that follow until the next level; it starts as *full*. A level with no pattern after its
  colon does nothing else.
- A pattern is the name of a method, ``*``, or, with any of ``.*?+()[]|`` in it, a regular expression that may match
  anywhere in the name (see `linear_expression`). Rules are tried in order: an exact name ends the search, of all others
  the last match counts.
- Words that stand alone: ``reset`` forgets all rules so far, ``on`` and ``enable`` dump, ``off`` and ``disable`` do not
  dump at all, ``debug`` makes dumps debug records.
"""

from __future__ import annotations

import enum
from difflib import get_close_matches
from typing import Final

import attrs

from crirm.cri.linear_expression import ExpressionError, LinearExpression
from crirm.errors import CrirmError

# Source: the defaults of CRI Resource Manager's dump.Config since its version 0.3.
DEFAULT_RULES: Final = "off:.*,short:((Create)|(Start)|(Run)|(Update)|(Stop)|(Remove)).*,off:.*Image.*"


class DumpRulesError(CrirmError):
    """A dump rule is invalid."""


class Level(enum.Enum):
    """How a call is shown."""

    OFF = "off"
    COUNT = "count"  # only counted, in a periodic summary
    NAME = "name"  # that it happened, and its status
    FULL = "full"  # its messages too


LEVELS: Final = {
    "off": Level.OFF, "suppress": Level.OFF, "count": Level.COUNT, "name": Level.NAME, "short": Level.NAME,
    "full": Level.FULL, "long": Level.FULL, "verbose": Level.FULL,
}  # fmt: skip
SWITCHES: Final = {"on": True, "enable": True, "off": False, "disable": False}
REMEMBERED_METHODS: Final = 1000  # far more than exist; callers can invent names
_REGEXP_MARKS: Final = frozenset(".*?+()[]|")
_ANYTHING: Final = LinearExpression.compile("")
_LONGEST_NAME: Final = 128  # of a method name; the rest is ignored


@attrs.frozen
class _Rule:
    """One rule: an exact name, or an expression that is searched for in names."""

    level: Level
    exact: str = ""
    expression: LinearExpression | None = None


_QUOTES: Final = frozenset("'\"")


@attrs.frozen
class DumpRules:
    """Parsed rules; the result is cached per method."""

    enabled: bool = True
    as_debug: bool = False  # dumps are debug records
    rules: tuple[_Rule, ...] = ()
    _levels: dict[str, Level] = attrs.field(factory=dict, init=False, repr=False, eq=False)

    @classmethod
    def parse(cls, text: str, *, where: str = "dump rules") -> DumpRules:
        """Read rules.

        Args:
            text: for example ``reset,full:.*``; empty: nothing is dumped.
            where: what *text* came from, for the fault.

        Raises:
            DumpRulesError: the first invalid rule, with the correction.
        """
        parsed = cls()
        level = Level.FULL
        for rule in filter(None, map(str.strip, unquoted(text).split(","))):
            if _QUOTES & set(rule):
                raise DumpRulesError(f"{where}: cannot read {rule!r}: method names have no quotes; remove them")
            match rule.lower():
                case "reset":
                    parsed = cls()
                case "debug":
                    parsed = attrs.evolve(parsed, as_debug=True)
                case word if word in SWITCHES:
                    parsed = attrs.evolve(parsed, enabled=SWITCHES[word])
                case _:
                    word, colon, rest = rule.partition(":")
                    level = _level(word.strip(), rule, where) if colon else level
                    pattern = rest.strip() if colon else rule
                    added = (_rule(level, pattern, rule, where),) if pattern else ()
                    parsed = attrs.evolve(parsed, rules=parsed.rules + added)
        return parsed

    def level(self, method: str) -> Level:
        """Return how much of a call of *method*, a name without package and service, is shown."""
        method = method[:_LONGEST_NAME]
        level = self._levels.get(method)
        if level is None:
            level = self._work_out(method)
            if len(self._levels) < REMEMBERED_METHODS:
                self._levels[method] = level
        return level

    def _work_out(self, method: str) -> Level:
        level = Level.OFF
        for rule in self.rules if self.enabled else ():
            if rule.exact == method:
                return rule.level
            if rule.expression is not None and rule.expression.search(method):
                level = rule.level
        return level


def cumulate(*texts: str) -> str:
    """Return the rules of all *texts* in order, each parsed separately."""
    return f",{Level.FULL.value}:,".join(map(unquoted, texts))


def unquoted(text: str) -> str:
    """Return *text* without surrounding quotes, which an unquoted shell variable passes on with its value."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES else text


def _level(word: str, rule: str, where: str) -> Level:
    level = LEVELS.get(word.lower())
    if level is None:
        near = get_close_matches(word.lower(), LEVELS, n=1) or ["full"]
        raise DumpRulesError(
            f"{where}: cannot read {rule!r}: {word!r} is not a level (did you mean {near[0]}?); "
            f"levels are {', '.join(sorted(LEVELS))}"
        )
    return level


def _rule(level: Level, pattern: str, rule: str, where: str) -> _Rule:
    if pattern == "*":
        return _Rule(level, expression=_ANYTHING)
    if not _REGEXP_MARKS & set(pattern):
        return _Rule(level, exact=pattern)
    try:
        return _Rule(level, expression=LinearExpression.compile(pattern))
    except ExpressionError as error:
        raise DumpRulesError(
            f"{where}: cannot read {rule!r}: {pattern!r} is not a usable regular expression: {error}; "
            "use .* for any text, or the full name of a method"
        ) from error
