"""The policies that place, and their modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.policy.registry import POLICIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.topology import Topology
    from crirm.policy.api import Constraints, Policy


class UnknownOptionError(Exception):
    """This crirm has no such option, or no such value of it."""


@attrs.frozen
class Way:
    """A policy and its options, as they are called in Python.

    Args:
        name: for people.
        policy: in the registry.
        options: what it must know.
        budget: options of moves; one that it does not have is no fault, since then it moves nothing anyway.
    """

    name: str
    policy: str
    options: Mapping[str, Any] = attrs.field(factory=dict)
    budget: Mapping[str, Any] = attrs.field(factory=dict)

    def make(self, topology: Topology, constraints: Constraints) -> Policy:
        """Return the policy.

        Raises:
            UnknownOptionError: this crirm has no such way.
        """
        kind = POLICIES[self.policy]
        known = {field.name: type(field.default) for field in attrs.fields(kind.options)}
        missing = sorted(self.options.keys() - known.keys())
        if missing:
            raise UnknownOptionError(f"policy {self.policy} of this crirm has no option {', '.join(missing)}")
        wanted = {**self.options, **{name: value for name, value in self.budget.items() if name in known}}
        return kind.make(topology, constraints, kind.options(**{key: known[key](wanted[key]) for key in wanted}))


_STAYING: Final = {"moves_per_minute": 0}
_MOVING: Final = {"moves_per_minute": 6, "move_bytes_per_minute": "128Gi"}  # no container of a trace is too large

WAYS: Final = (
    Way("topology-aware, spread", "topology-aware", budget=_STAYING),  # spread is the default
    Way("topology-aware, pack", "topology-aware", {"placement": "pack"}, _STAYING),
    Way("topology-aware, balanced", "topology-aware", {"placement": "balanced"}, _STAYING),
    Way("topology-aware, spread, together", "topology-aware", {}, _MOVING),
    Way("topology-aware, pack, together", "topology-aware", {"placement": "pack"}, _MOVING),
    Way("topology-aware, pack, 1 move", "topology-aware", {"placement": "pack", "moves_per_arrival": 1}, _MOVING),
    Way("static", "static"),
)
"""*together*: spread ones come together when others leave; *1 move*: also one container may be moved for an arrival."""
