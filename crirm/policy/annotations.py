"""The annotations of pods: their names, and how they are parsed.

A key K is looked up in the pod's annotations as ``K/container.NAME``, then ``K/pod``, then ``K``; the first one counts.
Some keys have an older form, ``cri-resource-manager.intel.com/NAME`` with one YAML mapping for all containers of the
pod (or one value for all of them), which counts if none of the others exists.

A malformed value is refused: a pod must not run differently from what its author expects.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final

from crirm.errors import clipped, quoted
from crirm.model.annotations import NAMESPACE
from crirm.model.go_text import GoTextError, parse_bool, parse_duration_s
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.topology import MemoryKind
from crirm.model.workload import Pod
from crirm.policy.yaml_text import YamlTextError, parse_yaml

NS: Final = NAMESPACE

PREFER_ISOLATED_CPUS: Final = f"prefer-isolated-cpus.{NS}"
PREFER_SHARED_CPUS: Final = f"prefer-shared-cpus.{NS}"
PREFER_RESERVED_CPUS: Final = f"prefer-reserved-cpus.{NS}"
MEMORY_TYPE: Final = f"memory-type.{NS}"
COLD_START: Final = f"cold-start.{NS}"
REQUIRE_ISOLATED_CPUS: Final = f"require-isolated-cpus.{NS}"
HIDE_HYPERTHREADS: Final = f"hide-hyperthreads.{NS}"
PLACEMENT_SCOPE: Final = f"placement-scope.{NS}"
TOPOLOGY_HINTS: Final = f"topologyhints.{NS}"
PLACEMENT: Final = f"placement.{NS}"
AFFINITY: Final = f"{NS}/affinity"
ANTI_AFFINITY: Final = f"{NS}/anti-affinity"

KEYS: Final[tuple[str, ...]] = tuple(
    text
    for text in tuple(globals().values())
    if isinstance(text, str) and (text.endswith(f".{NS}") or text.startswith(f"{NS}/"))
)
"""All of the above."""

LONGEST_COLD_START_S: Final = 3600.0

_LEGACY: Final = {
    PREFER_ISOLATED_CPUS: f"{NS}/prefer-isolated-cpus",
    PREFER_SHARED_CPUS: f"{NS}/prefer-shared-cpus",
    MEMORY_TYPE: f"{NS}/memory-type",
    COLD_START: f"{NS}/cold-start",
}


def bad_annotation(key: str, what: str) -> RefusedError:
    """Return the refusal of an annotation's value; *what* is the rest of the sentence."""
    return RefusedError(RefusalCode.BAD_ANNOTATION, f"annotation {key}: {what}")


def lookup(pod: Pod, container_name: str, key: str) -> str | None:
    """Return the value of *key* that counts for one container; None where there is none."""
    found = _scoped(pod, container_name, key)
    return None if found is None else found[1]


def keys_said(pod: Pod, container_name: str, key: str) -> tuple[str, ...]:
    """Return all annotations of *pod*, in every form, that say something about *key* for one container."""
    places = (f"{key}/container.{container_name}", f"{key}/pod", key, _LEGACY.get(key, ""))
    return tuple(place for place in places if place in pod.annotations)


def full_key(name: str) -> str | None:
    """Return the name of an annotation that may be given without its namespace; None for one that nobody reads.

    Args:
        name: such as ``prefer-shared-cpus``, ``prefer-shared-cpus/pod``, ``affinity``, or a full one.
    """
    base, slash, scope = name.partition("/")
    for key in KEYS:
        if base == short_key(key):
            return f"{key}{slash}{scope}"
        if name == key or name.startswith(f"{key}/"):
            return name
    return name if name in _LEGACY.values() else None


def short_key(key: str) -> str:
    """Return the name of an annotation without its namespace."""
    return key.removesuffix(f".{NS}").removeprefix(f"{NS}/")


def boolean(pod: Pod, container_name: str, key: str) -> bool | None:
    """Return a boolean annotation, in its present or legacy form; None where there is none.

    Raises:
        RefusedError: the value is not a boolean.
    """
    found = _value(pod, container_name, key)
    if found is None:
        return None
    place, value = found
    try:
        return parse_bool(_text(place, value))
    except GoTextError as fault:
        raise bad_annotation(place, str(fault)) from None


class Hints(enum.Enum):
    """How a container uses topology hints."""

    IGNORED = "ignored"
    PREFERRED = "preferred"
    STRICT = "strict"
    """It is refused rather than placed elsewhere."""


def topology_hints(pod: Pod, container_name: str) -> Hints:
    """Return how one container uses topology hints.

    Raises:
        RefusedError: the value is neither a boolean nor ``strict``.
    """
    text = lookup(pod, container_name, TOPOLOGY_HINTS)
    if text is not None and text.strip().lower() == Hints.STRICT.value:
        return Hints.STRICT
    return Hints.IGNORED if boolean(pod, container_name, TOPOLOGY_HINTS) is False else Hints.PREFERRED


def word(pod: Pod, container_name: str, key: str, words: Sequence[str]) -> str | None:
    """Return an annotation that is one of *words*, of which there are two at least; None where there is none.

    Raises:
        RefusedError: the value is another one.
    """
    found = _scoped(pod, container_name, key)
    if found is None or found[1].strip() in words:
        return found and found[1].strip()
    known = f"{', '.join(words[:-1])} or {words[-1]}"
    raise bad_annotation(found[0], f"{quoted(found[1].strip())} is none of its values; write {known}")


def memory_kinds(pod: Pod, container_name: str) -> frozenset[MemoryKind] | None:
    """Return the kinds of memory that a container is to have; None where its pod does not say.

    Raises:
        RefusedError: the value is not a list of kinds.
    """
    found = _value(pod, container_name, MEMORY_TYPE)
    if found is None:
        return None
    place, value = found
    kinds: set[MemoryKind] = set()
    for word in _text(place, value).split(","):
        name = word.strip().upper()
        if name == "MIXED":
            kinds.update(MemoryKind)
        elif name in MemoryKind.__members__:
            kinds.add(MemoryKind[name])
        else:
            known = ", ".join(kind.lower() for kind in MemoryKind.__members__)
            raise bad_annotation(
                place, f"{quoted(word.strip())} is not a kind of memory; write a list of {known}, or mixed"
            )
    return frozenset(kinds)


def cold_start_s(pod: Pod, container_name: str) -> float | None:
    """Return how long a container is to run on slow memory first, in seconds (0..3600); None where its pod is silent.

    Raises:
        RefusedError: the value is not a ``duration``, or out of range.
    """
    found = _value(pod, container_name, COLD_START)
    if found is None:
        return None
    place, value = found
    fields = _parsed(place, value) if isinstance(value, str) else value
    if not isinstance(fields, Mapping) or set(fields) != {"duration"}:
        raise bad_annotation(place, 'must be the single field "duration"; write for example "duration: 60s"')
    try:
        seconds = parse_duration_s(_text(f"{place}: $.duration", fields["duration"]))
    except GoTextError as fault:
        raise bad_annotation(f"{place}: $.duration", str(fault)) from None
    if not 0 <= seconds <= LONGEST_COLD_START_S:
        raise bad_annotation(
            f"{place}: $.duration", f"{clipped(str(fields['duration']))} is out of range; write 0s to 1h"
        )
    return seconds


def _value(pod: Pod, container_name: str, key: str) -> tuple[str, object] | None:
    """Return what counts for a container, and where it stands."""
    return _scoped(pod, container_name, key) or _legacy(pod, container_name, key)


def _scoped(pod: Pod, container_name: str, key: str) -> tuple[str, str] | None:
    for place in (f"{key}/container.{container_name}", f"{key}/pod", key):
        value = pod.annotations.get(place)
        if value is not None:
            return place, value
    return None


def _legacy(pod: Pod, container_name: str, key: str) -> tuple[str, object] | None:
    place = _LEGACY.get(key, "")
    text = pod.annotations.get(place)
    if text is None:
        return None
    document = _parsed(place, text)
    if not isinstance(document, Mapping):
        return place, document
    return (f"{place}: $.{container_name}", document[container_name]) if container_name in document else None


def _parsed(place: str, text: str) -> object:
    try:
        return parse_yaml(text)
    except YamlTextError as fault:
        raise bad_annotation(place, str(fault)) from None


def _text(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise bad_annotation(place, "is not a single value; write one string")
    return value.strip()
