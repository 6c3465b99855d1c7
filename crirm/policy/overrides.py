"""External overrides: resources that administrators of the cluster give to containers from outside their pods.

The node agent sends the specs of all ``Adjustment`` objects for this node (``criresmgr.intel.com/v1alpha1``) at once:

    scope:                      which containers; without one, every container
    - nodes: [worker-*]         names of nodes, a star at the end stands for anything; none: every node
      containers:               expressions as in affinity annotations, one of which must hold; none: every container
      - {key: pod/labels/app, operator: In, values: [db]}
    resources:                  as in a pod, only cpu and memory; a request that is missing equals the limit
      limits: {cpu: 2, memory: 4Gi}
    classes: {rdt: gold, blockio: slow}
    toptierLimit: 2Gi

A resource that is named replaces request and limit of the container; one that is not stays as the pod has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

import attrs

from crirm.errors import CrirmError, quoted
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU, QuantityError, parse_bytes, parse_millicpu
from crirm.model.resources import Requirements
from crirm.model.workload import Container, Pod
from crirm.policy.expressions import Expression, ExpressionError, decode_expression

T = TypeVar("T", bound=int)


class OverrideError(CrirmError, ValueError):
    """An override is not what it should be; the text says where in it, as ``$.resources.limits.cpu: ...``."""


class ConflictError(CrirmError):
    """What overrides say of a container cannot be followed."""


@attrs.frozen
class Amounts(Generic[T]):
    """What a resource is set to."""

    request: T
    limit: T | None
    """None for no limit."""


@attrs.frozen
class Scope:
    """Some containers on some nodes."""

    nodes: tuple[str, ...] = ()
    containers: tuple[Expression, ...] = ()

    def on(self, node_name: str) -> bool:
        """Return whether it speaks of the Kubernetes node *node_name*."""
        return not self.nodes or any(_stands_for(pattern, node_name) for pattern in self.nodes)

    def holds(self, container: Container, pod: Pod) -> bool:
        """Return whether it speaks of *container* of *pod*."""
        return not self.containers or any(expression.holds(container, pod) for expression in self.containers)


def _stands_for(pattern: str, node_name: str) -> bool:
    return node_name.startswith(pattern[:-1]) if pattern.endswith("*") else node_name == pattern


@attrs.frozen
class Override:
    """One override.

    Args:
        name: of the object in Kubernetes.
        scope: containers that it is for are in one of these; without any, it is for all.
        cpu: what to set the CPU request and limit to; None leaves them.
        memory: likewise.
    """

    name: str
    scope: tuple[Scope, ...] = ()
    cpu: Amounts[MilliCPU] | None = None
    memory: Amounts[Bytes] | None = None

    def holds(self, container: Container, pod: Pod) -> bool:
        """Return whether it is for *container* of *pod*."""
        return not self.scope or any(scope.holds(container, pod) for scope in self.scope)

    def on(self, node_name: str) -> Override | None:
        """Return what it says of the node *node_name*, None when it says nothing of it."""
        if not self.scope:
            return self
        scope = tuple(scope for scope in self.scope if scope.on(node_name))
        return attrs.evolve(self, scope=scope) if scope else None


def override_of(overrides: Iterable[Override], container: Container, pod: Pod) -> Override | None:
    """Return the one of *overrides* that is for *container* of *pod*, None when there is none.

    Raises:
        ConflictError: there are several, or it would give resources to a container that has none (BestEffort).
    """
    found = [override for override in overrides if override.holds(container, pod)]
    if len(found) > 1:
        names = ", ".join(sorted(override.name for override in found))
        raise ConflictError(f"several overrides are for it: {names}; narrow the scope of all but one")
    if found and pod.qos is QoSClass.BEST_EFFORT and (found[0].cpu or found[0].memory):
        raise ConflictError(f"override {found[0].name} sets resources, and its pod is BestEffort; leave it out")
    return found[0] if found else None


def overridden(requirements: Requirements, override: Override) -> Requirements:
    """Return *requirements* with what *override* says put into them."""
    if override.cpu is not None:
        cpu = override.cpu
        requirements = attrs.evolve(requirements, cpu_request=cpu.request, cpu_limit=cpu.limit)
    if override.memory is not None:
        memory = override.memory
        requirements = attrs.evolve(requirements, memory_request=memory.request, memory_limit=memory.limit)
    return requirements


# --- reading specs ---------------------------------------------------------------------------------------------------


def decode_overrides(document: Mapping[str, object]) -> tuple[tuple[Override, ...], dict[str, str]]:
    """Return the overrides in *document*, spec by name, and what is wrong with those that are none, by name."""
    overrides, errors = [], {}
    for name, spec in sorted(document.items()):
        try:
            overrides.append(decode_override(name, spec))
        except OverrideError as fault:
            errors[name] = str(fault)
    return tuple(overrides), errors


def decode_override(name: str, spec: object) -> Override:
    """Return the override in *spec*, a document of mappings, lists, texts and numbers; null is as good as nothing.

    Raises:
        OverrideError: it is none, or asks for what this crirm cannot do.
    """
    fields = _fields(spec, "$", ("scope", "resources", "classes", "toptierLimit"))
    scopes = _items(fields.get("scope"), "$.scope")
    override = Override(
        name,
        tuple(_scope(scope, f"$.scope[{index}]") for index, scope in enumerate(scopes)),
        _amounts(fields.get("resources"), "cpu", parse_millicpu),
        _amounts(fields.get("resources"), "memory", parse_bytes),
    )
    _check_classes(fields.get("classes"))
    if "toptierLimit" in fields:
        _amount(fields["toptierLimit"], "$.toptierLimit", parse_bytes)
        raise OverrideError("$.toptierLimit: top-tier memory limits are not supported yet; remove this field")
    return override


def _scope(document: object, place: str) -> Scope:
    fields = _fields(document, place, ("nodes", "containers"))
    nodes = _items(fields.get("nodes"), f"{place}.nodes")
    containers = _items(fields.get("containers"), f"{place}.containers")
    return Scope(
        tuple(_node(node, f"{place}.nodes[{index}]") for index, node in enumerate(nodes)),
        tuple(_expression(one, f"{place}.containers[{index}]") for index, one in enumerate(containers)),
    )


def _node(document: object, place: str) -> str:
    if not isinstance(document, str) or not document:
        raise OverrideError(f"{place}: is not a node name; write for example worker-1 or worker-*")
    if "*" in document[:-1]:
        raise OverrideError(f"{place}: {quoted(document)} has a star before its end; write for example worker-*")
    return document


def _expression(document: object, place: str) -> Expression:
    given = {k: v for k, v in document.items() if v is not None} if isinstance(document, Mapping) else document
    try:
        return decode_expression(given)
    except ExpressionError as fault:
        raise OverrideError(f"{place}{str(fault).removeprefix('$')}") from None


def _amounts(resources: object, name: str, parse: Callable[[str], T]) -> Amounts[T] | None:
    place = "$.resources"
    fields = _fields(resources, place, ("requests", "limits"))
    requests, limits = (_fields(fields.get(k), f"{place}.{k}", ("cpu", "memory")) for k in ("requests", "limits"))
    limit = _amount(limits[name], f"{place}.limits.{name}", parse) if name in limits else None
    request = _amount(requests[name], f"{place}.requests.{name}", parse) if name in requests else limit
    if request is not None and limit is not None and limit < request:
        raise OverrideError(f"{place}.limits.{name}: {limits[name]} is less than the request, {requests[name]}")
    return None if request is None else Amounts(request, limit)


def _check_classes(document: object) -> None:
    for kind, name in _fields(document, "$.classes", ("rdt", "blockio")).items():
        if not isinstance(name, str):
            raise OverrideError(f"$.classes.{kind}: is not a class name")
        if name:
            problem = "RDT and block I/O classes are not supported yet; remove this field"
            raise OverrideError(f"$.classes.{kind}: {problem}")


def _amount(document: object, place: str, parse: Callable[[str], T]) -> T:
    if isinstance(document, bool) or not isinstance(document, str | int | float):
        raise OverrideError(f'{place}: is not a quantity; write for example "500m", 2 or "64Mi"')
    try:
        return parse(str(document))
    except QuantityError as fault:
        raise OverrideError(f"{place}: {fault}") from None


def _fields(document: object, place: str, known: tuple[str, ...]) -> dict[str, object]:
    """Return what *document* says, without nulls."""
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise OverrideError(f"{place}: is not a mapping; write the fields {', '.join(known)}")
    for name in document:
        if name not in known:
            raise OverrideError(f"{place}.{name}: unknown field; write one of {', '.join(known)}")
    return {name: value for name, value in document.items() if value is not None}


def _items(document: object, place: str) -> list[object]:
    if document is None:
        return []
    if not isinstance(document, list):
        raise OverrideError(f"{place}: is not a list")
    return document
