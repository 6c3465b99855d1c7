"""The errors that an operator can act on, the exit codes they end in, and how much they quote of others."""

QUOTED_CHARACTERS = 200
"""The most that a log record, a status or a sentence of crirm quotes of what others have written."""


def clipped(text: str, most: int = QUOTED_CHARACTERS) -> str:
    """Return *text*, or its first *most* characters and how many there are in all."""
    if len(text) <= most:
        return text
    return f"{text[:most]}... ({len(text)} characters)"


class CrirmError(Exception):
    """What went wrong, where, and what would be right, in one sentence that an operator understands."""

    exit_code = 1


class UsageError(CrirmError):
    """The command line says something that crirm does not know; nothing was started."""

    exit_code = 2
