"""Whether a container got a larger pool than on an empty machine: then it pays to check whether others have ended."""

from __future__ import annotations

from typing import Final

import attrs

from crirm.policy.topology_aware.choice import Comparison, Considered, Lack
from crirm.policy.topology_aware.ranking import Rule, difference
from crirm.policy.topology_aware.state import empty

_FULLER: Final = frozenset({Rule.MEMORY, Rule.ISOLATED_SUFFICE, Rule.SHARED_SUFFICE, Rule.POD_FITS})
_FULL: Final = frozenset({Lack.EXCLUSIVE, Lack.ISOLATED, Lack.SHARED, Lack.MEMORY})


def cramped(choice: Comparison) -> bool:
    """Tell whether the pool that was chosen is higher in the tree only because of what other containers have."""
    best, *others = choice.considered
    if not any(other.pool.depth > best.pool.depth and _for_others_sake(best, other) for other in others):
        return False
    alone = attrs.evolve(choice.request, affinities={})
    ideal = Comparison(choice.machine, empty(choice.machine.pools), alone).best
    return ideal is not None and ideal.depth > best.pool.depth


def _for_others_sake(best: Considered, other: Considered) -> bool:
    """Return whether *other* lost because it is too full; a first check, which is cheap."""
    if other.lack is not None:
        return other.lack in _FULL
    rule, _, _ = difference(best.rank, other.rank)
    return rule in _FULLER
