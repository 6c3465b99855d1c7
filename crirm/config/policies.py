"""The policies that a configuration can choose, and those that it may know of already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crirm.config.faults import ValueFault, nearest
from crirm.errors import quoted
from crirm.policy.api import PolicyDescription
from crirm.policy.registry import POLICIES

LATER: Final[Mapping[str, str]] = {
    "static-plus": "Divides CPUs into reserved, isolated and shared ones.",
    "static-pools": "Places containers in explicitly listed pools of CPUs.",
    "podpools": "Places whole pods in pools of CPUs.",
    "balloons": "Places containers in pools of CPUs that grow and shrink.",
    "dynamic-pools": "Divides CPUs among pools by load.",
}
"""Policies that this version does not have, and what they do."""


def choose(name: str) -> PolicyDescription:
    """Return the policy called *name*.

    Raises:
        ValueFault: there is none, or it is not supported yet.
    """
    *most, last = POLICIES
    known = f"this version has {', '.join(most)} and {last}"
    if name in LATER:
        raise ValueFault(f"policy {name} is not supported yet; {known}")
    if name not in POLICIES:
        raise ValueFault(f"unknown policy {quoted(name)}{nearest(name, (*POLICIES, *LATER))}; {known}")
    return POLICIES[name]
