"""The policy chosen on the command line, which applies without a configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.config.config import Config
from crirm.config.cpus import parse_cpus
from crirm.config.faults import ValueFault
from crirm.config.policy import PolicySection, Resources
from crirm.daemon.configuration.meaning import choice_of
from crirm.errors import UsageError
from crirm.policy.registry import POLICIES

if TYPE_CHECKING:
    from crirm.config.cpus import CPUs
    from crirm.policy.api import Choice


def choice_from_options(name: str, available: str | None, reserved: str | None, host_root: str) -> Choice:
    """Return the policy chosen on the command line.

    Raises:
        UsageError: unknown policy, or a malformed CPU constraint.
    """
    known = sorted(POLICIES)
    if name not in known:
        raise UsageError(f"--policy {name}: no such policy; choose one of {', '.join(known)}")
    section = PolicySection(
        active=name,
        available=Resources(cpu=_cpus("--available-cpus", available)),
        reserved=Resources(cpu=_cpus("--reserved-cpus", reserved)),
    )
    return choice_of(Config(policy=section), host_root)


def _cpus(option: str, text: str | None) -> CPUs | None:
    try:
        return None if text is None else parse_cpus(text)
    except ValueFault as fault:
        raise UsageError(f"{option} {text}: {fault}") from fault
