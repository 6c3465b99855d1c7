"""What a field of a configuration carries about itself: help, JSON Schema and the reference page are made of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

KEY: Final = "key"
TEXT: Final = "text"
CHECK: Final = "check"


def option(
    key: str,
    text: str,
    *,
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    check: Callable[[Any], object] | None = None,
) -> Any:
    """Make the field of an option.

    Args:
        key: in a file.
        text: a sentence about it, with the unit where it has one.
        default: where a file does not say.
        factory: makes the default, instead.
        check: raises CrirmError where a value cannot be; of a list, each item is checked.
    """
    return attrs.field(default=default, factory=factory, metadata={KEY: key, TEXT: text, CHECK: check})
