"""The errors that an operator can act on, and the exit codes they end in."""


class CrirmError(Exception):
    """What went wrong, where, and what would be right, in one sentence that an operator understands."""

    exit_code = 1


class UsageError(CrirmError):
    """The command line says something that crirm does not know; nothing was started."""

    exit_code = 2
