"""CPUs that a driver of dynamic resource allocation (DRA) has given out, beside crirm.

The driver of kubernetes-sigs/dra-driver-cpu prepares a claim before the pod's sandbox is made: it chooses CPUs, and
writes a CDI file with one device, ``dra.k8s.io/cpu=claim-UID``, that sets one variable of the environment,
``DRA_CPUSET_UID=0-3``. The kubelet names the device in CreateContainer; the runtime reads the file and sets the
variable; nothing else tells the CPUs. The claim stays prepared until the pod is gone.

The kubelet itself sets no such variable, so one in the request was written by the author of the pod. It counts only
beside the device of its claim, where the CDI file is not found; alone it gives nobody any CPU.

Source: kubernetes-sigs/dra-driver-cpu at de98098, pkg/driver/cdi.go, dra_hooks.go (PrepareResourceClaims,
getCDIDeviceName) and nri_hooks.go (parseDRAEnvToClaimAllocations); kubernetes pkg/kubelet/cm/dra, which passes on CDI
devices only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from crirm.errors import CrirmError, quoted
from crirm.model.cpuset import CPUSet, ListFormatError

DEVICE: Final = "dra.k8s.io/cpu="
"""How the names of the driver's CDI devices begin."""
CLAIM: Final = "claim-"
"""How the name of a device goes on; the rest is the UID of the claim."""
VARIABLE: Final = "DRA_CPUSET_"
"""How the name of the variable begins; the rest is the UID of the claim."""


class ClaimError(CrirmError, ValueError):
    """A claim is listed, but does not tell its CPUs."""


@attrs.frozen
class CPUClaim:
    """CPUs given out by a driver.

    Args:
        uid: of the claim; containers with the same claim share its CPUs.
        cpus: all of them.
    """

    uid: str
    cpus: CPUSet


def claim_devices(devices: Iterable[str]) -> tuple[str, ...]:
    """Return those of a request's CDI *devices* that are claims of CPUs, each once."""
    return tuple(dict.fromkeys(device for device in devices if device.startswith(DEVICE)))


def claim_of(device: str, edits: Iterable[str] | None, environment: Mapping[str, str]) -> CPUClaim:
    """Return the claim that a CDI *device* stands for.

    Args:
        device: its name, one of `claim_devices`.
        edits: the variables that its CDI file sets, ``NAME=VALUE``; None where no file has it.
        environment: of the request.

    Raises:
        ClaimError: the name, the file or the variable is malformed, or the two contradict each other.
    """
    uid = device.removeprefix(DEVICE).removeprefix(CLAIM)
    if not uid or not device.startswith(DEVICE + CLAIM):
        raise ClaimError(f"CDI device {quoted(device)} names no claim; expected {DEVICE}{CLAIM}UID")
    asked = environment.get(VARIABLE + uid)
    told = asked if edits is None else _set_by(device, VARIABLE + uid, edits)
    if told is None:
        what = f"CDI device {quoted(device)}: no CDI file tells its CPUs"
        raise ClaimError(f"{what}; crirm needs to read the directory of CDI files, /var/run/cdi, of the host")
    cpus = _cpus(device, told)
    if asked is not None and asked != told and _cpus(device, asked) != cpus:
        what = f"CDI device {quoted(device)} gives CPUs {cpus}, but the pod sets {VARIABLE}{uid} to {quoted(asked)}"
        raise ClaimError(f"{what}; remove the variable from the pod")
    return CPUClaim(uid, cpus)


def all_cpus(claims: Iterable[CPUClaim]) -> CPUSet:
    """Return the CPUs of all *claims*."""
    return CPUSet.union(claim.cpus for claim in claims)


def _set_by(device: str, variable: str, edits: Iterable[str]) -> str:
    for edit in edits:
        name, _, value = edit.partition("=")
        if name == variable:
            return value
    raise ClaimError(f"CDI device {quoted(device)}: its CDI file does not set {variable}; expected {variable}=CPUS")


def _cpus(device: str, text: str) -> CPUSet:
    try:
        cpus = CPUSet.parse(text)
    except ListFormatError as error:
        raise ClaimError(f"CDI device {quoted(device)}: {error}") from error
    if not cpus:
        raise ClaimError(f"CDI device {quoted(device)} gives no CPUs; expected a list such as 0-3,8")
    return cpus
