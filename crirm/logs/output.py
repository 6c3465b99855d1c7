"""Output of log messages: standard error and, optionally, a file."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn, TextIO

from crirm.logs.plain_structlog import structlog
from crirm.logs.record_file import RecordFile
from crirm.logs.render import as_json, human, journal
from crirm.logs.settings import Format, Level, LogSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict

    from crirm.logs.render import Record, Renderer

LEVELS = {level.name.lower(): level for level in Level}


class Outputs:
    """The last step of every record: rendered for each place that wants it, in one write each; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: RecordFile | None = None
        self._stderr_level = Level.DEBUG
        self._for_stderr = self._for_file = human(colours=False, headers=True, dated=True)

    def configure(self, settings: LogSettings, environ: Mapping[str, str]) -> None:
        """Write from now on as *settings* say.

        Args:
            settings: what was asked for.
            environ: tells whether standard error is journald's and whether colours are unwelcome.

        Raises:
            RecordFileError: the log file cannot be opened; everything stays as it was.
        """
        file = None
        if settings.log_file:
            file = RecordFile(settings.log_file, truncate=False, max_bytes=settings.log_file_max_bytes)
        with self._lock:
            self._file, old = file, self._file
            self._for_stderr = _stderr_renderer(settings, environ)
            self._for_file = _file_renderer(settings)
            self._stderr_level = settings.stderr_level
        if old:
            old.close()

    def deliver(self, _logger: object, level: str, record: EventDict) -> NoReturn:
        """Write *record* wherever it belongs; as a structlog processor, the last one."""
        record.update(level=level, timestamp=time.time())
        with self._lock:
            if LEVELS[level] >= self._stderr_level:
                self._tell(record)
            if self._file and (trouble := self._file.write(self._for_file(record))):
                self._tell({"event": trouble, "level": "warning", "source": "logs", "timestamp": time.time()})
        raise structlog.DropEvent

    def _tell(self, record: Record) -> None:
        text = self._for_stderr(record)
        with contextlib.suppress(OSError, ValueError):  # standard error is gone or closed: nobody is left to tell
            sys.stderr.write(text)
            sys.stderr.flush()


def _stderr_renderer(settings: LogSettings, environ: Mapping[str, str]) -> Renderer:
    match settings.format:
        case Format.JSON:
            return as_json
        case Format.JOURNAL:
            return journal
        case Format.AUTO if _is_journal(sys.stderr, environ.get("JOURNAL_STREAM", "")):
            return journal
        case _:
            terminal = sys.stderr.isatty()
            wanted = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
            return human(colours=terminal and wanted, headers=settings.headers, dated=not terminal)


def _file_renderer(settings: LogSettings) -> Renderer:
    if settings.format is Format.JSON:
        return as_json
    return human(colours=False, headers=settings.headers, dated=True)


def _is_journal(stream: TextIO, journal_stream: str) -> bool:
    """Tell whether *stream* is the pipe that systemd announced as ``device:inode``; it may lead elsewhere by now."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return journal_stream == f"{status.st_dev}:{status.st_ino}"
