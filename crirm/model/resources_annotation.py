"""The pod annotation ``intel.com/resources``: exact requests and limits, which CRI does not carry.

The admission webhook copies them out of the pod when it is created. The value is JSON:
``{"initContainers": {NAME: REQUIREMENTS}, "containers": {NAME: REQUIREMENTS}}`` with Kubernetes' own
ResourceRequirements.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from crirm.errors import CrirmError, clipped
from crirm.model.quantity import QuantityError, parse_bytes, parse_millicpu, parse_quantity
from crirm.model.resources import Requirements

ANNOTATION = "intel.com/resources"

_STANDARD = ("cpu", "memory")
_MOST = 100  # kinds of resources of one container; each takes some 10 us to read


class ResourcesAnnotationError(CrirmError, ValueError):
    """The value of the annotation ``intel.com/resources`` cannot be read."""


def parse_annotation(value: str, container_name: str) -> Requirements | None:
    """Return the requests and limits of one container; None where the annotation has none of this name.

    An init container wins over a container of the same name. As in Kubernetes, a request that is missing equals the
    limit. Entries of other containers are not parsed: there may be hundreds of them, and nothing else runs meanwhile.

    Raises:
        ResourcesAnnotationError: the fault, and its place in the JSON text.
    """
    try:
        document = json.loads(value)
    except (ValueError, RecursionError) as fault:
        raise _fault("$", f"is not JSON ({fault})") from None
    for section in ("initContainers", "containers"):
        entries = _mapping(_mapping(document, "$").get(section), f"$.{section}")
        if container_name in entries:
            return _requirements(entries[container_name], f"$.{section}.{clipped(container_name)}")
    return None


def _requirements(entry: object, place: str) -> Requirements:
    fields = _mapping(entry, place)
    limits = _quantities(fields.get("limits"), f"{place}.limits")
    requests = limits | _quantities(fields.get("requests"), f"{place}.requests")
    extended = [name for name in requests if name not in _STANDARD]
    try:
        return Requirements(
            cpu_request=parse_millicpu(requests.get("cpu", "0")),
            cpu_limit=parse_millicpu(limits["cpu"]) if "cpu" in limits else None,
            memory_request=parse_bytes(requests.get("memory", "0")),
            memory_limit=parse_bytes(limits["memory"]) if "memory" in limits else None,
            extended=tuple((name, int(parse_quantity(requests[name]))) for name in sorted(extended)),
        )
    except QuantityError as fault:
        raise _fault(place, f"has an invalid quantity: {fault}") from None


def _quantities(value: object, place: str) -> dict[str, str]:
    amounts = _mapping(value, place)
    if len(amounts) > _MOST:
        raise _fault(place, f"has {len(amounts)} quantities; the limit is {_MOST}")
    return {name: _amount(amount, f"{place}.{clipped(name)}") for name, amount in amounts.items()}


def _amount(value: object, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _fault(place, f'is a JSON {type(value).__name__}; write an amount such as "500m"')
    return str(value)


def _mapping(value: object, place: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _fault(place, f"is a JSON {type(value).__name__}; write an object")
    return value


def _fault(place: str, what: str) -> ResourcesAnnotationError:
    return ResourcesAnnotationError(f"annotation {ANNOTATION}: {place} {what}")
