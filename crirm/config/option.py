"""How the class of a section describes its options, and how the description is read.

The classes are the schema: the metadata of their fields becomes help, JSON Schema and the reference page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import attrs

KEY = "key"
TEXT = "text"


@attrs.frozen
class Option:
    """One option.

    Args:
        name: of the field.
        key: in a file.
        type: of the field.
        default: if a file does not set it.
        text: its description.
    """

    name: str
    key: str
    type: Any
    default: Any
    text: str


def option(key: str, text: str, *, default: Any = attrs.NOTHING, factory: Callable[[], Any] | None = None) -> Any:
    """Return the field of an option.

    Args:
        key: in a file.
        text: its description, with the unit if it has one.
        default: if a file does not set it.
        factory: makes the default, alternatively.
    """
    metadata = {KEY: key, TEXT: text}
    return attrs.field(default=default, factory=factory, metadata=metadata)


def options_of(section: type, texts: Mapping[str, str] | None = None) -> tuple[Option, ...]:
    """Return the options of a section's class.

    Args:
        section: an attrs class.
        texts: by key, descriptions of options that do not carry their own.
    """
    types = get_type_hints(section)
    defaults = section()
    return tuple(
        Option(
            name=field.name,
            key=field.metadata[KEY],
            type=types[field.name],
            default=getattr(defaults, field.name),
            text=field.metadata.get(TEXT) or (texts or {}).get(field.metadata[KEY], ""),
        )
        for field in attrs.fields(section)
    )


def keys_of(section: type) -> tuple[str, ...]:
    """Return the keys of the options of a section's class."""
    return tuple(field.metadata[KEY] for field in attrs.fields(section))
