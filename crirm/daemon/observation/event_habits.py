"""Which runtimes send every container event to every subscriber.

CRI does not specify it; elsewhere a subscription of crirm's own would take events from the kubelet.
"""

from __future__ import annotations

import re
from typing import Final

_EVERYBODY_SINCE: Final = {
    # Up to 1.7 all calls of GetContainerEvents read from one channel, and a cancelled one consumes an event;
    # since 2.0 each has a queue of its own (internal/cri/server/container_events.go, internal/eventq).
    "containerd": (2, 0),
    # Up to 1.27 one channel as well; from 1.28 to 1.32 a subscriber that leaves can make CRI-O panic, since 1.33 it is
    # counted once (server/container_events.go).
    "cri-o": (1, 33),
    "crirm-sim": (0,),  # crirm/sim/events.py; one that is told to have one channel says so in its name
}
_NUMBERS: Final = re.compile(r"v?([0-9]{1,9}(?:\.[0-9]{1,9})*)", re.ASCII)


def tells_everybody(name: str | None, version: str | None) -> bool:
    """Whether a runtime sends all events to each subscriber; False for an unknown one.

    Args:
        name: from the runtime's answer to Version.
        version: likewise.
    """
    since, numbers = _EVERYBODY_SINCE.get(name or ""), _NUMBERS.match(version or "")
    if since is None or numbers is None:
        return False
    return tuple(map(int, numbers[1].split("."))) >= since
