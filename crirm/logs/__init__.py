"""Logging: one source per module, with separate debug switches.

``log = get_logger("relay")`` gives a structlog bound logger; ``configure(settings_from(environ, options))`` says
where its records go and how they look.
"""

from __future__ import annotations

import os

from crirm.logs.names import complaint
from crirm.logs.output import Outputs
from crirm.logs.plain_structlog import structlog
from crirm.logs.render import Block
from crirm.logs.settings import Format, Level, LogSettings, settings_from
from crirm.logs.source import SourceLogger, Sources
from crirm.logs.stdlog import INTERVAL_S, RateLimit, StdlogHandler, route

__all__ = [
    "Block",
    "Format",
    "Level",
    "LogSettings",
    "SourceLogger",
    "configure",
    "get_logger",
    "settings_from",
    "toggle_full_debug",
]

_sources = Sources()
_outputs = Outputs()
structlog.configure(processors=[_outputs.deliver])


def get_logger(source: str) -> SourceLogger:
    """Return the logger of *source*; every module has one, with a name from ``crirm.logs.names``."""
    return SourceLogger(_sources.get(source), structlog.get_config()["processors"], {"source": source})


def configure(settings: LogSettings) -> None:
    """Apply *settings* to all loggers, including existing ones, and route standard logging here.

    Raises:
        CrirmError: the log file cannot be opened; everything stays as it was.
    """
    _outputs.configure(settings, os.environ)
    _sources.switch(settings.debug)
    if settings.ignored:
        _log.warning("ignoring logging options without effect", options=", ".join(settings.ignored))
    troubles = {source: complaint(source, known=_sources.names) for source in settings.debug}
    unknown = [f"{source}: {trouble}" for source, trouble in troubles.items() if trouble]
    if unknown:
        _log.warning("ignoring debug settings for unknown sources", sources="; ".join(unknown))


def toggle_full_debug() -> bool:
    """Switch every source to debug, or back to what the settings say, and log which; for SIGUSR1.

    Returns:
        whether full debug is on now.
    """
    on = _sources.toggle_full_debug()
    _log.warning("debug logging enabled for all sources" if on else "debug logging restored to the settings")
    return on


def _route_stdlog() -> None:
    route(_stdlog, grpc_debug=_sources.get("grpc").debug_on, all_debug=_sources.get("stdlog").debug_on)


_log = get_logger("logs")
_stdlog = StdlogHandler(get_logger("grpc"), get_logger("stdlog"), RateLimit(INTERVAL_S))
_sources.on_switch = _route_stdlog
