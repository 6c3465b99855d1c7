"""What ``cri-resmgr`` prints when it is asked for a report instead of a daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from crirm.cli.cri_resmgr_flags import FLAGS, Use
from crirm.cli.errors import did_you_mean
from crirm.cli.goflags import FlagError, Kind
from crirm.cri.dump_rules import DEFAULT_RULES
from crirm.logs.names import SOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence

LATER: Final = "Configuration files come in a later version of crirm"

CONFIG: Final[dict[str, dict[str, Any]]] = {
    "policy": {"Active": "none"},
    "logger": {"Debug": ""},
    "dump": {"Config": DEFAULT_RULES, "File": "", "Debug": False, "Disabled": False},
}
"""Module, key and default of what this version does, in the names of the original's configuration."""

CONFIG_TEXT: Final = {
    "policy": "how containers are placed",
    "policy.Active": "none: every request is relayed unchanged",
    "logger": "log records",
    "logger.Debug": "log sources that tell more, a comma list of [on|off:]SOURCE; today -logger-debug or LOGGER_DEBUG",
    "dump": "messages shown in the log",
    "dump.Config": "which messages and how fully, a comma list of [off|count|short|full:]METHOD; today -dump",
    "dump.File": "file that they are written to as well; today -dump-file",
    "dump.Debug": "whether they are debug records",
    "dump.Disabled": "whether none is shown",
}


def flag_help() -> str:
    """Return all flags by what becomes of them."""
    lines = ["Usage of cri-resmgr (this is crirm; its own command line is `crirm serve --help`):"]
    for use in Use:
        flags = [flag for flag in FLAGS.values() if flag.use is use]
        lines += ["", f"Flags, {use.value}:"]
        if any(flag.text for flag in flags):
            for flag in flags:
                kind = "" if flag.kind is Kind.BOOL else f" {flag.kind.value}"
                lines.append(f"  -{flag.name + kind:28} {flag.text}")
        else:
            lines.append("  " + " ".join(f"-{flag.name}" for flag in flags))
    return "\n".join(lines)


def print_config() -> str:
    """Return the configuration that is in effect when nothing is given, as YAML."""
    return f"# {LATER}; this is what it does without one.\n{yaml.safe_dump(CONFIG, sort_keys=False)}".rstrip()


def list_policies() -> str:
    """Return the policies and what they do."""
    return (
        "none  every request is relayed unchanged\n\n"
        "This is the only policy of this version; those that place containers come in later ones."
    )


def list_loggers() -> str:
    """Return the log sources that -logger-debug knows."""
    return "\n".join(f"{name:10} {text}" for name, text in sorted(SOURCES.items()))


def config_help(modules: Sequence[str]) -> str:
    """Return the keys of *modules*, of all when none is named.

    Raises:
        FlagError: there is no such module.
    """
    for module in modules:
        if module not in CONFIG:
            raise FlagError(f"config-help {module}: no such module{did_you_mean(module, CONFIG)}")
    lines = [f"{LATER}; these are the settings that this version has."]
    for module in modules or CONFIG:
        lines += ["", f"{module}: {CONFIG_TEXT[module]}"]
        for key, default in CONFIG[module].items():
            kind = "bool" if isinstance(default, bool) else "string"
            shown = str(default).lower() if isinstance(default, bool) else repr(default)
            lines.append(f"  {key} ({kind}, default {shown})\n      {CONFIG_TEXT[f'{module}.{key}']}")
    return "\n".join(lines)
