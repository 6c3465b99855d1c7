"""The parts of a trace as JSON and back, reduced to what the core reads.

Left out on purpose: annotations other than crirm's own, cgroup paths, and the runtime's words on failed updates.
Command lines, environment values, mounts and registry credentials never come as far as events. Labels stay, since
affinity expressions can name any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

import attrs

from crirm.model.decision import Adjustment, Before, Creation, Spent, State
from crirm.model.events import Event, Timer, UpdateFailed
from crirm.model.record_json import RecordError, from_record, to_record
from crirm.model.workload import Container, ContainerKey, Pod, PodId, Workload
from crirm.policy.annotations import NS
from crirm.policy.api import Choice, Constraints, Json, Policy
from crirm.policy.registry import POLICIES

KINDS_OF_EVENT: Final[Mapping[str, type[Any]]] = {kind.__name__: kind for kind in get_args(Event)}


@attrs.frozen
class Unfinished:
    """A resize that the runtime had not answered when the trace began; see ``decision.Before``.

    Args:
        container: as it was.
        adjustments: all of them as they were.
        before: the grants as they were; None where these are of another configuration and there is no way back to them.
        after: the grants that the resize led to; likewise.
    """

    container: Container
    adjustments: Mapping[ContainerKey, Adjustment]
    before: Mapping[ContainerKey, Json] | None = None
    after: Mapping[ContainerKey, Json] | None = None


@attrs.frozen
class Start:
    """All that was known and decided when the trace began.

    Args:
        workload: pods and containers.
        grants: as the policy saves them.
        adjustments: what each container is to have.
        told: what the runtime was told of each.
        timers: seconds of wall-clock time at which each running timer expires.
        resizing: resizes in flight.
        degraded: containers without the place that they should have, and why.
        pools: in which pool each container was, where the policy has pools.
        tries: requests in flight for containers that were asked for more than once; see ``policy.creation``.
        moved: what was moved within the last minute; see ``policy.moving``.
        unsure: whether nothing was compared with the runtime yet.
    """

    workload: Workload = attrs.field(factory=Workload)
    grants: Mapping[ContainerKey, Json] = attrs.field(factory=dict)
    adjustments: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    told: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    timers: Mapping[tuple[ContainerKey, Timer], float] = attrs.field(factory=dict)
    resizing: Mapping[ContainerKey, Unfinished] = attrs.field(factory=dict)
    degraded: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    pools: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    tries: Mapping[Creation, int] = attrs.field(factory=dict)
    moved: tuple[Spent, ...] = ()
    unsure: bool = False


def bare_pod(pod: Pod) -> Pod:
    """Return *pod* with what the core reads of it."""
    return attrs.evolve(pod, annotations=_own(pod.annotations), cgroup_parent="")


def bare_container(container: Container) -> Container:
    """Return *container* with what the core reads of it."""
    return attrs.evolve(container, annotations=_own(container.annotations))


def _own(annotations: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in annotations.items() if NS in key}


def start_of(policy: Policy, state: State, pools: Mapping[ContainerKey, str]) -> Start:
    """Return what a trace that begins in *state* has to hold."""
    workload = Workload(
        {key: bare_pod(pod) for key, pod in state.workload.pods.items()},
        {key: bare_container(one) for key, one in state.workload.containers.items()},
    )
    return Start(
        workload=workload,
        grants=policy.save(state.policy),
        adjustments=state.adjustments,
        told=state.told,
        timers=state.timers,
        resizing={key: _unfinished(policy, state, before) for key, before in state.resizing.items()},
        degraded=state.degraded,
        pools=pools,
        tries=state.tries,
        moved=state.moved,
        unsure=state.unsure,
    )


def _unfinished(policy: Policy, state: State, before: Before) -> Unfinished:
    container = bare_container(before.container)
    if type(before.policy) is not type(state.policy):  # superseded by another configuration
        return Unfinished(container, before.adjustments)
    return Unfinished(container, before.adjustments, policy.save(before.policy), policy.save(before.after))


def start_record(start: Start) -> dict[str, Any]:
    """Return *start* as JSON."""
    return {
        "pods": [to_record(pod) for pod in start.workload.pods.values()],
        "containers": [to_record(container) for container in start.workload.containers.values()],
        "grants": to_record(start.grants),
        "adjustments": _adjustments_record(start.adjustments),
        "told": _adjustments_record(start.told),
        "timers": [[key, timer.name, at_s] for (key, timer), at_s in start.timers.items()],
        "resizing": {key: _unfinished_record(one) for key, one in start.resizing.items()},
        "degraded": dict(start.degraded),
        "pools": dict(start.pools),
        "tries": [[*creation, count] for creation, count in start.tries.items()],
        "moved": [to_record(one) for one in start.moved],
        "unsure": start.unsure,
    }


def read_start(record: Json) -> Start:
    """Return what `start_record` described.

    Raises:
        RecordError: it describes nothing of the kind.
    """
    try:
        pods = [from_record(Pod, one) for one in record["pods"]]
        containers = [from_record(Container, one) for one in record["containers"]]
        workload = Workload({pod.id: pod for pod in pods}, {one.key: one for one in containers})
        for one in containers:
            workload.pod_of(one)
        return Start(
            workload=workload,
            grants=dict(record["grants"]),
            adjustments=_adjustments(record["adjustments"]),
            told=_adjustments(record["told"]),
            timers={(ContainerKey(key), Timer[timer]): float(at_s) for key, timer, at_s in record["timers"]},
            resizing={ContainerKey(key): _read_unfinished(one) for key, one in record["resizing"].items()},
            degraded={ContainerKey(key): str(why) for key, why in record["degraded"].items()},
            pools={ContainerKey(key): str(pool) for key, pool in record["pools"].items()},
            tries={(PodId(pod), name, attempt): count for pod, name, attempt, count in record.get("tries", ())},
            moved=tuple(from_record(Spent, one) for one in record.get("moved", ())),
            unsure=record.get("unsure") is True,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"unreadable initial state ({_reason(error)})") from error


def event_record(event: Event) -> dict[str, Any]:
    """Return *event* as JSON; Synchronised apart, which `trace` shortens."""
    if isinstance(event, UpdateFailed):
        event = attrs.evolve(event, reason="")
    fields = attrs.asdict(event, recurse=False)
    return {"event": type(event).__name__, **{name: to_record(_bare(value)) for name, value in fields.items()}}


def read_event(record: Mapping[str, Json]) -> Event:
    """Return the event that `event_record` described.

    Raises:
        RecordError: it describes none.
    """
    kind = KINDS_OF_EVENT.get(str(record["event"]))
    if kind is None:
        raise RecordError(f"unknown event {record['event']!r:.40}")
    event: Event = from_record(kind, {name: value for name, value in record.items() if name != "event"})
    return event


def choice_record(choice: Choice) -> dict[str, Any]:
    """Return a policy and how it is set up as JSON."""
    record: dict[str, Any] = to_record(choice)
    return record


def read_choice(record: Json) -> Choice:
    """Return the policy that `choice_record` described.

    Raises:
        RecordError: it describes none, or one that this crirm does not have.
    """
    try:
        policy = POLICIES.get(record["name"])
        if policy is None:
            raise RecordError(f"unknown policy {record['name']!r:.40}; known are {', '.join(sorted(POLICIES))}")
        options = policy.options() if record["options"] is None else from_record(policy.options, record["options"])
        constraints = from_record(Constraints, record["constraints"])
        return Choice(policy.name, constraints, options, record["overflow"] is True, record["fail_open"] is True)
    except (KeyError, TypeError) as error:
        raise RecordError(f"unreadable policy ({_reason(error)})") from error


def _bare(value: Any) -> Any:
    if isinstance(value, Pod):
        return bare_pod(value)
    return bare_container(value) if isinstance(value, Container) else value


def _unfinished_record(one: Unfinished) -> dict[str, Any]:
    return {
        "container": to_record(one.container),
        "adjustments": _adjustments_record(one.adjustments),
        "before": to_record(one.before),
        "after": to_record(one.after),
    }


def _read_unfinished(record: Json) -> Unfinished:
    return Unfinished(
        from_record(Container, record["container"]),
        _adjustments(record["adjustments"]),
        record["before"] and dict(record["before"]),
        record["after"] and dict(record["after"]),
    )


def _adjustments_record(adjustments: Mapping[ContainerKey, Adjustment]) -> dict[str, Any]:
    return {key: to_record(one) for key, one in adjustments.items()}


def _adjustments(record: Json) -> dict[ContainerKey, Adjustment]:
    return {ContainerKey(key): from_record(Adjustment, one) for key, one in record.items()}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
