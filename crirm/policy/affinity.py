"""Affinity: how much containers attract or repel each other.

A pod's annotation ``cri-resource-manager.intel.com/affinity`` (or ``anti-affinity``) is a YAML mapping from container
names to lists. An item of such a list is either

* the name of another container of the pod: the two attract (repel) each other, whichever of them names the other; or
* ``{scope: EXPRESSION, match: EXPRESSION, weight: NUMBER}``: this container is attracted (repelled) by all containers
  in scope that match. Without a scope these are the containers of the same pod, without a weight it is 1; weights end
  at ±1000. Only the container that is being placed heeds it, not those that match.

Without any annotation, containers tagged ``AVX512`` attract each other and others avoid them; and if the
options say so, containers of a pod, or of a namespace, attract each other unless they have affinities of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, Protocol

import attrs

from crirm.errors import clipped
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, Workload
from crirm.policy.annotations import AFFINITY, ANTI_AFFINITY, bad_annotation
from crirm.policy.expressions import Expression, ExpressionError, decode_expression, strict_fields
from crirm.policy.yaml_text import YamlTextError, parse_yaml

AVX512_TAG: Final = "AVX512"
AVX512_WEIGHT: Final = 5
COLOCATION_WEIGHT: Final = 10
MAX_WEIGHT: Final = 1000
MOST_EXPRESSIONS: Final = 10
"""Of one container in one annotation: each is tried on every container of the node, while nothing else runs."""

_WEIGHT = re.compile(r"[+-]?\d{1,18}", re.ASCII)


class ColocationOptions(Protocol):
    """The options of a policy that make containers attract each other."""

    @property
    def colocate_pods(self) -> bool:
        """Whether those of a pod do."""

    @property
    def colocate_namespaces(self) -> bool:
        """Whether those of a namespace do."""


@attrs.frozen
class Affinity:
    """One affinity of a container; of weight 0 or less for an anti-affinity.

    Args:
        match: which containers attract it.
        weight: how much, -1000..1000.
        scope: among which; None for those of its own pod.
    """

    match: Expression | frozenset[str]
    """Or their names."""
    weight: int
    scope: Expression | None = None

    def concerns(self, container: Container, pod: Pod) -> bool:
        """Return whether *container* of *pod*, which is in scope, is one of those."""
        if isinstance(self.match, Expression):
            return self.match.holds(container, pod)
        return container.name in self.match


def weights(container: Container, workload: Workload, options: ColocationOptions) -> Mapping[ContainerKey, int]:
    """Return how much each other container attracts *container*; those that do so by 0 are left out.

    Raises:
        RefusedError: an annotation of the pod is malformed.
    """
    pod = workload.pod_of(container)
    found: dict[ContainerKey, int] = {}
    for other, weight in _attractions(container, pod, workload, options):
        if other.key != container.key and other.state is not ContainerState.EXITED:
            found[other.key] = found.get(other.key, 0) + weight
    return {key: found[key] for key in sorted(found) if found[key]}


def _attractions(
    container: Container, pod: Pod, workload: Workload, options: ColocationOptions
) -> Iterator[tuple[Container, int]]:
    explicit = affinities(pod, container.name)
    everyone = workload.containers.values()
    siblings = [(other, pod) for other in everyone if other.pod == pod.id] if explicit else []
    with_pods = [(other, workload.pods[other.pod]) for other in everyone] if _look_further(explicit) else []
    for affinity in explicit:
        scope, concerns, weight = affinity.scope, affinity.concerns, affinity.weight
        among = siblings if scope is None else [pair for pair in with_pods if scope.holds(*pair)]
        yield from [(other, weight) for other, its_pod in among if concerns(other, its_pod)]
    marked = AVX512_WEIGHT if AVX512_TAG in container.tags else -AVX512_WEIGHT
    for other in everyone:
        if AVX512_TAG in other.tags:
            yield other, marked
    if not explicit and options.colocate_pods:
        yield from ((other, COLOCATION_WEIGHT) for other in everyone if other.pod == pod.id)
    if not explicit and options.colocate_namespaces:
        inside = {one.id for one in workload.pods.values() if one.namespace == pod.namespace}
        yield from ((other, COLOCATION_WEIGHT) for other in everyone if other.pod in inside)


def _look_further(explicit: Iterable[Affinity]) -> bool:
    return any(affinity.scope is not None for affinity in explicit)


def affinities(pod: Pod, container_name: str) -> tuple[Affinity, ...]:
    """Return the affinities and anti-affinities that *pod* states for one of its containers.

    Raises:
        RefusedError: one of the annotations is malformed.
    """
    found: tuple[Affinity, ...] = ()
    for key, sign in ((AFFINITY, 1), (ANTI_AFFINITY, -1)):
        text = pod.annotations.get(key)
        if text is not None:
            try:
                found += _parse(text, sign).get(container_name, ())
            except (ExpressionError, YamlTextError) as fault:
                raise bad_annotation(key, str(fault)) from None
    return found


@lru_cache(maxsize=256)
def _parse(text: str, sign: int) -> Mapping[str, tuple[Affinity, ...]]:
    """Return the affinities in an annotation by container name; *sign* is -1 for anti-affinities."""
    document = parse_yaml(text)
    if not isinstance(document, Mapping):
        msg = "$: is not a mapping of container names to lists of affinities"
        raise ExpressionError(msg)
    full: dict[str, list[Affinity]] = {}
    named: dict[str, set[str]] = {}
    for name, items in document.items():
        if not isinstance(items, list):
            msg = f"$.{clipped(name)}: is not a list of affinities"
            raise ExpressionError(msg)
        for index, item in enumerate(items):
            if isinstance(item, str):
                named.setdefault(name, set()).add(item)
                named.setdefault(item, set()).add(name)
            else:
                full.setdefault(name, []).append(_decode(item, f"$.{clipped(name)}[{index}]", sign))
        if len(full.get(name, ())) > MOST_EXPRESSIONS:
            msg = (
                f"$.{clipped(name)}: has more than {MOST_EXPRESSIONS} expressions; put several values into one, with In"
            )
            raise ExpressionError(msg)
    for name, others in named.items():
        full.setdefault(name, []).append(Affinity(frozenset(others), sign))
    return {name: tuple(found) for name, found in full.items()}


def _decode(document: object, place: str, sign: int) -> Affinity:
    try:
        fields = strict_fields(document, required=("match",), optional=("scope", "weight"))
        weight = sign * _weight(fields.get("weight", "1"))
    except ExpressionError as fault:
        raise _placed(place, fault) from None
    scope = _expression(fields["scope"], f"{place}.scope") if "scope" in fields else None
    return Affinity(_expression(fields["match"], f"{place}.match"), weight, scope)


def _weight(value: object) -> int:
    if not isinstance(value, str) or _WEIGHT.fullmatch(value) is None:
        msg = "$.weight: is not a whole number"
        raise ExpressionError(msg)
    return max(-MAX_WEIGHT, min(MAX_WEIGHT, int(value)))


def _expression(document: object, place: str) -> Expression:
    try:
        return decode_expression(document)
    except ExpressionError as fault:
        raise _placed(place, fault) from None


def _placed(place: str, fault: ExpressionError) -> ExpressionError:
    """Return *fault* as one of the whole annotation: its ``$`` is *place* in there."""
    return ExpressionError(place + str(fault).removeprefix("$"))
