"""Starting the daemon, shared by ``crirm serve`` and ``cri-resmgr``."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from crirm import logs
from crirm.cli.errors import daemon_has_run
from crirm.system.cgroup_glance import raise_limit_of_open_files
from crirm.system.pid_file import held_pid_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crirm.daemon.settings import Settings

log = logs.get_logger("cli")


def start(settings: Settings, *, later: Sequence[str] = (), meaningless: Sequence[str] = ()) -> None:
    """Run the daemon until a signal ends it.

    Args:
        settings: of the daemon.
        later: given flags that are not supported yet.
        meaningless: given flags without meaning in crirm; both kinds are named in one warning.

    Raises:
        CrirmError: it cannot start or had to stop.
    """
    from crirm.daemon import app  # noqa: PLC0415  # usage errors must not wait for the import of grpclib
    from crirm.rpc import bridge  # noqa: PLC0415

    logs.configure(settings.log)
    raise_limit_of_open_files()
    without_effect = {"not_supported_yet": later, "no_meaning_in_crirm": meaningless}
    if later or meaningless:
        log.warning(
            "some flags have no effect", **{why: ", ".join(names) for why, names in without_effect.items() if names}
        )
    with held_pid_file(settings.pid_file) if settings.pid_file else nullcontext():
        bridge.run(app.serve, settings)
    daemon_has_run()
