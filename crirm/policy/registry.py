"""All policies by name. To add one, write its module (or package) and name its description here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from crirm.errors import UsageError
from crirm.policy import none, static, topology_aware

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.topology import Topology
    from crirm.policy.api import Choice, Policy, PolicyDescription

_ALL: Final = (none.POLICY, *topology_aware.POLICIES, static.POLICY)

POLICIES: Final[Mapping[str, PolicyDescription]] = {policy.name: policy for policy in _ALL}


def make_policy(choice: Choice, topology: Topology) -> Policy:
    """Return the policy of *choice* for a machine.

    Raises:
        CrirmError: unknown policy, or it does not fit the machine.
    """
    whole = complete(choice)
    return POLICIES[whole.name].make(topology, whole.constraints, whole.options)


def complete(choice: Choice) -> Choice:
    """Return *choice* with its options spelt out.

    Raises:
        UsageError: unknown policy.
    """
    policy = POLICIES.get(choice.name)
    if policy is None:
        raise UsageError(f"policy {choice.name!r}: there is none of this name; there are {', '.join(sorted(POLICIES))}")
    return attrs.evolve(choice, options=policy.options() if choice.options is None else choice.options)
