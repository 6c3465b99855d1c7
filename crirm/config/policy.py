"""The section ``policy``: which policy decides, and within which CPUs."""

from __future__ import annotations

import attrs

from crirm.config.cpus import CPUs
from crirm.model.option import option


@attrs.frozen
class Resources:
    """What an amount is set for; there is only CPU."""

    cpu: CPUs | None = option(  # noqa: RUF009  # makes a field
        "CPU", "A list of CPUs, an amount, or those of a cgroup.", default=None
    )


@attrs.frozen
class PolicySection:
    """Which policy decides, and within which CPUs."""

    active: str = option("Active", "Name of the policy that places containers.", default="none")
    available: Resources = option(  # noqa: RUF009  # makes a field
        "AvailableResources",
        "The CPUs that containers may use; all online ones where nothing is said.",
        default=Resources(),
    )
    reserved: Resources = option(  # noqa: RUF009  # makes a field
        "ReservedResources",
        "The CPUs for kube-system and other reserved namespaces, among the available ones; every policy but none needs "
        "some.",
        default=Resources(),
    )
    overflow: bool = option(
        "AllowOverflow",
        "Whether a container that does not fit is let in to share what is left, with nothing kept for it, instead of "
        "refused.",
        default=False,
    )
    fail_open: bool = option(
        "FailOpen",
        "Whether a container is let in as the kubelet wants it when crirm itself fails to decide, and placed later, "
        "instead of refused.",
        default=False,
    )
    live_switch: bool = option(
        "AllowLiveSwitch",
        "Whether the node agent may send a configuration with another policy while crirm runs; all containers are then "
        "placed anew.",
        default=False,
    )
