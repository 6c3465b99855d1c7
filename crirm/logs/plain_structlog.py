"""structlog without what its console renderer needs.

It imports rich where that is installed, which costs every daemon 30 ms and 3 MiB; crirm renders its records itself.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _not_installed(name: str) -> Iterator[None]:
    """Let ``import`` say that *name* is not there, unless it has been imported already.

    Source: https://docs.python.org/3/reference/import.html#the-module-cache (None in sys.modules).
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # typeshed knows modules only
    try:
        yield
    finally:
        del sys.modules[name]


with _not_installed("rich"):
    import structlog

__all__ = ["structlog"]
