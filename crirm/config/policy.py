"""The section ``policy``: the active policy, and the CPUs it may use."""

from __future__ import annotations

import attrs

from crirm.config.cpus import CPUs
from crirm.model.option import option


@attrs.frozen
class Resources:
    """Resources that can be constrained: only CPU."""

    cpu: CPUs | None = option(  # noqa: RUF009  # makes a field
        "CPU", "A list of CPUs, an amount, or the CPUs of a cgroup.", default=None
    )


@attrs.frozen
class PolicySection:
    """The active policy, and the CPUs it may use."""

    active: str = option("Active", "Name of the policy that places containers.", default="none")
    available: Resources = option(  # noqa: RUF009  # makes a field
        "AvailableResources",
        "The CPUs for containers; all online CPUs if not set.",
        default=Resources(),
    )
    reserved: Resources = option(  # noqa: RUF009  # makes a field
        "ReservedResources",
        "The CPUs for kube-system and other reserved namespaces, part of the available ones; required by every policy "
        "except none.",
        default=Resources(),
    )
    overflow: bool = option(
        "AllowOverflow",
        "Whether a container that does not fit is admitted to shared CPUs, with nothing reserved for it, instead of "
        "being refused.",
        default=False,
    )
    fail_open: bool = option(
        "FailOpen",
        "Whether a container is admitted with the kubelet's request when crirm fails because of a bug, and placed "
        "later, instead of being refused.",
        default=False,
    )
    live_switch: bool = option(
        "AllowLiveSwitch",
        "Whether the node agent may change the policy while crirm runs; all containers are then placed again.",
        default=False,
    )
