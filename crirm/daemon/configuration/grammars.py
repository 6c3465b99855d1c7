"""Parsers for configuration values with a syntax of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crirm.cri.dump_rules import DumpRules
from crirm.cri.methods import METHODS
from crirm.errors import UsageError
from crirm.logs.debug_spec import nearest, parse_debug
from crirm.logs.names import complaint, own_name
from crirm.logs.settings import OPTIONS, settings_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crirm.config.load import Grammar

KLOG_FLAGS: Final = OPTIONS - {"debug", "format"}  # those two are crirm's own


def _read_debug(text: str) -> Iterable[str]:
    complaints = {source: complaint(own_name(source), known=()) for source in parse_debug(text, where="debug list")}
    return [f"{source}: {what}" for source, what in complaints.items() if what]


def _read_flag(pair: tuple[str, str]) -> Iterable[str]:
    flag, value = pair
    if flag not in KLOG_FLAGS:
        raise UsageError(f"unknown logging flag {flag!r}{nearest(flag, KLOG_FLAGS)}")
    settings = settings_from({}, {flag: value})
    return [f"{flag}: accepted, but has no effect in crirm" for _ in settings.ignored]


def _read_rules(text: str) -> Iterable[str]:
    exact = [rule.exact for rule in DumpRules.parse(text).rules if rule.exact]
    known = {method.name for method in METHODS.values()}
    return [f"CRI has no method {name}{nearest(name, known)}" for name in exact if name not in known]


def _read_dump_file(path: str) -> Iterable[str]:
    if path and not path.startswith("/"):
        raise UsageError(f"{path!r} is not an absolute path; write the full path")
    return ()


GRAMMARS: Final[Mapping[str, Grammar]] = {
    "logger.Debug": _read_debug,
    "logger.Klog": _read_flag,
    "dump.Config": _read_rules,
    "dump.File": _read_dump_file,
}
"""The parsers of configuration values with a syntax of their own."""
