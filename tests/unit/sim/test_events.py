from __future__ import annotations

from crirm.cri.proto.runtime.v1 import ContainerEventResponse as Event
from crirm.sim.events import KEPT_NS, QUEUE_LENGTH, Events


def ids(events: Events, now_ns: int = 0) -> list[str]:
    subscription = events.subscribe(lambda: None, now_ns)
    events.unsubscribe(subscription)
    return [event.container_id for event in subscription.queue]


def test_every_subscriber_gets_every_event() -> None:
    events = Events()
    told: list[str] = []
    one = events.subscribe(lambda: told.append("one"), 0)
    two = events.subscribe(lambda: told.append("two"), 0)
    events.publish(Event("a"))
    assert [len(one.queue), len(two.queue), told, events.subscriber_count] == [1, 1, ["one", "two"], 2]


def test_subscribers_of_one_channel_take_events_from_each_other() -> None:
    events = Events(one_channel=True)
    one, two = (events.subscribe(lambda: None, 0) for _ in range(2))
    for name in "abc":
        events.publish(Event(name))
    assert [[event.container_id for event in each.queue] for each in (one, two)] == [["a", "c"], ["b"]]


def test_events_wait_for_the_first_subscriber_only() -> None:
    events = Events()
    events.publish(Event("a"))
    assert (ids(events), ids(events)) == (["a"], [])


def test_events_wait_no_longer_than_containerd_keeps_them() -> None:
    events = Events()
    events.publish(Event("old", created_at=1))
    events.publish(Event("new", created_at=3))
    assert ids(events, now_ns=KEPT_NS + 2) == ["new"]


def test_slow_subscriber_loses_the_oldest() -> None:
    events = Events()
    slow = events.subscribe(lambda: None, 0)
    for number in range(QUEUE_LENGTH + 2):
        events.publish(Event(str(number)))
    assert (len(slow.queue), slow.lost, slow.queue[0].container_id) == (QUEUE_LENGTH, 2, "2")
