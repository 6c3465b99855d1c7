"""A configuration as a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from crirm.config.cpus import CPUs
from crirm.config.dump import DumpSection
from crirm.config.logger import LoggerSection
from crirm.config.policy import PolicySection
from crirm.config.state import StateSection
from crirm.policy.registry import POLICIES


def _default_options() -> dict[str, Any]:
    return {name: policy.options() for name, policy in POLICIES.items() if attrs.fields(policy.options)}


@attrs.frozen
class Config:
    """A whole configuration, with defaults filled in.

    Args:
        policy: the active policy, and the CPUs it may use.
        options: the options of each policy that has any, by its name.
        logger: log messages.
        dump: CRI messages in the log.
        state: what is saved on disk.
        later: sections of unsupported features, by name, unchanged.
    """

    policy: PolicySection = attrs.field(factory=PolicySection)
    options: Mapping[str, Any] = attrs.field(factory=_default_options)
    logger: LoggerSection = attrs.field(factory=LoggerSection)
    dump: DumpSection = attrs.field(factory=DumpSection)
    state: StateSection = attrs.field(factory=StateSection)
    later: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def policy_name(self) -> str:
        """The active policy."""
        return self.policy.active

    @property
    def policy_options(self) -> Any:
        """The options of that policy; None where it has none."""
        return self.options.get(self.policy.active)

    @property
    def available(self) -> CPUs | None:
        """The CPUs for containers; None: all online ones."""
        return self.policy.available.cpu

    @property
    def reserved(self) -> CPUs | None:
        """The CPUs for reserved namespaces; None: none."""
        return self.policy.reserved.cpu
