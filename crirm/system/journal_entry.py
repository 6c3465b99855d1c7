"""An entry of the journal; apart from the store, so that a command that reads it starts at once."""

from __future__ import annotations

from typing import Final

import attrs

from crirm.errors import SENTENCE_CHARS, clipped

ROW_BYTES: Final = 30  # of an entry without any text: numbers and what SQLite takes for itself
NAME_CHARS: Final = 320  # ``namespace/name`` has 63 and 253 at most


def _name(text: str) -> str:
    return clipped(text, NAME_CHARS)


def _sentence(text: str) -> str:
    return clipped(text, SENTENCE_CHARS)


@attrs.frozen
class Entry:
    """An entry of the journal; long texts are cut.

    Args:
        at_s: seconds of wall-clock time.
        kind: of the event.
        pod: ``namespace/name``, empty if it is about none.
        container: its name in the pod, likewise.
        key: crirm's key of the container, likewise.
        outcome: in one sentence.
        generation: of the active configuration; 0 if unknown.
        machine: the beginning of the machine's digest; empty if unknown.
        cpus: assigned or released, as a list such as ``0-3,8``.
        code: of a refusal, such as ``too-little-memory``; else empty.
    """

    at_s: float
    kind: str = attrs.field(converter=_name)
    pod: str = attrs.field(default="", converter=_name)
    container: str = attrs.field(default="", converter=_name)
    key: str = attrs.field(default="", converter=_name)
    outcome: str = attrs.field(default="", converter=_sentence)
    generation: int = 0
    machine: str = attrs.field(default="", converter=_name)
    cpus: str = ""
    code: str = ""

    @property
    def size_bytes(self) -> int:
        """What it takes in the file, nearly."""
        return ROW_BYTES + sum(len(getattr(self, name).encode("utf-8", "replace")) for name in _TEXTS)


COLUMNS: Final = tuple(field.name for field in attrs.fields(Entry))
_TEXTS: Final = ("kind", "pod", "container", "key", "outcome", "machine", "cpus", "code")
SIZE: Final = f"{ROW_BYTES} + {' + '.join(f'length(CAST({name} AS BLOB))' for name in _TEXTS)}"
"""What an entry takes in the file, as `Entry.size_bytes`."""
