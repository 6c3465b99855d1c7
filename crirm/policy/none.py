"""The policy ``none``: places nothing, so every container keeps what the kubelet requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.policy.api import NoOptions, Placement, Policy, PolicyDescription, Restored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.topology import Topology
    from crirm.model.workload import Container, ContainerKey, Workload
    from crirm.policy.api import Constraints, Json


@attrs.frozen
class NonePolicy(Policy):
    """Changes nothing, and remembers nothing."""

    name: str = "none"

    def initial(self) -> None:
        """Return the only state there is."""

    def allocate(self, state: None, workload: Workload, container: Container) -> Placement:  # noqa: ARG002 - the interface
        """Leave *container* as it is."""
        return Placement(state)

    def release(self, state: None, workload: Workload, key: ContainerKey) -> Placement:  # noqa: ARG002 - the interface
        """There is nothing to take back."""
        return Placement(state)

    def resize(self, state: None, workload: Workload, container: Container) -> Placement:  # noqa: ARG002 - the interface
        """Leave *container* as it is."""
        return Placement(state)

    def save(self, state: None) -> Mapping[ContainerKey, Json]:  # noqa: ARG002 - the interface
        """There are no grants."""
        return {}

    def restore(self, saved: Mapping[ContainerKey, Json], workload: Workload) -> Restored:  # noqa: ARG002 - the interface
        """Return the only state there is; grants of another policy mean nothing here."""
        return Restored(None, dropped=dict.fromkeys(saved, "policy none places nothing"))


def make(_topology: Topology, _constraints: Constraints, _options: NoOptions) -> NonePolicy:
    """Return the policy, which fits every machine."""
    return NonePolicy()


POLICY = PolicyDescription("none", "Places nothing: every request is relayed unchanged.", make, needs_reserved=False)
