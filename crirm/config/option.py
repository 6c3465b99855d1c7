"""What a section's class says about its options, read again.

The classes are the schema: the metadata of their fields becomes help, JSON Schema and the reference page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_type_hints

import attrs

from crirm.model.option import CHECK, KEY, TEXT


@attrs.frozen
class Option:
    """One option.

    Args:
        name: of the field.
        key: in a file.
        type: of the field.
        default: if a file does not set it.
        text: its description.
        check: see ``model.option``.
    """

    name: str
    key: str
    type: Any
    default: Any
    text: str
    check: Callable[[Any], object] | None = None


def options_of(section: type) -> tuple[Option, ...]:
    """Return the options of a section's attrs class."""
    types = get_type_hints(section)
    defaults = section()
    return tuple(
        Option(
            name=field.name,
            key=field.metadata[KEY],
            type=types[field.name],
            default=getattr(defaults, field.name),
            text=field.metadata[TEXT],
            check=field.metadata[CHECK],
        )
        for field in attrs.fields(section)
    )


def keys_of(section: type) -> tuple[str, ...]:
    """Return the keys of the options of a section's class."""
    return tuple(field.metadata[KEY] for field in attrs.fields(section))
