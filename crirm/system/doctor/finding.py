"""The finding of a check."""

from __future__ import annotations

import enum

import attrs


class Verdict(enum.Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # crirm works, but something may surprise the operator
    FAIL = "fail"  # crirm does not work, or its decisions will not last
    SKIPPED = "skipped"  # there was nothing to check; the text says why


@attrs.frozen
class Finding:
    """One result of a check, each part one line."""

    check: str  # the check, for example "cgroup"
    verdict: Verdict
    found: str
    where: str = ""  # the file, process or socket where it was found
    fix: str = ""  # what to do; empty if nothing
