"""Start of the daemon, which ``crirm serve`` and ``cri-resmgr`` share."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from crirm import logs
from crirm.system.pid_file import held_pid_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crirm.daemon.settings import Settings

log = logs.get_logger("cli")


def start(settings: Settings, *, ignored: Sequence[str] = ()) -> None:
    """Run the daemon until a signal ends it.

    Args:
        settings: what it is told.
        ignored: what the command line gave and this version does nothing with; named in one warning.

    Raises:
        CrirmError: it cannot start or cannot go on.
    """
    from crirm.daemon import app  # noqa: PLC0415  # the command line must answer mistakes without waiting for grpclib
    from crirm.rpc import bridge  # noqa: PLC0415

    logs.configure(settings.log)
    if ignored:
        log.warning("these flags have no effect yet, their features come in a later version", flags=", ".join(ignored))
    with held_pid_file(settings.pid_file) if settings.pid_file else nullcontext():
        bridge.run(app.serve, settings)
