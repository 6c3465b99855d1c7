"""How full nodes get: placement by option, by namespace and by annotation.

``spread`` keeps containers away from each other, ``pack`` keeps nodes free for large ones, ``balanced`` keeps the
largest room that one node has and spreads otherwise. `ranking` has the rules of each.

The annotation of a pod comes before its namespace, and that before the option. A namespace is looked up by its name,
then by the longest pattern that it matches (of several, by the first in the alphabet): so the order in a file, which
not every format keeps, does not matter.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

import attrs

from crirm.errors import CrirmError, quoted
from crirm.policy.globs import compile_globs


class Mode(enum.Enum):
    """Which of several pools that are equally deep and near a container gets."""

    SPREAD = "spread"
    PACK = "pack"
    BALANCED = "balanced"


WORDS = tuple(mode.value for mode in Mode)


class ModeError(CrirmError):
    """A text is no placement mode."""


def mode_of(text: str) -> Mode:
    """Return the mode called *text*.

    Raises:
        ModeError: there is none of that name.
    """
    try:
        return Mode(text)
    except ValueError:
        raise ModeError(f"{quoted(text)} is no placement; write {', '.join(WORDS[:-1])} or {WORDS[-1]}") from None


def check_namespace_mode(pair: tuple[str, str]) -> None:
    """Refuse a pair of pattern and mode that is none.

    Raises:
        GlobError: the first is no pattern.
        ModeError: the second is no mode.
    """
    compile_globs((pair[0],))
    mode_of(pair[1])


@attrs.frozen(eq=False)
class Modes:
    """The modes of one configuration."""

    _default: Mode
    _patterns: tuple[tuple[re.Pattern[str], Mode], ...]

    def of(self, namespace: str) -> Mode:
        """Return the mode of pods in *namespace* that say nothing themselves."""
        found = (mode for pattern, mode in self._patterns if pattern.match(namespace))
        return next(found, self._default)


def make_modes(default: str, by_namespace: Mapping[str, str]) -> Modes:
    """Return the modes of a configuration.

    Args:
        default: of namespaces that match no pattern.
        by_namespace: modes by pattern.

    Raises:
        ModeError, GlobError: a word or a pattern is none.
    """
    plain = re.compile(r"[^*?\[\\]*")
    ordered = sorted(by_namespace, key=lambda pattern: (not plain.fullmatch(pattern), -len(pattern), pattern))
    patterns = ((compile_globs((pattern,)), mode_of(by_namespace[pattern])) for pattern in ordered)
    return Modes(mode_of(default), tuple(patterns))
