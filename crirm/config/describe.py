"""The schema as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import attrs

from crirm.config.cpus import CPUs
from crirm.config.faults import nearest
from crirm.config.logger import Flags
from crirm.config.option import Option, options_of
from crirm.config.schema import SECTIONS, Section
from crirm.config.structure import Seconds
from crirm.config.write import plain_of
from crirm.errors import UsageError

_WIDTH: Final = 100
_TYPES: Final[tuple[tuple[Any, str], ...]] = (
    (bool, "bool"),
    (str, "string"),
    (CPUs | None, "CPUs"),
    (tuple[str, ...], "list of strings"),
    (Flags, "mapping of strings"),
    (Seconds, "duration"),
)


class NoSectionError(UsageError):
    """No section has that name."""


def help_text(names: Sequence[str] = ()) -> str:
    """Return the descriptions and options of the sections with these *names*, or of all sections.

    Args:
        names: whole, or a part with a dot: ``policy.`` matches a beginning, ``.memtier`` an end, ``.control.`` a
            middle part.

    Raises:
        NoSectionError: a name matches no section.
    """
    chosen = dict.fromkeys(section for name in names for section in _matching(name)) if names else SECTIONS
    return "\n\n".join(_section(SECTIONS[name]) for name in chosen)


def type_text(type_: Any) -> str:
    """Return the type of an option in a word or two."""
    if attrs.has(type_):
        return "mapping of " + ", ".join(option.key for option in options_of(type_))
    return next(text for known, text in _TYPES if known == type_)


def default_text(option: Option) -> str:
    """Return the default of an option as it would be written in a file."""
    match plain_of(option.default):
        case None:
            return "not set"
        case bool() as value:
            return str(value).lower()
        case list() as values:
            return f"[{', '.join(values)}]"
        case dict() if attrs.has(option.type):
            return "{}"  # each option in it has its own
        case value:
            return str(value) or "''"


def _matching(name: str) -> list[str]:
    def fits(section: str) -> bool:
        match name.startswith("."), name.endswith("."):
            case True, True:
                return name in section
            case True, False:
                return section.endswith(name)
            case False, True:
                return section.startswith(name)
            case _:
                return section == name

    found = [section for section in SECTIONS if fits(section)]
    if not found:
        raise NoSectionError(f"{name}: no such section{nearest(name, SECTIONS)}")
    return found


def _section(section: Section) -> str:
    lines = [f"{section.name}: {section.text}"]
    if section.type is None:
        lines.append("  Not supported yet: accepted, but without effect.")
    for option in section.options:
        lines.append(f"  {option.key} ({type_text(option.type)}, default {default_text(option)})")
        lines += textwrap.wrap(option.text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)
