"""A `Topology` as JSON, both ways, and the digest by which two machines are told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import cattrs
from cattrs.gen import make_dict_structure_fn
from cattrs.v import format_exception

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

_SIZES: Final = {"caches": ("size", "size_bytes"), "nodes": ("memory", "memory_bytes")}
"""Per list: a field, and its name in JSON, which says the unit."""


def to_json(topology: Topology) -> dict[str, Any]:
    """Return *topology* as plain dicts, lists, numbers and texts; CPU sets are texts in Linux list format."""
    plain = _plain(topology)
    return {**plain, **{name: [_renamed(each, *names) for each in plain[name]] for name, names in _SIZES.items()}}


def from_json(document: object) -> Topology:
    """Return the machine that `to_json` described.

    Raises:
        TopologyError: every place where the document has the wrong shape, or the first rule that its machine breaks.
    """
    if not isinstance(document, Mapping):
        raise TopologyError(f"machine description: expected an object, not {document!r:.40} @ $")
    try:
        return _converter.structure(_without_units(document), Topology)
    except cattrs.BaseValidationError as faults:
        where = "; ".join(cattrs.transform_error(faults, format_exception=_describe))
        raise TopologyError(f"machine description: {where}") from None


def digest(topology: Topology) -> str:
    """Return the SHA-256 of the canonical JSON text in hexadecimal; equal machines have equal digests."""
    text = json.dumps(_plain(topology), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(topology: Topology) -> dict[str, Any]:
    result: dict[str, Any] = _converter.unstructure(topology)
    return result


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


def _describe(fault: BaseException, expected: type | None) -> str:
    return str(fault) if isinstance(fault, CrirmError) else format_exception(fault, expected)


def _structure_exact(value: object, kind: type[Any]) -> Any:
    """Take a number or text only as what it is; cattrs alone would turn ``"4"`` and ``4.7`` into 4."""
    if type(value) is not kind:
        raise TopologyError(f"expected {kind.__name__}, not {value!r:.40}")
    return value


def _structure_cpus(value: object, _: type[CPUSet]) -> CPUSet:
    return CPUSet.parse(_structure_exact(value, str))


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(CPUSet, str)
    converter.register_structure_hook(CPUSet, _structure_cpus)
    for plain in (int, str, bool):
        converter.register_structure_hook(plain, _structure_exact)
    for kind in (Package, Die, Cluster, CacheGroup, NumaNode, FrequencyBin, EnergyPreference, Topology):
        converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True))
    return converter


_converter = _make_converter()
