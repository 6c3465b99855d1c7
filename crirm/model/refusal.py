"""Refusals: why a request is refused, as a stable code for programs and a sentence for people.

A code never changes its meaning, and one that is no longer used is not used again: alerts and scripts match it.
docs/refusals.md has a paragraph on each one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from crirm.errors import INTERNAL_FAULT, UNDECIDED_IN_TIME, CrirmError, clipped, coded
from crirm.model.remedy import Remedy

MESSAGE_CHARS: Final = 700
"""Characters of the sentence itself; with the changes that would fit and the code it stays an event of Kubernetes."""
CLIPPED_CHARS: Final = 40
"""What a clipped sentence is longer at most: it is not clipped again where something is added to the refusal."""
REMEDIES_TOLD: Final = 2
"""In the sentence; explain, the journal and ``crirm fits`` have all of them."""


class RefusalReason(enum.Enum):
    """What kind of refusal it is: the status of the reply, and whether trying again may help."""

    NO_ROOM = "no room"
    """Too few CPUs or too little memory now; it may fit later."""
    BAD_REQUEST = "bad request"
    """An annotation or a value that is never valid."""
    BAD_STATE = "bad state"
    """The request does not fit the state of the container or pod."""
    FAULT = "fault"
    """A bug in crirm; the right answer is unknown."""
    NOT_NOW = "not now"
    """Decisions cannot be saved, or were not made in time; trying again may help."""


class RefusalCode(enum.Enum):
    """Why a request is refused; the values are for programs."""

    TOO_FEW_EXCLUSIVE_CPUS = "too-few-exclusive-cpus"
    TOO_FEW_ISOLATED_CPUS = "too-few-isolated-cpus"
    TOO_FEW_CORES = "too-few-cores"
    TOO_LITTLE_SHARED_CPU = "too-little-shared-cpu"
    TOO_LITTLE_MEMORY = "too-little-memory"
    NOT_NEAR_DEVICES = "not-near-devices"
    UNKNOWN_DEVICE_LOCATION = "unknown-device-location"
    EXCLUSIVE_CPUS_OFFLINE = "exclusive-cpus-offline"
    DRA_CPUS_TAKEN = "dra-cpus-taken"
    DRA_CPUS_RESERVED = "dra-cpus-reserved"
    DRA_CPUS_SHARED = "dra-cpus-shared"
    DRA_CPUS_OFFLINE = "dra-cpus-offline"
    BAD_DRA_CLAIM = "bad-dra-claim"
    NOT_WHOLE_CORES = "not-whole-cores"
    BAD_ANNOTATION = "bad-annotation"
    MALFORMED_REQUEST = "malformed-request"
    UNKNOWN_POD = "unknown-pod"
    ALREADY_PLACED = "already-placed"
    NOT_PLACED = "not-placed"
    STATE_NOT_SAVED = "state-not-saved"
    UNDECIDED_IN_TIME = UNDECIDED_IN_TIME
    INTERNAL_FAULT = INTERNAL_FAULT


REASONS: Final[Mapping[RefusalCode, RefusalReason]] = {
    RefusalCode.TOO_FEW_EXCLUSIVE_CPUS: RefusalReason.NO_ROOM,
    RefusalCode.TOO_FEW_ISOLATED_CPUS: RefusalReason.NO_ROOM,
    RefusalCode.TOO_FEW_CORES: RefusalReason.NO_ROOM,
    RefusalCode.TOO_LITTLE_SHARED_CPU: RefusalReason.NO_ROOM,
    RefusalCode.TOO_LITTLE_MEMORY: RefusalReason.NO_ROOM,
    RefusalCode.NOT_NEAR_DEVICES: RefusalReason.NO_ROOM,
    RefusalCode.UNKNOWN_DEVICE_LOCATION: RefusalReason.NO_ROOM,
    RefusalCode.EXCLUSIVE_CPUS_OFFLINE: RefusalReason.NO_ROOM,
    RefusalCode.DRA_CPUS_TAKEN: RefusalReason.NO_ROOM,
    RefusalCode.DRA_CPUS_RESERVED: RefusalReason.NO_ROOM,
    RefusalCode.DRA_CPUS_SHARED: RefusalReason.NO_ROOM,
    RefusalCode.DRA_CPUS_OFFLINE: RefusalReason.NO_ROOM,
    RefusalCode.BAD_DRA_CLAIM: RefusalReason.BAD_REQUEST,
    RefusalCode.NOT_WHOLE_CORES: RefusalReason.BAD_REQUEST,
    RefusalCode.BAD_ANNOTATION: RefusalReason.BAD_REQUEST,
    RefusalCode.MALFORMED_REQUEST: RefusalReason.BAD_REQUEST,
    RefusalCode.UNKNOWN_POD: RefusalReason.BAD_STATE,
    RefusalCode.ALREADY_PLACED: RefusalReason.BAD_STATE,
    RefusalCode.NOT_PLACED: RefusalReason.BAD_STATE,
    RefusalCode.STATE_NOT_SAVED: RefusalReason.NOT_NOW,
    RefusalCode.UNDECIDED_IN_TIME: RefusalReason.NOT_NOW,
    RefusalCode.INTERNAL_FAULT: RefusalReason.FAULT,
}
"""The kind of each code."""


class RefusedError(CrirmError):
    """A policy or the pipeline refuses a request; str() is the sentence in the pod's events, with the code at its end.

    Args:
        code: why.
        message: the same for people, one sentence without a full stop.
        remedies: changes with which it would fit, the smallest first.
    """

    def __init__(self, code: RefusalCode, message: str, remedies: tuple[Remedy, ...] = ()) -> None:
        self.message = message if len(message) <= MESSAGE_CHARS + CLIPPED_CHARS else clipped(message, MESSAGE_CHARS)
        self.code, self.remedies = code, remedies
        super().__init__(self._sentence(remedies[:REMEDIES_TOLD]))

    @property
    def full(self) -> str:
        """Return the sentence with all remedies, for the journal."""
        return self._sentence(self.remedies)

    def with_remedies(self, remedies: tuple[Remedy, ...]) -> RefusedError:
        """Return the same refusal, with *remedies*."""
        return RefusedError(self.code, self.message, remedies)

    def _sentence(self, remedies: tuple[Remedy, ...]) -> str:
        ways = ", or ".join(remedy.text for remedy in remedies)
        return coded(f"{self.message}; it would fit {ways}" if ways else self.message, self.code.value)

    @property
    def reason(self) -> RefusalReason:
        """Return the kind of refusal."""
        return REASONS[self.code]

    def __eq__(self, other: object) -> bool:
        """Compare by value, as decisions do: by code, message and remedies."""
        return isinstance(other, RefusedError) and (self.full, self.remedies) == (other.full, other.remedies)

    def __hash__(self) -> int:
        return hash(str(self))
