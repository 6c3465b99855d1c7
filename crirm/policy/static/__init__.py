"""The policy ``static``: exclusive CPUs for Guaranteed containers, as the kubelet's static CPU manager gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.policy.api import PolicyDescription
from crirm.policy.static.options import StaticOptions

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from crirm.policy.api import Constraints, Policy


def _make(topology: Topology, constraints: Constraints, options: StaticOptions) -> Policy:
    from crirm.policy.static.policy import make  # noqa: PLC0415 - what nobody has chosen is not loaded

    return make(topology, constraints, options)


POLICY = PolicyDescription(
    "static",
    "Gives exclusive CPUs to Guaranteed containers that request a whole number; all others share the rest.",
    _make,
    StaticOptions,
)
