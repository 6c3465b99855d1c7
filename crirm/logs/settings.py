"""Logging settings from the environment and the command line, as one frozen value.

Options have the names of klog's, which CRI Resource Manager takes as flags; the environment variable of an option is
its name in capitals after ``LOGGER_``. ``debug`` and ``format`` are crirm's own and follow the same rule.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import attrs

from crirm.errors import UsageError
from crirm.logs.debug_spec import STATES, nearest, parse_debug
from crirm.logs.names import own_name
from crirm.logs.source import EVERY_SOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

ENVIRONMENT_PREFIX: Final = "LOGGER_"
FILE_NAME: Final = "crirm.log"  # in log_dir
DEBUG_VERBOSITY: Final = 4  # klog level; from here up Kubernetes components tell what only a debugger wants
MIB: Final = 1 << 20
KLOG_FILE_MIB: Final = 1800  # klog's default of log_file_max_size

MEANINGFUL: Final = frozenset((
    "alsologtostderr", "debug", "format", "log_dir", "log_file", "log_file_max_size", "logtostderr", "skip_headers",
    "stderrthreshold", "v", "vmodule",
))  # fmt: skip
MEANINGLESS: Final = frozenset(("add_dir_header", "log_backtrace_at", "one_output", "skip_log_headers"))
OPTIONS: Final = MEANINGFUL | MEANINGLESS


class Format(enum.Enum):
    """What a record looks like on standard error."""

    AUTO = "auto"  # journal when standard error is journald's, human otherwise
    HUMAN = "human"
    JOURNAL = "journal"
    JSON = "json"


class Level(enum.IntEnum):
    """The level of a message; only the order of the numbers matters."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3
    CRITICAL = 4


@attrs.frozen
class LogSettings:
    """Output, format and debug switches of log messages."""

    format: Format = Format.AUTO
    headers: bool = True  # time and level before each record meant for people
    debug: Mapping[str, bool] = attrs.Factory(dict)  # source name, or * for all others, to on or off
    log_file: str = ""  # written besides standard error; empty: none
    log_file_max_bytes: int = KLOG_FILE_MIB * MIB  # 0: no limit
    stderr_level: Level = Level.DEBUG  # less serious records go to the file only
    ignored: tuple[str, ...] = ()  # what was given and means nothing here, as given


class _Given(NamedTuple):
    """One option as somebody gave it."""

    where: str  # LOGGER_V or --v
    value: str


def settings_from(environ: Mapping[str, str], options: Mapping[str, str]) -> LogSettings:
    """Read the logging settings: built in, then environment, then command line; the later wins.

    Args:
        environ: the process environment; only variables ``LOGGER_*`` that are not empty count.
        options: what the command line gave, by option name without leading dashes (``skip_headers``, ``v``, ``debug``,
            ``format``; a dash in a name counts as an underscore); a flag without a value has the value ``true``.

    Raises:
        CrirmError: a value that cannot be, or a command-line option that does not exist.
    """
    from_environ = _from_environ(environ)
    from_options = _from_options(options)
    given = {**from_environ, **from_options}
    log_file = _log_file(given)
    return LogSettings(
        format=_format(given.get("format")),
        headers=not _flag(given.get("skip_headers"), default=False),
        debug=_debug_states(given, [source["debug"] for source in (from_environ, from_options) if "debug" in source]),
        log_file=log_file,
        log_file_max_bytes=_whole(given.get("log_file_max_size"), default=KLOG_FILE_MIB) * MIB,
        stderr_level=_stderr_level(given) if log_file else Level.DEBUG,
        ignored=tuple(one.where for name, one in sorted(given.items()) if _is_ignored(name, log_file)),
    )


def _from_environ(environ: Mapping[str, str]) -> dict[str, _Given]:
    named = {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): name for name in environ if name.startswith(ENVIRONMENT_PREFIX)
    }
    return {option: _Given(name, environ[name]) for option, name in named.items() if environ[name]}


def _from_options(options: Mapping[str, str]) -> dict[str, _Given]:
    for name in options:
        if name.replace("-", "_") not in OPTIONS:
            raise UsageError(f"--{name}: no such logging option{nearest(name.replace('-', '_'), OPTIONS)}")
    return {name.replace("-", "_"): _Given(f"--{name}", value) for name, value in options.items()}


def _is_ignored(name: str, log_file: str) -> bool:
    only_with_file = name in {"alsologtostderr", "log_file_max_size", "logtostderr", "stderrthreshold"}
    return name not in MEANINGFUL or (only_with_file and not log_file)


def _format(given: _Given | None) -> Format:
    if given is None:
        return Format.AUTO
    try:
        return Format(given.value.lower())
    except ValueError:
        raise _bad(given, "auto, human, journal or json") from None


def _flag(given: _Given | None, *, default: bool) -> bool:
    if given is None:
        return default
    if given.value.lower() not in STATES:
        raise _bad(given, "true or false")
    return STATES[given.value.lower()]


def _whole(given: _Given | None, *, default: int) -> int:
    if given is None:
        return default
    if not given.value.isdecimal():
        raise _bad(given, "a whole number, 0 or more")
    return int(given.value)


def _log_file(given: Mapping[str, _Given]) -> str:
    if "log_file" in given:
        return given["log_file"].value
    directory = given["log_dir"].value if "log_dir" in given else ""
    return f"{directory.rstrip('/')}/{FILE_NAME}" if directory else ""


def _stderr_level(given: Mapping[str, _Given]) -> Level:
    """With a file, klog's rule: everything on standard error too, unless that is switched off; then from a level up."""
    everything = _flag(given.get("logtostderr"), default=True) or _flag(given.get("alsologtostderr"), default=False)
    threshold = _threshold(given.get("stderrthreshold"))
    return Level.DEBUG if everything else threshold


def _threshold(given: _Given | None) -> Level:
    if given is None:
        return Level.ERROR
    klog = {"info": Level.INFO, "warning": Level.WARNING, "error": Level.ERROR, "fatal": Level.CRITICAL}
    by_word_or_number = klog | {str(number): level for number, level in enumerate(klog.values())}
    if given.value.lower() not in by_word_or_number:
        raise _bad(given, "INFO, WARNING, ERROR or FATAL")
    return by_word_or_number[given.value.lower()]


def _debug_states(given: Mapping[str, _Given], lists: list[_Given]) -> dict[str, bool]:
    """Verbosity says the least, a module's verbosity more, then the lists, in order of precedence."""
    states: dict[str, bool] = {}
    if _whole(given.get("v"), default=0) >= DEBUG_VERBOSITY:
        states[EVERY_SOURCE] = True
    if "vmodule" in given:
        states |= _module_states(given["vmodule"])
    for one in lists:
        states |= parse_debug(one.value, where=one.where)
    return {own_name(source): state for source, state in states.items()}


def _module_states(given: _Given) -> dict[str, bool]:
    states = {}
    for entry in filter(None, map(str.strip, given.value.split(","))):
        module, _, verbosity = entry.rpartition("=")
        if not module or not verbosity.isdecimal():
            raise _bad(given, "a list such as relay=4,link=0")
        states[module] = int(verbosity) >= DEBUG_VERBOSITY
    return states


def _bad(given: _Given, right: str) -> UsageError:
    return UsageError(f"{given.where}: invalid value {given.value!r}; expected {right}")
