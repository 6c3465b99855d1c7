"""The errors that an operator can act on, the exit codes they end in, and how much of others' words they repeat."""

from __future__ import annotations

from typing import Final

QUOTED_CHARS: Final = 200
SENTENCE_CHARS: Final = 1000
"""Characters of a sentence that is kept or shown: several quotations and what is said about them."""

OUR_FAULT: Final = "crirm could not decide because of a fault of its own; see its log"
"""What a caller is told whose request met a bug."""

INTERNAL_FAULT: Final = "internal-fault"
UNDECIDED_IN_TIME: Final = "undecided-in-time"
"""Codes of refusals (`model.refusal`) that calls end with which no policy has seen."""

"".encode("unicode_escape")  # loads the codec now: when file descriptors have run out, it cannot be loaded any more


class CrirmError(Exception):
    """What went wrong, where, and what would be right, in one sentence that an operator understands."""

    exit_code = 1


class UsageError(CrirmError):
    """The command line says something that crirm does not know; nothing was started."""

    exit_code = 2


def clipped(text: str, most: int = QUOTED_CHARS) -> str:
    """Return *text*, or its beginning and its length where it has more than *most* characters.

    Names, annotations and messages come from anybody, in any length; whoever quotes them in a sentence clips them.
    """
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def coded(sentence: str, code: str) -> str:
    """Return *sentence* with a stable code at its end, by which programs recognise it; docs/refusals.md has them."""
    return f"{sentence} [{code}]"


def quoted(text: str) -> str:
    """Return *text* in quotation marks, clipped, with everything escaped that is not printable."""
    return repr(text) if len(text) <= QUOTED_CHARS else f"{text[:QUOTED_CHARS]!r}... ({len(text)} characters)"


def visible(text: str, but: str = "") -> str:
    """Return *text* on one line, with everything escaped that is not printable, except the characters in *but*.

    What a container is called must neither drive a terminal nor forge a line: control characters of both kinds (C0 and
    C1), marks that turn the direction of writing, line separators and halves of surrogate pairs.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in but else char.encode("unicode_escape").decode() for char in text
    )
