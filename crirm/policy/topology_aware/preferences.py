"""What a pod's annotations say about the placement of one of its containers."""

from __future__ import annotations

import attrs

from crirm.model.workload import Pod
from crirm.policy.annotations import (
    HIDE_HYPERTHREADS,
    PLACEMENT,
    PLACEMENT_SCOPE,
    PREFER_ISOLATED_CPUS,
    PREFER_RESERVED_CPUS,
    PREFER_SHARED_CPUS,
    REQUIRE_ISOLATED_CPUS,
    Hints,
    bad_annotation,
    boolean,
    cold_start_s,
    lookup,
    memory_kinds,
    topology_hints,
    word,
)
from crirm.policy.topology_aware.memory_sets import Kinds
from crirm.policy.topology_aware.modes import WORDS, Mode
from crirm.policy.topology_aware.scopes import Scope, ScopeError, scope_of


@attrs.frozen
class Preferences:
    """What a pod prefers for one container; None where it does not say.

    Args:
        isolated: kernel-isolated CPUs for exclusive use.
        shared: shared CPUs rather than exclusive ones.
        reserved: the CPUs of reserved namespaces.
        require_isolated: refused rather than exclusive CPUs that are not kernel-isolated, or none.
        hide_hyperthreads: exclusive CPUs on cores of their own, of which the other threads stay idle.
        kinds: kinds of memory.
        cold_s: seconds to run on slow memory after the start; 0 for no cold start.
        hints: what is made of where the devices and disks are that it uses.
        scope: whether a pool is chosen for it or for its pod.
        mode: which of equally good pools it gets.
    """

    isolated: bool | None = None
    shared: bool | None = None
    reserved: bool | None = None
    kinds: Kinds = None
    cold_s: float = 0
    hints: Hints = Hints.PREFERRED
    scope: Scope | None = None
    require_isolated: bool = False
    hide_hyperthreads: bool = False
    mode: Mode | None = None


def preferences(pod: Pod, container: str) -> Preferences:
    """Return what *pod* prefers for the container with this name.

    Raises:
        RefusedError: an annotation is malformed.
    """
    mode = word(pod, container, PLACEMENT, WORDS)
    return Preferences(
        isolated=boolean(pod, container, PREFER_ISOLATED_CPUS),
        shared=boolean(pod, container, PREFER_SHARED_CPUS),
        reserved=boolean(pod, container, PREFER_RESERVED_CPUS),
        kinds=memory_kinds(pod, container),
        cold_s=cold_start_s(pod, container) or 0,
        hints=topology_hints(pod, container),
        scope=_scope(pod, container),
        require_isolated=boolean(pod, container, REQUIRE_ISOLATED_CPUS) is True,
        hide_hyperthreads=boolean(pod, container, HIDE_HYPERTHREADS) is True,
        mode=None if mode is None else Mode(mode),
    )


def _scope(pod: Pod, container: str) -> Scope | None:
    text = lookup(pod, container, PLACEMENT_SCOPE)
    try:
        return None if text is None else scope_of(text)
    except ScopeError as error:
        raise bad_annotation(PLACEMENT_SCOPE, str(error)) from error
