"""A `Topology` as JSON and back, and the digest that identifies a machine."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.errors import CrirmError
from crirm.model.cpuset import CPUSet
from crirm.model.topology import (
    CacheGroup,
    Cluster,
    Die,
    EnergyPreference,
    FrequencyBin,
    NumaNode,
    Package,
    Topology,
    TopologyError,
)

if TYPE_CHECKING:
    import cattrs


_SIZES: Final = {"caches": ("size", "size_bytes"), "nodes": ("memory", "memory_bytes")}
"""Per list: a field, and its name in JSON, which says the unit."""


def to_json(topology: Topology) -> dict[str, Any]:
    """Return *topology* as plain dicts, lists, numbers and texts; CPU sets are texts in Linux list format."""
    fields = _fields(topology)
    return {**fields, **{name: [_renamed(each, *names) for each in fields[name]] for name, names in _SIZES.items()}}


def from_json(document: object) -> Topology:
    """Return the machine from the output of `to_json`.

    Raises:
        TopologyError: every place where the document has the wrong shape, or the first rule that its machine breaks.
    """
    if not isinstance(document, Mapping):
        raise TopologyError(f"machine description: expected an object, not {document!r:.40} @ $")
    import cattrs  # noqa: PLC0415  # as below

    try:
        return _converter().structure(_without_units(document), Topology)
    except cattrs.BaseValidationError as faults:
        where = "; ".join(cattrs.transform_error(faults, format_exception=_describe))
        raise TopologyError(f"machine description: {where}") from None


def digest(topology: Topology) -> str:
    """Return the SHA-256 of the canonical JSON text in hexadecimal; equal machines have equal digests."""
    text = json.dumps(_fields(topology), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _fields(topology: Topology) -> dict[str, Any]:
    return attrs.asdict(topology, value_serializer=_plain)


def _without_units(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return *document* with the names of the fields; traces of older versions have these already."""
    sizes = {
        name: [_renamed(each, with_unit, field) if isinstance(each, Mapping) else each for each in document[name]]
        for name, (field, with_unit) in _SIZES.items()
        if isinstance(document.get(name), list)
    }
    return {**document, **sizes}


def _renamed(mapping: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old else key: value for key, value in mapping.items()}


def _plain(_owner: type, _field: object, value: object) -> object:
    match value:
        case CPUSet():
            return str(value)
        case enum.Enum():
            return value.value
        case _:
            return value


def _describe(fault: BaseException, expected: type | None) -> str:
    from cattrs.v import format_exception  # noqa: PLC0415  # as below

    return str(fault) if isinstance(fault, CrirmError) else format_exception(fault, expected)


def _structure_exact(value: object, kind: type[Any]) -> Any:
    """Accept only the exact type; cattrs alone would turn ``"4"`` and ``4.7`` into 4."""
    if type(value) is not kind:
        raise TopologyError(f"expected {kind.__name__}, not {value!r:.40}")
    return value


def _structure_cpus(value: object, _: type[CPUSet]) -> CPUSet:
    return CPUSet.parse(_structure_exact(value, str))


@cache
def _converter() -> cattrs.Converter:
    import cattrs  # noqa: PLC0415  # 25 ms; the daemon describes its machine and reads no description
    from cattrs.gen import make_dict_structure_fn  # noqa: PLC0415

    converter = cattrs.Converter()
    converter.register_structure_hook(CPUSet, _structure_cpus)
    for plain in (int, str, bool):
        converter.register_structure_hook(plain, _structure_exact)
    for kind in (Package, Die, Cluster, CacheGroup, NumaNode, FrequencyBin, EnergyPreference, Topology):
        converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True))
    return converter
