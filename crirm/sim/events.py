"""Container events for any number of subscribers, each with its own bounded queue.

This is how containerd 2 works; with one shared channel, as in containerd 1.7, each event goes to one of them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.cri.proto.runtime.v1 import ContainerEventResponse

KEPT_NS = 300 * 10**9
"""How long an event waits for the first subscriber, in nanoseconds, as in containerd."""
QUEUE_LENGTH = 1000
"""Events that wait for one slow subscriber, or for the first; older ones are lost, so that memory stays bounded."""


class Subscription:
    """The events that one subscriber has not taken yet."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self.queue: deque[ContainerEventResponse] = deque(maxlen=QUEUE_LENGTH)
        self.lost = 0

    def put(self, event: ContainerEventResponse) -> None:
        """Add *event*, dropping the oldest one if the queue is full."""
        self.lost += len(self.queue) == QUEUE_LENGTH
        self.queue.append(event)
        self._notify()


class Events:
    """Delivers every event to all subscribers; without any, stores it for the first one within `KEPT_NS`.

    Args:
        one_channel: deliver each to one subscriber instead, in turn.
    """

    def __init__(self, *, one_channel: bool = False) -> None:
        self.one_channel = one_channel
        self._subscriptions: list[Subscription] = []
        self._kept: deque[ContainerEventResponse] = deque(maxlen=QUEUE_LENGTH)

    @property
    def subscriber_count(self) -> int:
        """How many subscribers there are now."""
        return len(self._subscriptions)

    def publish(self, event: ContainerEventResponse) -> None:
        """Deliver *event* to all subscribers, or to the next one."""
        if not self._subscriptions:
            self._kept.append(event)
        elif self.one_channel:
            subscription = self._subscriptions.pop(0)
            self._subscriptions.append(subscription)
            subscription.put(event)
        else:
            for subscription in self._subscriptions:
                subscription.put(event)

    def subscribe(self, notify: Callable[[], None], now_ns: int) -> Subscription:
        """Add a subscriber; *notify* is called, synchronously, after every event."""
        subscription = Subscription(notify)
        for event in self._kept:
            if event.created_at >= now_ns - KEPT_NS:
                subscription.put(event)
        self._kept.clear()
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscriber and what it has not taken."""
        self._subscriptions.remove(subscription)
