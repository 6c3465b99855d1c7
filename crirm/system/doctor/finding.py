"""What a check says."""

from __future__ import annotations

import enum

import attrs


class Verdict(enum.Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # crirm works; something will not be as the operator expects
    FAIL = "fail"  # crirm does not work, or what it decides will not last
    SKIPPED = "skipped"  # there was nothing to look at; what was found says why


@attrs.frozen
class Finding:
    """One result of a check, each part one line."""

    check: str  # what was looked at, for example "cgroup"
    verdict: Verdict
    found: str
    where: str = ""  # the file, process or socket that says so
    fix: str = ""  # what to do; empty: nothing
