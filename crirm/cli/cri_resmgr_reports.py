"""What ``cri-resmgr`` prints instead of running the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.cli.cri_resmgr_flags import FLAGS, Use
from crirm.cli.goflags import Kind
from crirm.config.config import Config
from crirm.config.describe import help_text
from crirm.config.policies import LATER
from crirm.config.write import dump
from crirm.logs.names import SOURCES
from crirm.policy.registry import POLICIES

if TYPE_CHECKING:
    from collections.abc import Sequence


def flag_help() -> str:
    """Return all flags, grouped by what crirm does with them."""
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
    """Return the default configuration as YAML."""
    return dump(Config()).rstrip()


def list_policies() -> str:
    """Return the policies and what they do."""
    lines = [f"{policy.name:14} {policy.text}" for policy in POLICIES.values()]
    return "\n".join([*lines, "", f"These come in later versions of crirm: {', '.join(LATER)}."])


def list_loggers() -> str:
    """Return the log sources that -logger-debug knows."""
    return "\n".join(f"{name:10} {text}" for name, text in sorted(SOURCES.items()))


def config_help(modules: Sequence[str]) -> str:
    """Return the options of *modules*, or of all if none is given.

    Raises:
        NoSectionError: unknown module.
    """
    return help_text(modules)
