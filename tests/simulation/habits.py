"""How runtimes differ, as far as crirm can notice.

Sources: containerd's internal/cri (events of 1.7 go through one channel for all subscribers, and one that has left
takes another event along; 2.x has a queue for each; an update of a container that does not run changes its
specification only), CRI-O's server (a creation whose caller has gone is finished and kept for the caller's next try;
the cgroup exists from the creation on; from 1.28 to 1.32 a subscriber that leaves can make it panic).
"""

from __future__ import annotations

import enum
from typing import Final

import attrs


class Events(enum.Enum):
    """Who gets a container event."""

    NOBODY = "nobody"
    ONE = "one"
    ALL = "all"


@attrs.frozen
class Habits:
    """One runtime.

    Args:
        name: as it says itself.
        version: likewise.
        events: who gets them.
        tells_resources: whether ContainerStatus has them.
        cgroup_at_create: whether the cgroup is made with the container, or with its process.
        creation_goes_on: whether a creation outlives its call, and answers the next call for the same container.
        early_updates_lost: whether the process starts with what the container was created with, whatever came between.
        panics: whether it may die of a subscriber that leaves.
    """

    name: str
    version: str
    events: Events
    tells_resources: bool = True
    cgroup_at_create: bool = False
    creation_goes_on: bool = False
    early_updates_lost: bool = False
    panics: bool = False

    @property
    def bears_listeners(self) -> bool:
        """Whether somebody who listens, and leaves, is at nobody's cost."""
        return self.events is not Events.ONE and not self.panics


HABITS: Final = {
    "containerd-1.6": Habits("containerd", "1.6.20", Events.NOBODY, tells_resources=False),
    "containerd-1.7": Habits("containerd", "1.7.24", Events.ONE),
    "containerd-2.1": Habits("containerd", "v2.1.4", Events.ALL, early_updates_lost=True),
    "cri-o-1.30": Habits("cri-o", "1.30.2", Events.ALL, cgroup_at_create=True, creation_goes_on=True, panics=True),
    "cri-o": Habits("cri-o", "1.33.0", Events.ALL, cgroup_at_create=True, creation_goes_on=True),
}
