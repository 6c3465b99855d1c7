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
    """A policy and its options, as they are called in Python."""

    name: str
    policy: str
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def make(self, topology: Topology, constraints: Constraints) -> Policy:
        """Return the policy.

        Raises:
            UnknownOptionError: this crirm has no such way.
        """
        kind = POLICIES[self.policy]
        known = {field.name: field for field in attrs.fields(kind.options)}
        missing = sorted(self.options.keys() - known.keys())
        if missing:
            raise UnknownOptionError(f"policy {self.policy} of this crirm has no option {', '.join(missing)}")
        options = {name: _value(known[name], value) for name, value in self.options.items()}
        return kind.make(topology, constraints, kind.options(**options))


WAYS: Final = (
    Way("topology-aware, spread", "topology-aware"),  # the default
    Way("topology-aware, pack", "topology-aware", {"placement": "pack"}),
    Way("topology-aware, balanced", "topology-aware", {"placement": "balanced"}),
    Way("topology-aware, pack, 1 move", "topology-aware", {"placement": "pack", "moves_per_arrival": 1}),
    Way("static", "static"),
)


def _value(field: Any, value: Any) -> Any:
    """Return *value* as the option has it: the member of an enumeration for its word."""
    kind = type(field.default)
    return kind(value) if isinstance(value, str) else value
