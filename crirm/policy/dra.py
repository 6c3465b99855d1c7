"""CPUs that a DRA driver has given out: taken, whatever the policy thinks, and owned by their claim alone.

Every policy that pins CPUs treats them in the same way:

* a container with claims runs on exactly their CPUs; those of the same claim share them;
* nobody else runs there, neither exclusively nor shared;
* CPUs that crirm has given exclusively to a container, and reserved ones, are not handed over: the create is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from crirm.model.claims import CPUClaim, all_cpus
from crirm.model.cpuset import NO_CPUS, CPUSet, ListFormatError
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.workload import ContainerKey

ClaimCounts = Mapping[CPUClaim, int]
"""How many containers run on each claim."""


@attrs.frozen
class Owned:
    """Who owns CPUs that a claim may want.

    Args:
        online: all CPUs that are there.
        reserved: those of reserved namespaces.
        held: the claims of other containers.
        exclusive: the exclusive CPUs of others.
        name: of a container, for people.
    """

    online: CPUSet
    reserved: CPUSet
    held: ClaimCounts
    exclusive: Mapping[ContainerKey, CPUSet]
    name: Callable[[ContainerKey], str] = str

    def check(self, subject: str, claims: tuple[CPUClaim, ...]) -> None:
        """Check that *subject* can run on its *claims*, as far as other owners are concerned.

        Raises:
            RefusedError: it cannot.
        """
        for claim in claims:
            given = f"{subject}: its DRA claim {claim.uid} gives it CPUs {claim.cpus}, "
            if gone := claim.cpus - self.online:
                raise RefusedError(RefusalCode.DRA_CPUS_OFFLINE, f"{given}but CPUs {gone} are not online")
            if both := claim.cpus & self.reserved:
                what = f"{given}but CPUs {both} are reserved (ReservedResources)"
                raise RefusedError(RefusalCode.DRA_CPUS_RESERVED, f"{what}; reserve the same CPUs in the DRA driver")
            self._check_claims(given, claim)
            self._check_exclusive(given, claim)

    def _check_claims(self, given: str, claim: CPUClaim) -> None:
        for other in sorted(self.held, key=lambda held: held.uid):
            both = other.cpus & claim.cpus
            if other != claim and (both or other.uid == claim.uid):
                what = f"claim {other.uid} has CPUs {other.cpus} for another container"
                raise RefusedError(RefusalCode.DRA_CPUS_TAKEN, f"{given}but {what}")

    def _check_exclusive(self, given: str, claim: CPUClaim) -> None:
        for key, cpus in sorted(self.exclusive.items()):
            if both := cpus & claim.cpus:
                what = f"CPUs {both} belong exclusively to {self.name(key)}"
                raise RefusedError(RefusalCode.DRA_CPUS_TAKEN, f"{given}but {what}; delete one of the two pods")


def with_claims(held: ClaimCounts, claims: Iterable[CPUClaim]) -> ClaimCounts:
    """Return the claims held when one more container runs on *claims*."""
    return {**held, **{claim: held.get(claim, 0) + 1 for claim in claims}}


def without_claims(held: ClaimCounts, claims: Iterable[CPUClaim]) -> ClaimCounts:
    """Return the claims held when one container less runs on *claims*."""
    less = {claim: held[claim] - 1 for claim in claims}
    return {claim: count for claim, count in {**held, **less}.items() if count}


def cpus_of(held: ClaimCounts) -> CPUSet:
    """Return the CPUs of all claims that are held."""
    return all_cpus(held) if held else NO_CPUS


def sentence(claims: Iterable[CPUClaim]) -> str:
    """Return what a trail says about a container on *claims*."""
    names = ", ".join(claim.uid for claim in claims)
    return f"a DRA driver has given it these CPUs (claim {names})"


def saved_claims(document: object) -> tuple[CPUClaim, ...] | None:
    """Return claims that were saved as a list of UIDs and CPUs; None if *document* is something else."""
    if not isinstance(document, list) or not document:
        return None
    claims = []
    for item in document:
        match item:
            case [str(uid), str(text)]:
                try:
                    claims.append(CPUClaim(uid, CPUSet.parse(text)))
                except ListFormatError:
                    return None
            case _:
                return None
    return tuple(claims)
