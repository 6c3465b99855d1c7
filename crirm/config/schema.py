"""The whole schema: all sections by their dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from typing import Final

import attrs

from crirm.config.dump import DumpSection
from crirm.config.logger import LoggerSection
from crirm.config.option import Option, options_of
from crirm.config.policy import PolicySection
from crirm.config.state import StateSection
from crirm.policy.registry import POLICIES


@attrs.frozen
class Section:
    """A section.

    Args:
        name: dotted, such as ``policy.topology-aware``.
        text: what it is about.
        type: the class of its options; None if it is not supported yet, and its content is not checked.
    """

    name: str
    text: str
    type: type | None = None

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """Its options; empty if it is not supported yet."""
        return () if self.type is None else options_of(self.type)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of its name."""
        return tuple(self.name.split("."))


_POLICY_SECTIONS: Final = tuple(
    Section(policy.section, f"Options of the policy {policy.name}.", policy.options)
    for policy in POLICIES.values()
    if attrs.fields(policy.options)
)
_LATER: Final = (
    Section("policy.static-pools", "Pools of the policy static-pools."),
    Section("policy.podpools", "Pools of the policy podpools."),
    Section("policy.balloons", "Balloon types of the policy balloons."),
    Section("policy.dynamic-pools", "Pools of the policy dynamic-pools."),
    Section("instrumentation", "Metrics, tracing and the HTTP server."),
    Section("resource-manager.control", "Controllers that enforce decisions, and how strictly."),
    Section("resource-manager.control.page-migration", "Moving idle memory to slower NUMA nodes."),
    Section("rdt", "Cache and memory bandwidth classes."),
    Section("blockio", "Block I/O classes."),
    Section("cpu", "CPU frequency classes."),
)
_ALL: Final = (
    Section("policy", "The active policy, and the CPUs it may use.", PolicySection),
    *_POLICY_SECTIONS,
    Section("logger", "Log messages.", LoggerSection),
    Section("dump", "CRI messages dumped to the log.", DumpSection),
    Section("state", "State that survives restarts.", StateSection),
    *_LATER,
)

SECTIONS: Final[Mapping[str, Section]] = {section.name: section for section in _ALL}


@cache
def children_of(name: str) -> tuple[str, ...]:
    """Return the parts of section names that may follow *name*, which is empty for those at the top."""
    above = tuple(name.split(".")) if name else ()
    below = (section.parts[len(above)] for section in _ALL if section.parts[: len(above)] == above != section.parts)
    return tuple(dict.fromkeys(below))


def homes_of(key: str) -> tuple[str, ...]:
    """Return the sections that have an option *key*."""
    return tuple(section.name for section in _ALL if any(option.key == key for option in section.options))
