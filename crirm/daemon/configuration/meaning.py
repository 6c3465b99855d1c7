"""A configuration as settings of the daemon, and as a policy with its constraints."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, assert_never

import attrs

from crirm.config.cpus import AllCPUsBut, CPUAmount, ExactCPUs, ResolvedCPUs, resolve_cpus
from crirm.config.nodes import MAX_BYTES
from crirm.daemon.configuration.grammars import GRAMMARS
from crirm.errors import CrirmError
from crirm.logs import settings_from
from crirm.logs.debug_spec import parse_debug
from crirm.model.cpuset import CPUSet
from crirm.policy.api import Choice, Constraints, CPUConstraint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crirm.config.config import Config
    from crirm.config.load import Loaded
    from crirm.daemon.settings import Settings

CGROUP_FILES: Final = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")  # v2, v1, neither enabled
CGROUP_MOUNTS: Final = ("sys/fs/cgroup", "sys/fs/cgroup/cpuset")
NOTHING_DUMPED: Final = "off:*"


class UnreadableError(CrirmError):
    """A file that a command needs cannot be read."""


def read_config(path: str) -> Loaded:
    """Return the configuration in the file *path*.

    Raises:
        UnreadableError: it does not exist or is not readable.
        ConfigFaults: it is invalid, with all its faults.
    """
    return loaded(read(Path(path)), path)


def loaded(data: bytes, name: str) -> Loaded:
    """Return the configuration in *data*; `crirm.config.load.load` with all grammars."""
    from crirm.config.load import load  # noqa: PLC0415  # a daemon without a file does without YAML, TOML and cattrs

    return load(data, name, GRAMMARS)


def loaded_map(data: Mapping[str, str], name: str) -> Loaded:
    """Return the configuration in the *data* of a ConfigMap; like `loaded`."""
    from crirm.config.load import load_config_map  # noqa: PLC0415  # as above

    return load_config_map(data, name, GRAMMARS)


def read(file: Path) -> bytes:
    """Return the content of *file*, up to the maximum size of a configuration.

    Raises:
        UnreadableError: it cannot be read.
    """
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"{file}: cannot be read: {error.strerror}") from error


def constraints_of(config: Config, cgroups: Callable[[str], CPUSet]) -> Constraints:
    """Return the constraints of *config* on its policy.

    Args:
        config: the configuration.
        cgroups: returns the CPUs of the cgroup in a directory; raises CrirmError if there are none.
    """
    return Constraints(*(_constraint(resolve_cpus(one, cgroups)) for one in (config.available, config.reserved)))


def _constraint(cpus: ResolvedCPUs | None) -> CPUConstraint:
    match cpus:
        case ExactCPUs():
            return CPUConstraint(cpus=cpus.cpus)
        case AllCPUsBut():
            return CPUConstraint(excluded=cpus.cpus)
        case CPUAmount():
            return CPUConstraint(millicpu=cpus.millicpu)
        case None:
            return CPUConstraint()
        case _:
            assert_never(cpus)


def with_config(settings: Settings, loaded: Loaded) -> Settings:
    """Return *settings* with the values of *loaded*; others stay unchanged.

    Raises:
        CrirmError: it names a cgroup that does not exist.
    """
    config = loaded.config
    changes: dict[str, Any] = {"policy": choice_of(config, settings.host_root)}
    if loaded.has("dump"):
        changes["dump_rules"] = NOTHING_DUMPED if config.dump.disabled else config.dump.config
        changes["dump_file"] = config.dump.file
        if config.dump.debug:
            changes["dump_rules"] = f"debug,{changes['dump_rules']}"
    if loaded.has("state"):
        changes["state_fail_closed"] = config.state.fail_closed
    if loaded.has("logger"):
        debug = parse_debug(config.logger.debug, where="$.logger.Debug")
        log = settings_from(os.environ, {**settings.log_options, **config.logger.klog})
        changes["log"] = attrs.evolve(log, debug={**log.debug, **debug})
    return attrs.evolve(settings, **changes)


def choice_of(config: Config, host_root: str) -> Choice:
    """Return the policy that *config* chooses, with cgroups resolved on the host whose files are at *host_root*."""
    constraints = constraints_of(config, lambda directory: read_cgroup(Path(host_root), directory))
    section = config.policy
    return Choice(config.policy_name, constraints, config.policy_options, section.overflow, section.fail_open)


def read_cgroup(host_root: Path, directory: str) -> CPUSet:
    """Return the CPUs of the cgroup in *directory*, absolute or relative to the cgroup mount.

    Raises:
        UnreadableError: there is no such cgroup, or it has no CPUs.
    """
    inside = directory.lstrip("/")
    folders = [host_root / mount / inside for mount in CGROUP_MOUNTS]
    if directory.startswith("/"):
        folders.insert(0, host_root / inside)
    for path in (folder / name for folder in folders for name in CGROUP_FILES):
        try:
            cpus = CPUSet.parse(path.read_text(errors="replace").strip())
        except OSError:
            continue
        if cpus:
            return cpus
    raise UnreadableError(f"no cgroup with CPUs at {' or '.join(map(str, folders))}")
