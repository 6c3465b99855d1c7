"""What has changed since a question: the rule for answers that may be older than crirm's state.

An answer of the runtime tells how things were at some moment between question and answer. Of whatever changed in that
time, nobody can say which of the two is newer, the answer or what crirm knows; so an answer is heeded only for what was
not touched since the question. What is touched is judged by the next answer. That something has ended is no matter of
time: an id never comes back. What was stopped or removed is touched too where crirm did not know it: the answer may
have it still, and would bring it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from crirm.model.events import Event, PodAdded, PodRemoved, PodResized, PodStopped
from crirm.model.workload import Workload

K = TypeVar("K", bound=str)


def touched(before: Workload, after: Workload) -> frozenset[str]:
    """Return the ids of pods and containers, and the keys of containers, that are not the same in both."""
    pods = _different(before.pods, after.pods)
    keys = _different(before.containers, after.containers)
    both = [known.containers[key].id for known in (before, after) for key in keys if key in known.containers]
    return frozenset({*pods, *keys, *(each for each in both if each is not None)})


def named(event: Event) -> frozenset[str]:
    """Return the ids of pods that *event* is about, whether they are known or not."""
    match event:
        case PodAdded(pod):
            return frozenset({pod.id})
        case PodStopped(id) | PodRemoved(id) | PodResized(id):
            return frozenset({id})
        case _:
            return frozenset()


def _different(before: Mapping[K, object], after: Mapping[K, object]) -> set[K]:
    """Return the keys whose values are not the same object, which is quick: what does not change is kept."""
    if before is after:
        return set()
    return {key for key in before.keys() | after.keys() if before.get(key) is not after.get(key)}
