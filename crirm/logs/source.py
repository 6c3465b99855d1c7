"""Log sources: a name per module, each with its own debug switch, which works at run time.

A source is one small mutable object that all loggers of its name share, so that a debug call of a source that is
off costs a method call and one attribute look-up, and a switch reaches loggers that exist already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crirm.logs.plain_structlog import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

EVERY_SOURCE = "*"


class Source:
    """The debug switch of one source name."""

    __slots__ = ("debug_on", "name")

    def __init__(self, name: str, *, debug_on: bool) -> None:
        self.name = name
        self.debug_on = debug_on


class Sources:
    """All sources, and the two things that switch their debug records: settings by name, and "full debug"."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._states: dict[str, bool] = {}
        self._full_debug = False
        self.on_switch: Callable[[], None] = lambda: None

    def get(self, name: str) -> Source:
        """Return the source called *name*, made on first use with the state that the settings give it."""
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = Source(name, debug_on=self._wanted(name))
        return source

    @property
    def names(self) -> Collection[str]:
        """The names of all sources so far."""
        return self._sources.keys()

    def switch(self, states: Mapping[str, bool]) -> None:
        """Let *states*, source name (or ``*``) to on or off, decide from now on; a name wins over ``*``."""
        self._states = dict(states)
        self._apply()

    def toggle_full_debug(self) -> bool:
        """Force debug on for every source, or end that; return the new state."""
        self._full_debug = not self._full_debug
        self._apply()
        return self._full_debug

    def _apply(self) -> None:
        for source in self._sources.values():
            source.debug_on = self._wanted(source.name)
        self.on_switch()

    def _wanted(self, name: str) -> bool:
        return self._full_debug or self._states.get(name, self._states.get(EVERY_SOURCE, False))


class SourceLogger(structlog.BoundLoggerBase):
    """A structlog bound logger of one source: events are lower-case sentences, facts are keywords.

    The keywords ``event``, ``level``, ``source`` and ``timestamp`` belong to the record itself; ``exc_info`` takes an
    exception; ``block`` takes a ``Block``, text of several lines.
    """

    _logger: Source

    @property
    def debug_on(self) -> bool:
        """Whether debug is on; for callers whose facts are expensive to collect."""
        return self._logger.debug_on

    def debug(self, event: str, **facts: Any) -> None:
        """Log a detail for debugging this source."""
        if self._logger.debug_on:
            self._proxy_to_logger("debug", event, **facts)

    def info(self, event: str, **facts: Any) -> None:
        """Log a normal event."""
        self._proxy_to_logger("info", event, **facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Log a problem that crirm can handle."""
        self._proxy_to_logger("warning", event, **facts)

    def error(self, event: str, **facts: Any) -> None:
        """Log a failure."""
        self._proxy_to_logger("error", event, **facts)

    def exception(self, event: str, **facts: Any) -> None:
        """Log a failure with the traceback of the current exception."""
        self._proxy_to_logger("error", event, **{"exc_info": True, **facts})

    def critical(self, event: str, **facts: Any) -> None:
        """Say that the process cannot go on."""
        self._proxy_to_logger("critical", event, **facts)

    def emit(self, level: str, event: str, **facts: Any) -> None:
        """Pass on a record whose *level*, the name of one of the methods above, somebody else chose and wanted."""
        self._proxy_to_logger(level, event, **facts)
