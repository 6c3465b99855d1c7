from __future__ import annotations

from typing import Any

import attrs
import pytest

from crirm.errors import CrirmError
from crirm.logs.settings import MIB, Format, Level, LogSettings, settings_from

FILE = {"log_file": "/var/log/crirm.log"}


@pytest.mark.parametrize(
    ("environ", "options", "changes"),
    [
        pytest.param({}, {}, {}, id="nothing given: built in"),
        pytest.param({"HOME": "/", "LOGGER_V": ""}, {}, {}, id="other and empty variables do not count"),
        pytest.param({"LOGGER_SKIP_HEADERS": "true"}, {}, {"headers": False}, id="skip_headers by environment"),
        pytest.param({}, {"skip_headers": "true"}, {"headers": False}, id="skip_headers by flag"),
        pytest.param({}, {"skip-headers": "1"}, {"headers": False}, id="dashes are underscores"),
        pytest.param({"LOGGER_SKIP_HEADERS": "1"}, {"skip_headers": "false"}, {}, id="the command line wins"),
        pytest.param({"LOGGER_FORMAT": "JSON"}, {}, {"format": Format.JSON}, id="format in any case"),
        pytest.param({"LOGGER_DEBUG": "relay"}, {}, {"debug": {"relay": True}}, id="debug by environment"),
        pytest.param({"LOGGER_DEBUG": "cri/relay"}, {}, {"debug": {"relay": True}}, id="names of the reference"),
        pytest.param(
            {"LOGGER_DEBUG": "relay,daemon"},
            {"debug": "off:relay"},
            {"debug": {"relay": False, "daemon": True}},
            id="debug lists lie over one another",
        ),
        pytest.param({"LOGGER_V": "4"}, {}, {"debug": {"*": True}}, id="verbosity 4 is debug"),
        pytest.param({"LOGGER_V": "3"}, {}, {}, id="verbosity 3 is not"),
        pytest.param(
            {}, {"v": "5", "debug": "off:*"}, {"debug": {"*": False}}, id="a debug list says more than verbosity"
        ),
        pytest.param({}, {"vmodule": "relay=9, sim=0"}, {"debug": {"relay": True, "sim": False}}, id="vmodule"),
        pytest.param({}, FILE, FILE, id="a log file, besides standard error"),
        pytest.param({}, {"log_dir": "/var/log/"}, FILE, id="a log directory"),
        pytest.param({"LOGGER_LOG_FILE": "/a"}, {"log_file": ""}, {}, id="a flag can take the file away"),
        pytest.param(
            {}, {**FILE, "log_file_max_size": "5"}, {**FILE, "log_file_max_bytes": 5 * MIB}, id="file size in megabytes"
        ),
        pytest.param(
            {}, {**FILE, "logtostderr": "false"}, {**FILE, "stderr_level": Level.ERROR}, id="errors stay on stderr"
        ),
        pytest.param(
            {},
            {**FILE, "logtostderr": "false", "stderrthreshold": "warning"},
            {**FILE, "stderr_level": Level.WARNING},
            id="threshold by name",
        ),
        pytest.param(
            {},
            {**FILE, "logtostderr": "false", "stderrthreshold": "3"},
            {**FILE, "stderr_level": Level.CRITICAL},
            id="threshold by number",
        ),
        pytest.param(
            {}, {**FILE, "logtostderr": "false", "alsologtostderr": "true"}, FILE, id="alsologtostderr means everything"
        ),
        pytest.param({}, {"logtostderr": "false"}, {"ignored": ("--logtostderr",)}, id="no file: stderr gets it all"),
        pytest.param(
            {"LOGGER_ONE_OUTPUT": "true", "LOGGER_FOO": "1"},
            {"log_backtrace_at": ":0"},
            {"ignored": ("LOGGER_FOO", "--log_backtrace_at", "LOGGER_ONE_OUTPUT")},
            id="what means nothing is named",
        ),
    ],
)
def test_settings(environ: dict[str, str], options: dict[str, str], changes: dict[str, Any]) -> None:
    assert settings_from(environ, options) == attrs.evolve(LogSettings(), **changes)


@pytest.mark.parametrize(
    ("environ", "options", "said"),
    [
        pytest.param({"LOGGER_V": "x"}, {}, "LOGGER_V: invalid value 'x'; expected a whole number", id="verbosity"),
        pytest.param({}, {"v": "-1"}, "--v: invalid value '-1'", id="negative verbosity"),
        pytest.param(
            {}, {"format": "jsn"}, "--format: invalid value 'jsn'; expected auto, human, journal or json", id="format"
        ),
        pytest.param(
            {}, {"skip_headers": "maybe"}, "--skip_headers: invalid value 'maybe'; expected true or false", id="flag"
        ),
        pytest.param({}, {"vmodule": "relay"}, "a list such as relay=4,link=0", id="vmodule without number"),
        pytest.param(
            {}, {**FILE, "stderrthreshold": "loud"}, "expected INFO, WARNING, ERROR or FATAL", id="unknown threshold"
        ),
        pytest.param(
            {}, {"skip_header": "1"}, "no such logging option (did you mean skip_headers?)", id="unknown option"
        ),
        pytest.param({"LOGGER_DEBUG": "onn:a"}, {}, "LOGGER_DEBUG: cannot read 'onn:a'", id="debug list"),
    ],
)
def test_faults(environ: dict[str, str], options: dict[str, str], said: str) -> None:
    with pytest.raises(CrirmError) as fault:
        settings_from(environ, options)
    assert said in str(fault.value)
