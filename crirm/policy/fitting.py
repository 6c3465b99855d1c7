"""Whether pods that do not exist yet would fit: a dry run of the policy in force on a state, without any effect.

Each copy is a pod of its own with one container, and meets the node as the copies before it have left it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs

from crirm.errors import CrirmError, clipped, quoted
from crirm.model.decision import Decision, State
from crirm.model.events import ContainerRequested, PodAdded
from crirm.model.qos import QoSClass
from crirm.model.quantity import QuantityError, parse_bytes, parse_millicpu
from crirm.model.resources import (
    DEFAULT_PERIOD_US,
    NO_CPU,
    NO_MEMORY,
    LinuxResources,
    Requirements,
    millicpu_to_quota,
    millicpu_to_shares,
)
from crirm.model.trail import Move
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId, Workload
from crirm.policy import pipeline
from crirm.policy.annotations import full_key
from crirm.policy.api import Policy

MOST_COPIES: Final = 256
"""Each takes as long as a real one, and the daemon has other things to do."""
CONTAINER: Final = "main"
_CLASSES: Final = {qos.value.lower(): qos for qos in QoSClass}
_AMOUNTS: Final = ("cpu", "memory", "cpu_limit", "memory_limit")


A = TypeVar("A")


class WishError(CrirmError):
    """What is asked about cannot be a pod."""


@attrs.frozen
class Wish:
    """Pods that are asked about, all alike.

    Args:
        qos: their class.
        requirements: of the only container of each.
        namespace: theirs.
        annotations: theirs, with full names.
        count: how many; 1 to `MOST_COPIES`.
    """

    qos: QoSClass
    requirements: Requirements
    namespace: str = "default"
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    count: int = 1


def wish_of(question: Mapping[str, Any]) -> Wish:
    """Return what a question asks about.

    Args:
        question: ``qos`` (a class in lower case); ``cpu``, ``memory``, ``cpu_limit`` and ``memory_limit`` (quantities);
            ``namespace``, ``annotations`` (names may be short, such as ``prefer-shared-cpus``), ``count``. All may be
            left out.

    Raises:
        WishError: such a pod cannot be, or an amount is malformed.
    """
    name = str(question.get("qos", "guaranteed"))
    if name.lower() not in _CLASSES:
        raise WishError(f"qos {quoted(name)}: write guaranteed, burstable or besteffort")
    count = question.get("count", 1)
    if not isinstance(count, int) or not 1 <= count <= MOST_COPIES:
        raise WishError(f"count {quoted(str(count))}: write 1 to {MOST_COPIES}")
    qos = _CLASSES[name.lower()]
    amounts = {each: str(question.get(each) or "") for each in _AMOUNTS}
    annotations = question.get("annotations", {})
    if not isinstance(annotations, Mapping):
        raise WishError("annotations: write an object of names and values")
    return Wish(
        qos=qos,
        requirements=_requirements(qos, amounts),
        namespace=str(question.get("namespace") or "default"),
        annotations={_full(str(key)): str(value) for key, value in annotations.items()},
        count=count,
    )


def copies(policy: Policy, state: State, wish: Wish, now_s: float) -> Iterator[Decision]:
    """Yield the decision about each copy, in the state that the one before has left; the first refusal is the last.

    Args:
        policy: that decides.
        state: of the node.
        wish: what is asked about.
        now_s: seconds of wall-clock time, by which the budget of moves counts.
    """
    for number in range(1, wish.count + 1):
        pod = _pod(wish, number)
        state = pipeline.step(policy, state, PodAdded(pod), now_s).state
        key = ContainerKey(f"~{number:08}")  # sorts after all keys of the daemon, as the key of a new container does
        resources = pod.resources or LinuxResources()
        container = Container(key, pod.id, CONTAINER, ContainerState.CREATING, wish.requirements, resources=resources)
        decision = pipeline.step(policy, state, ContainerRequested(container), now_s)
        yield decision
        if decision.refusal is not None:
            return
        state = decision.state


def record(policy: Policy, wish: Wish, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return the answer as JSON."""
    placed = [decision for decision in decisions if decision.refusal is None]
    refusal = decisions[-1].refusal
    return {
        "fits": refusal is None,
        "policy": policy.name,
        "count": wish.count,
        "fitting": len(placed),
        "copies": [_copy(number, decision) for number, decision in enumerate(placed, 1)],
        "refused": refusal
        and {
            "copy": len(decisions),
            "code": refusal.code.value,
            "reason": refusal.message,
            "fits": [remedy.text for remedy in refusal.remedies],
        },
    }


def _copy(number: int, decision: Decision) -> dict[str, Any]:
    trail, got = decision.trail, decision.adjustment
    return {
        "copy": number,
        "pool": trail.chosen if trail else "",
        "granted": trail.granted if trail else "",
        "cpus": None if got is None or got.cpus is None else str(got.cpus),
        "mems": None if got is None or got.mems is None else str(got.mems),
        "cramped": decision.cramped,
        "notes": list(trail.notes) if trail else [],
        "moves": [_move(move, decision.state.workload) for move in decision.moves],
    }


def _move(move: Move, workload: Workload) -> dict[str, str]:
    name = workload.full_name(move.key)
    return {"name": name, "what": move.what, "before": move.before, "after": move.after, "why": move.why}


def _pod(wish: Wish, number: int) -> Pod:
    asked, name = wish.requirements, f"fits-{number}"
    resources = LinuxResources(
        cpu_shares=millicpu_to_shares(asked.cpu_request),
        cpu_quota_us=millicpu_to_quota(asked.cpu_limit or NO_CPU, DEFAULT_PERIOD_US),
        cpu_period_us=DEFAULT_PERIOD_US,
        memory_limit_bytes=asked.memory_limit or 0,
    )
    known = dict(wish.annotations)
    return Pod(PodId(f"~{name}"), name, name, wish.namespace, wish.qos, annotations=known, resources=resources)


def _full(key: str) -> str:
    full = full_key(key)
    if full is None:
        raise WishError(f"annotation {clipped(key)}: there is no such annotation of crirm; docs/policies.md has all")
    return full


def _requirements(qos: QoSClass, amounts: Mapping[str, str]) -> Requirements:
    """Return requests and limits as the API server completes them: what has only a limit requests as much."""
    given = sorted(name for name, text in amounts.items() if text)
    if qos is QoSClass.BEST_EFFORT and given:
        raise WishError(f"a BestEffort pod requests nothing; leave out {', '.join(given)}, or ask for burstable")
    if qos is QoSClass.GUARANTEED and given != ["cpu", "memory"]:
        problem = "a Guaranteed pod needs cpu and memory, which are its requests and its limits"
        raise WishError(f"{problem}; give both and no limits, or ask for burstable")
    cpu, cpu_limit = (_amount(name, amounts[name], parse_millicpu) for name in ("cpu", "cpu_limit"))
    memory, memory_limit = (_amount(name, amounts[name], parse_bytes) for name in ("memory", "memory_limit"))
    if qos is QoSClass.GUARANTEED:
        if not cpu or not memory:
            raise WishError("a Guaranteed pod needs more than 0 of cpu and memory")
        return Requirements(cpu, cpu, memory or NO_MEMORY, memory)
    if qos is QoSClass.BURSTABLE and not any((cpu, memory, cpu_limit, memory_limit)):
        raise WishError("a Burstable pod requests something, or has a limit; give one, or ask for besteffort")
    cpu, memory = cpu_limit if cpu is None else cpu, memory_limit if memory is None else memory
    for what, request, limit in (("cpu", cpu, cpu_limit), ("memory", memory, memory_limit)):
        if limit is not None and (request or 0) > limit:
            raise WishError(f"{what}_limit is less than {what}; a limit is at least the request")
    return Requirements(cpu or NO_CPU, cpu_limit or None, memory or NO_MEMORY, memory_limit or None)


def _amount(name: str, text: str, parse: Callable[[str], A]) -> A | None:
    try:
        return parse(text) if text else None
    except QuantityError as fault:
        raise WishError(f"{name}: {fault}") from None
