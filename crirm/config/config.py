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
    """All that a configuration says, with defaults for what it does not say.

    Args:
        policy: which policy decides, and within which CPUs.
        options: the options of every policy that has some, by its name.
        logger: log records.
        dump: CRI messages in the log.
        state: what is kept on disk.
        later: sections of features that this version does not have, by name, as they were given.
    """

    policy: PolicySection = attrs.field(factory=PolicySection)
    options: Mapping[str, Any] = attrs.field(factory=_default_options)
    logger: LoggerSection = attrs.field(factory=LoggerSection)
    dump: DumpSection = attrs.field(factory=DumpSection)
    state: StateSection = attrs.field(factory=StateSection)
    later: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def policy_name(self) -> str:
        """The policy that decides."""
        return self.policy.active

    @property
    def policy_options(self) -> Any:
        """The options of that policy; None where it has none."""
        return self.options.get(self.policy.active)

    @property
    def available(self) -> CPUs | None:
        """The CPUs that containers may use; None: all online ones."""
        return self.policy.available.cpu

    @property
    def reserved(self) -> CPUs | None:
        """The CPUs for reserved namespaces; None: none."""
        return self.policy.reserved.cpu
