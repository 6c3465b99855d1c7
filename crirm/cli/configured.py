"""Settings of the daemon with what a configuration file says put into them; the file wins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from crirm.cli.config import GRAMMARS, constraints_of, read, read_cgroup
from crirm.config.config import Config
from crirm.config.cpus import parse_cpus
from crirm.config.faults import ValueFault
from crirm.config.load import Loaded, load
from crirm.config.policies import POLICIES
from crirm.config.policy import PolicySection, Resources
from crirm.errors import UsageError
from crirm.logs import settings_from
from crirm.logs.debug_spec import parse_debug
from crirm.policy.api import Choice

if TYPE_CHECKING:
    from crirm.config.cpus import CPUs
    from crirm.daemon.settings import Settings

NOTHING_DUMPED: Final = "off:*"


def configured(settings: Settings, path: str) -> Settings:
    """Return *settings* with the configuration file *path* put into them, and print what one should know about it.

    Raises:
        ConfigFaults: the file cannot be used, with all that is wrong in it.
        CrirmError: it cannot be read.
    """
    loaded = load(read(Path(path)), path, GRAMMARS)
    for warning in loaded.warnings:
        click.echo(f"{path}: {warning}", err=True)
    return _with(settings, loaded)


def _with(settings: Settings, loaded: Loaded) -> Settings:
    config = loaded.config
    changes: dict[str, Any] = {"policy": choice_of(config, settings.host_root)}
    if loaded.has("dump"):
        changes["dump_rules"] = NOTHING_DUMPED if config.dump.disabled else config.dump.config
        changes["dump_file"] = config.dump.file
        if config.dump.debug:
            changes["dump_rules"] = f"debug,{changes['dump_rules']}"
    if loaded.has("logger"):
        debug = parse_debug(config.logger.debug, where="$.logger.Debug")
        log = settings_from(os.environ, config.logger.klog) if config.logger.klog else settings.log
        changes["log"] = attrs.evolve(log, debug={**settings.log.debug, **debug})
    return attrs.evolve(settings, **changes)


def choice_of(config: Config, host_root: str) -> Choice:
    """Return the policy that *config* chooses, with cgroups resolved on the host whose files are at *host_root*."""
    constraints = constraints_of(config, lambda directory: read_cgroup(Path(host_root), directory))
    return Choice(config.policy_name, constraints, config.policy_options, config.policy.overflow)


def choice_from_options(name: str, available: str | None, reserved: str | None, host_root: str) -> Choice:
    """Return the policy that the command line chooses.

    Raises:
        UsageError: there is no such policy, or a CPU constraint that is none.
    """
    known = sorted(each for each, policy in POLICIES.items() if not policy.comes_later)
    if name not in known:
        raise UsageError(f"--policy {name}: there is no such policy; there are {', '.join(known)}")
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
