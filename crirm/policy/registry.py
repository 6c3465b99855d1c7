"""All policies by name. To add one, write its module (or package) and name its kind here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from crirm.errors import UsageError
from crirm.model.topology import Topology
from crirm.policy import none, static, topology_aware
from crirm.policy.api import Choice, Kind, Policy

KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in (none.KIND, static.KIND, *topology_aware.KINDS)}


def make_policy(choice: Choice, topology: Topology) -> Policy:
    """Return the policy of *choice* for a machine.

    Raises:
        CrirmError: there is no such policy, or it does not fit the machine.
    """
    whole = complete(choice)
    return KINDS[whole.name].make(topology, whole.constraints, whole.options)


def complete(choice: Choice) -> Choice:
    """Return *choice* with its options spelt out.

    Raises:
        UsageError: there is no such policy.
    """
    kind = KINDS.get(choice.name)
    if kind is None:
        raise UsageError(f"policy {choice.name!r}: no such policy; choose one of {', '.join(sorted(KINDS))}")
    return attrs.evolve(choice, options=kind.options() if choice.options is None else choice.options)
