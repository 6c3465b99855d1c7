"""How a section's class says what is known about its options, and how that is read again.

The classes are the schema: what they hold in the metadata of their fields becomes help, JSON Schema and reference page.
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
        type: what the field holds.
        default: where a file does not say.
        text: a sentence about it.
    """

    name: str
    key: str
    type: Any
    default: Any
    text: str


def option(key: str, text: str, *, default: Any = attrs.NOTHING, factory: Callable[[], Any] | None = None) -> Any:
    """Make the field of an option.

    Args:
        key: in a file.
        text: a sentence about it, with the unit where it has one.
        default: where a file does not say.
        factory: makes the default, instead.
    """
    metadata = {KEY: key, TEXT: text}
    return attrs.field(default=default, factory=factory, metadata=metadata)


def options_of(section: type, texts: Mapping[str, str] | None = None) -> tuple[Option, ...]:
    """Return the options of a section's class.

    Args:
        section: an attrs class.
        texts: by key, the sentences about options that do not carry their own.
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
