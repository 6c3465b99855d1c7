"""The CPUs that a DRA driver has given to a new container; see `model.claims`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.admission.steps import identified
from crirm.cri import slice as cri
from crirm.model.claims import ClaimError, claim_devices, claim_of
from crirm.model.refusal import RefusalCode, RefusedError

if TYPE_CHECKING:
    from crirm.admission.admission import Admission


def devices_of(request: cri.CreateContainerRequest) -> tuple[str, ...]:
    """Return the CDI devices of a request that are claims of CPUs."""
    return claim_devices(device.name for device in request.config.cdi_devices)


def claims(asked: Admission) -> Admission:
    """Add the claims of CPUs; a container with a malformed one is refused, since nobody knows where it may run."""
    container, pod = identified(asked)
    if not isinstance(asked.request, cri.CreateContainerRequest):
        return asked
    devices = devices_of(asked.request)
    if not devices:
        return asked
    environment = {variable.key: variable.value.decode("utf-8", "replace") for variable in asked.request.config.envs}
    try:
        found = [claim_of(device, asked.facts.cdi.get(device), environment) for device in devices]
    except ClaimError as error:
        where = f"{pod.namespace}/{pod.name}/{container.name}"
        raise RefusedError(RefusalCode.BAD_DRA_CLAIM, f"{where}: {error}") from error
    return attrs.evolve(asked, container=attrs.evolve(container, claims=tuple(found)))
