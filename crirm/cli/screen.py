"""A console for what is more than lines of text; apart from `printing`, since rich takes a while to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment

from crirm.errors import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType


class Screen(Console):
    """A console that escapes everything that a terminal would not show as text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render what is shown, escaped."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text, but="\n"), style, control)
