"""Answers made comparable: what must differ from run to run is masked by name, everything else stays."""

from __future__ import annotations

import re
from typing import Any

import attrs
import betterproto

_TIMES = {"createdAt", "startedAt", "finishedAt", "timestamp"}
_AMOUNTS = {
    "usageCoreNanoSeconds", "workingSetBytes", "availableBytes", "usageBytes", "rssBytes", "pageFaults",
    "majorPageFaults", "usedBytes", "inodesUsed", "processCount", "swapAvailableBytes", "swapUsageBytes", "psi",
    "rxBytes", "rxErrors", "txBytes", "txErrors",
}  # fmt: skip
_UNSTEADY = {"usageNanoCores"}  # there only if the runtime took an earlier sample
_PATTERNS = (
    (re.compile(r"http://127\.0\.0\.1:\d+/(\w+)/[\w-]+"), r"<server>/\1/<token>"),
    (re.compile(r"runtime\.v1(alpha2)?\b"), "<package>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\bpid \d+"), "pid <pid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)"), "<time>"),
)


@attrs.define(eq=False)
class Masks:
    """Names for the ids that one run met."""

    _names: dict[str, str] = attrs.field(factory=dict)

    def name(self, text: str, name: str) -> None:
        """Print *text* as ``<name>`` wherever it appears."""
        self._names[text] = f"<{name}>"

    def plain(self, value: object, key: str = "") -> Any:
        if key in _TIMES:
            return "<time>"
        if key in _AMOUNTS:
            return "<amount>"
        match value:
            case betterproto.Message():
                plain = self.plain(value.to_dict())
                return {**plain, **self._unknown(value)}
            case dict():
                return {self._text(str(k)): self.plain(v, str(k)) for k, v in value.items() if k not in _UNSTEADY}
            case list() | tuple():
                return [self.plain(item) for item in value]
        return self._text(value) if isinstance(value, str) else value

    def _unknown(self, message: betterproto.Message) -> dict[str, str]:
        unknown = message._unknown_fields  # betterproto has no public name for it
        return {"<unknown fields>": unknown.hex()} if unknown else {}

    def _text(self, text: str) -> str:
        for known, name in self._names.items():
            text = text.replace(known, name)
        for pattern, mask in _PATTERNS:
            text = pattern.sub(mask, text)
        return text
