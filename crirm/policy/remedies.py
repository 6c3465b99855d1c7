"""The smallest changes with which a refused request would fit, found by trying them.

Every remedy was tried: the policy in force would place the changed request in the very state in which it refused the
original. What to try comes from the request and the annotations of its pod, so this works for any policy.

The sizes are found by bisection, as if less always fitted where more does. That is nearly always so; where it is not
(2300m of a Guaranteed pod may share CPUs, 2000m have them exclusively), a remedy is still true, but there may be a
smaller one. The number of tries is bounded, because a refusal must cost little: see `MOST_TRIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from crirm.errors import clipped
from crirm.model.decision import State
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.refusal import RefusalCode, RefusalReason, RefusedError
from crirm.model.remedy import Remedy, less, remedied
from crirm.model.resources import Requirements
from crirm.model.workload import Container, Pod, Workload
from crirm.policy.annotations import (
    HIDE_HYPERTHREADS,
    KEEP,
    MEMORY_TYPE,
    PREFER_SHARED_CPUS,
    REQUIRE_ISOLATED_CPUS,
    TOPOLOGY_HINTS,
    Hints,
    keys_said,
    lookup,
    short_key,
)
from crirm.policy.api import Policy

MOST_TRIES: Final = 40
"""Each costs up to half a millisecond of CPU time with 1024 CPUs and 1500 containers."""
LEAST_CPU: Final = MilliCPU(10)
"""What a smaller request still has: nobody is helped by a container that asks for nothing."""
EXACT: Final = 1 << 13
"""Parts of what would be left, to one of which a reduction is found."""
CPU: Final = 1000
MIB: Final = 1 << 20
VALUE_CHARS: Final = 40


class _SpentError(Exception):
    """All tries are spent."""


@attrs.define(eq=False)
class _Trials:
    """Tries changed requests for one container in one state."""

    policy: Policy
    state: Any
    workload: Workload
    container: Container
    pod: Pod
    resize: bool
    left: int = MOST_TRIES

    def fits(self, remedy: Remedy) -> bool:
        if not self.left:
            raise _SpentError
        self.left -= 1
        container, pod = remedied(remedy, self.container, self.pod)
        workload = self.workload
        if pod is not self.pod:
            workload = attrs.evolve(workload, pods={**workload.pods, pod.id: pod})
        return self.policy.fits(self.state, workload, container, resize=self.resize)


def advised(
    policy: Policy,
    state: State,
    container: Container,
    refusal: RefusedError,
    passes: Callable[[Container, Pod], bool],
    *,
    resize: bool,
) -> RefusedError:
    """Return *refusal* with what would fit; where others keep what they have, only what *passes* everything else too.

    Args:
        policy: that refused it.
        state: in which it did.
        container: that was refused, as it was requested.
        refusal: why.
        passes: whether a container and its pod would be accepted, by a whole decision, which takes longer.
        resize: whether it has a grant, and a new size was refused.
    """
    found = remedies(policy, state.policy, state.workload, container, refusal, resize=resize)
    if found and any(key.startswith(KEEP) for pod in state.workload.pods.values() for key in pod.annotations):
        pod = state.workload.pod_of(container)
        found = tuple(remedy for remedy in found if passes(*remedied(remedy, container, pod)))
    return refusal.with_remedies(found) if found else refusal


def remedies(
    policy: Policy, state: Any, workload: Workload, container: Container, refusal: RefusedError, *, resize: bool = False
) -> tuple[Remedy, ...]:
    """Return changes with which a refused request would fit, the smallest first; none where trying makes no sense.

    Args:
        policy: that refused it.
        state: of the policy, in which it did.
        workload: likewise.
        container: that was refused, as it was requested.
        refusal: why.
        resize: whether it has a grant, and a new size was refused.
    """
    if refusal.reason is not RefusalReason.NO_ROOM and refusal.code is not RefusalCode.NOT_WHOLE_CORES:
        return ()
    trials = _Trials(policy, state, workload, container, workload.pod_of(container), resize)
    found: list[Remedy] = []
    try:
        for search in (_smaller, _otherwise):
            found.extend(search(trials, refusal.code))
    except _SpentError:
        pass
    return tuple(found)


# --- smaller requests --------------------------------------------------------------------------------------------


def _smaller(trials: _Trials, code: RefusalCode) -> Iterator[Remedy]:
    """Yield the least reduction of CPU and that of memory; the least of both where neither alone is enough."""
    asked = trials.container.requirements
    unit = _cpu_unit(asked.cpu_request, trials.pod, code)
    most_cpu, most_memory = (asked.cpu_request - LEAST_CPU) // unit, (_memory(asked, trials.pod) - 1) // MIB

    def cut(cpu: int, memory: int) -> Remedy:
        return less(MilliCPU(cpu * unit), Bytes(memory * MIB))

    least_cpu = _least_of_whole if unit == CPU else _least
    cpu = least_cpu(most_cpu, lambda steps: trials.fits(cut(steps, 0)))
    if cpu:
        yield cut(cpu, 0)
    memory = _least(most_memory, lambda steps: trials.fits(cut(0, steps)))
    if memory:
        yield cut(0, memory)
    if cpu or memory or min(most_cpu, most_memory) < 1:
        return
    cpu = least_cpu(most_cpu, lambda steps: trials.fits(cut(steps, most_memory)))
    memory = _least(most_memory, lambda steps: trials.fits(cut(cpu, steps))) if cpu else 0
    if memory:
        yield cut(cpu, memory)


def _cpu_unit(asked: MilliCPU, pod: Pod, code: RefusalCode) -> int:
    """Return a whole CPU for who may have CPUs of its own, else a thousandth."""
    whole = pod.qos is QoSClass.GUARANTEED and asked >= CPU and code is not RefusalCode.TOO_LITTLE_SHARED_CPU
    return CPU if whole else 1


def _memory(asked: Requirements, pod: Pod) -> Bytes:
    """Return what is promised to the container; for a Guaranteed one the limit counts."""
    return (asked.memory_limit or asked.memory_request) if pod.qos is QoSClass.GUARANTEED else asked.memory_request


def _least(most: int, fits: Callable[[int], bool]) -> int:
    """Return the least number of steps, 1 to *most*, that fits; 0 where not even *most* does."""
    return _between(0, most, most, fits) if most > 0 and fits(most) else 0


def _least_of_whole(most: int, fits: Callable[[int], bool]) -> int:
    """Return the same from the other end: where only whole cores are given, an odd *most* never fits."""
    low, high = 0, 1
    while high < most and not fits(high):
        low, high = high, 2 * high
    if high < most:
        return _between(low, high, most, fits)
    return _between(low, most, most, fits) if most > 0 and fits(most) else 0


def _between(low: int, high: int, most: int, fits: Callable[[int], bool]) -> int:
    """Return the least number of steps that fits; *low* does not, *high* does.

    It is exact up to some thousands of what would be left, and the roundest number beyond: 1Gi rather than 1023Mi.
    """
    while high - low > max(1, (most - high) // EXACT):
        bit = (low ^ (high - 1)).bit_length() - 1
        middle = (high - 1) >> bit << bit  # the number between the two that ends in the most zeros, as bits
        if fits(middle):
            high = middle
        else:
            low = middle
    return high


# --- other annotations -------------------------------------------------------------------------------------------


def _otherwise(trials: _Trials, code: RefusalCode) -> Iterator[Remedy]:  # noqa: ARG001 - as `_smaller`
    """Yield each single change of an annotation that is enough."""
    yield from (remedy for remedy in (*_without(trials), *_with(trials)) if trials.fits(remedy))


def _without(trials: _Trials) -> Iterator[Remedy]:
    """Yield the removal of each annotation that narrows the choice."""
    pod, name = trials.pod, trials.container.name
    narrowing = [MEMORY_TYPE, REQUIRE_ISOLATED_CPUS, HIDE_HYPERTHREADS]
    if (
        lookup(pod, name, TOPOLOGY_HINTS) or ""
    ).strip().lower() == Hints.STRICT.value:  # the policy may not have read it
        narrowing.append(TOPOLOGY_HINTS)
    for key in narrowing:
        said = keys_said(pod, name, key)
        if said:
            value = lookup(pod, name, key)
            text = short_key(key) if value is None else f"{short_key(key)}: {clipped(value, VALUE_CHARS)}"
            yield Remedy(f"without {text}", annotations=dict.fromkeys(said))


def _with(trials: _Trials) -> Iterator[Remedy]:
    """Yield the annotations that widen the choice."""
    name, asked = trials.container.name, trials.container.requirements
    if trials.pod.qos is QoSClass.GUARANTEED and asked.cpu_request >= CPU:
        annotation = {f"{PREFER_SHARED_CPUS}/container.{name}": "true"}
        yield Remedy(f'with {short_key(PREFER_SHARED_CPUS)}: "true"', annotations=annotation)
