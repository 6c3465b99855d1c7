"""What is done where the kernel has something else for a container than was decided."""

from __future__ import annotations

import enum


class Mode(enum.Enum):
    """What to do about drift."""

    REPAIR = "repair"
    REPORT = "report"
    OFF = "off"
