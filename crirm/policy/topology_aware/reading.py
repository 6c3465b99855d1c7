"""Reading a container's request: its resources, its pod's annotations, and affinities to other containers."""

from __future__ import annotations

import re

import attrs

from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.topology import MemoryKind
from crirm.model.workload import Container, Pod, Workload
from crirm.policy.affinity import weights
from crirm.policy.annotations import REQUIRE_ISOLATED_CPUS, Hints, bad_annotation
from crirm.policy.globs import compile_globs
from crirm.policy.topology_aware.memory_sets import Kinds, MemorySets
from crirm.policy.topology_aware.modes import Modes, make_modes
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.policy.topology_aware.pods import whole_pod
from crirm.policy.topology_aware.preferences import Preferences, preferences
from crirm.policy.topology_aware.request import (
    CPUClass,
    CPURequest,
    MemoryRequest,
    Request,
    cpu_request,
    memory_amounts,
)
from crirm.policy.topology_aware.scopes import Scope, scope_of

KUBE_SYSTEM = "kube-system"

_PSEUDO_HINT = "kubelet"
"""Says only which CPUs the kubelet would have chosen."""


@attrs.frozen(eq=False)
class Reader:
    """Reads what containers want, under one configuration."""

    options: TopologyAwareOptions
    _sets: MemorySets
    _reserved: re.Pattern[str]
    _modes: Modes
    _threads: int = 1
    """Of a whole core."""

    def read(self, container: Container, workload: Workload) -> Request:
        """Return what *container* wants.

        Raises:
            RefusedError: an annotation of its pod is malformed.
        """
        pod = workload.pod_of(container)
        wanted = preferences(pod, container.name)
        reserved = self._reserved.match(pod.namespace) is not None
        cpu = cpu_request(pod.qos, container.requirements, wanted, self.options, reserved_namespace=reserved)
        if container.claims:
            cpu = CPURequest(CPUClass.NORMAL, 0, 0, isolate=False, shares=cpu.shares)
        elif wanted.require_isolated and not cpu.full:
            raise _nothing_to_isolate(container)
        elif wanted.hide_hyperthreads and cpu.full:
            cpu = attrs.evolve(cpu, threads=self._threads)
        memory, notes = _memory(container, pod, wanted, self._sets)
        hints = tuple(hint for hint in container.hints if hint.provider != _PSEUDO_HINT)
        at_root = pod.namespace == KUBE_SYSTEM or cpu.cls is CPUClass.RESERVED
        scope = wanted.scope or scope_of(self.options.placement_scope)
        if at_root and wanted.hints is Hints.STRICT:
            notes = (*notes, "topologyhints: strict is ignored for reserved CPUs and kube-system")
        return Request(
            key=container.key,
            name=f"{pod.namespace}/{pod.name}/{container.name}",
            cpu=cpu,
            memory=memory,
            at_root=at_root,
            hints=() if wanted.hints is Hints.IGNORED else hints,
            strict=wanted.hints is Hints.STRICT and not at_root,
            affinities=weights(container, workload, self.options),
            mode=wanted.mode or self._modes.of(pod.namespace),
            notes=notes,
            dra=container.claims,
            pod=None if at_root or scope is Scope.CONTAINER else whole_pod(container, workload, wanted, self.options),
        )


def make_reader(options: TopologyAwareOptions, sets: MemorySets, threads: int = 1) -> Reader:
    """Return a reader for one configuration, on a machine whose cores have so many threads.

    Raises:
        GlobError: a pattern of namespaces is none.
        ModeError: a placement is none.
    """
    patterns = dict.fromkeys((KUBE_SYSTEM, *options.reserved_pool_namespaces))
    modes = make_modes(options.placement, options.namespace_placements)
    return Reader(options, sets, compile_globs(tuple(patterns)), modes, threads)


def _nothing_to_isolate(container: Container) -> RefusedError:
    if container.requirements.unpromised_cpu:
        message = f"annotation {REQUIRE_ISOLATED_CPUS} rules out shared CPUs"
        return RefusedError(RefusalCode.TOO_FEW_ISOLATED_CPUS, message)
    what = "gets no exclusive CPUs; only containers of Guaranteed pods with a CPU request of 1 or more do"
    return bad_annotation(
        REQUIRE_ISOLATED_CPUS, f'container {container.name} {what}, so write "false" for it, or for this pod'
    )


def _memory(
    container: Container, pod: Pod, wanted: Preferences, sets: MemorySets
) -> tuple[MemoryRequest, tuple[str, ...]]:
    if not sets.all_kinds:
        return MemoryRequest(None, 0, 0), ()  # nothing is known of this machine's memory, so nothing is promised
    need, use = memory_amounts(pod.qos, container.requirements)
    kinds, notes = _there(wanted.kinds, sets)
    memory = MemoryRequest(kinds, need, use)
    if not wanted.cold_s:
        return memory, notes
    cold = sets.cold_kinds if kinds is None else sets.cold_kinds & kinds
    if not cold or (kinds is not None and MemoryKind.DRAM not in kinds):
        return memory, (*notes, "no cold start: this machine lacks DRAM, or slow memory that is not movable-only")
    return attrs.evolve(memory, cold=cold, cold_s=wanted.cold_s), notes


def _there(kinds: Kinds, sets: MemorySets) -> tuple[Kinds, tuple[str, ...]]:
    """Return the kinds out of *kinds* that the machine has, and DRAM in place of none."""
    if kinds is None:
        return None, ()
    there = kinds & sets.all_kinds
    if there:
        return there, ()
    names = ", ".join(sorted(kind.value for kind in kinds))
    instead = frozenset({MemoryKind.DRAM}) & sets.all_kinds or None
    return instead, (f"this machine has no {names} memory",)
