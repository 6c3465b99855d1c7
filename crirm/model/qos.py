"""The QoS class of a pod, derived from the cgroup parent that the kubelet has chosen for it.

CRI does not carry the class. The kubelet however puts every pod below one of three cgroups, under both cgroup drivers:

=============  ===========================  ==================================================
class          driver cgroupfs              driver systemd
=============  ===========================  ==================================================
Guaranteed     ``kubepods/pod…``            ``kubepods.slice/kubepods-pod….slice``
Burstable      ``kubepods/burstable/pod…``  ``kubepods.slice/kubepods-burstable.slice/…``
BestEffort     ``kubepods/besteffort/…``    ``kubepods.slice/kubepods-besteffort.slice/…``
=============  ===========================  ==================================================

``--cgroup-root`` puts any path in front; with systemd the name of every slice then repeats that path, its parts
joined by dashes (``kubelet.slice/kubelet-kubepods.slice/…``), so the last slice alone tells everything.
"""

from __future__ import annotations

import enum

from crirm.errors import CrirmError, quoted


class QoSClass(enum.Enum):
    """How Kubernetes ranks a pod, from what its containers request and are limited to."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


class QoSClassError(CrirmError, ValueError):
    """A cgroup parent does not show a QoS class."""


_CLASSES = {"burstable": QoSClass.BURSTABLE, "besteffort": QoSClass.BEST_EFFORT}


def qos_class(cgroup_parent: str) -> QoSClass:
    """Return the QoS class of the pod whose cgroup parent is *cgroup_parent*, for any driver and ``--cgroup-root``.

    Raises:
        QoSClassError: the path is not one that a kubelet with ``--cgroups-per-qos`` (its default) makes.

    Source: kubernetes pkg/kubelet/cm, qos_container_manager_linux.go and cgroup_manager_linux.go (ToSystemd).
    """
    parts = _logical_path(cgroup_parent)
    # The last one counts: a kubelet that runs inside a pod has its own kubepods below another's.
    below = parts[len(parts) - parts[::-1].index("kubepods") :] if "kubepods" in parts else []
    if below:
        if below[0] in _CLASSES:
            return _CLASSES[below[0]]
        if below[0].startswith("pod"):
            return QoSClass.GUARANTEED
    msg = (
        f"cgroup parent {quoted(cgroup_parent)} does not show the pod's QoS class; expected a path such as "
        "/kubepods/burstable/pod… or /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod….slice "
        "(kubelet option cgroupsPerQOS)"
    )
    raise QoSClassError(msg)


def _logical_path(cgroup_parent: str) -> list[str]:
    """Return the kubelet's own, driver-independent names from the root down."""
    parts = [part for part in cgroup_parent.split("/") if part]
    if parts and parts[-1].endswith(".slice"):
        return parts[-1].removesuffix(".slice").split("-")
    return parts
