"""Fault injection: what fails, in which method, how often."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
from grpclib.const import Status

from crirm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

ANY_METHOD = "*"
_OPTION = re.compile(r'(?P<name>[a-z_]+)(?:=(?P<value>"[^"]*"|[^,]*))?')
_SIZE = re.compile(r"(\d+)(|[KM]iB)")
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}


class FaultSyntaxError(UsageError):
    """A fault on the command line is malformed."""


@attrs.frozen
class Fault:
    """What goes wrong in a method; several things may be combined, and the first of them that ends the call wins.

    Attributes:
        method: name without package and service, exactly; ``*`` for every method.
        times: how many calls it strikes; None for all of them.
        acts: whether the method does its work before the fault strikes.
        delay_s: seconds before anything else.
        hang: never answers.
        disconnect: closes the connection.
        code, message, details: ends the call with this status; *details* is the content of
            ``grpc-status-details-bin``, empty for none.
        garbage: answers with bytes that are no protobuf message.
        oversize_bytes: pads every message of the answer to this size with an unknown field; 0 for not.
        unknown_fields: adds unknown fields of every wire type to every message of the answer.
    """

    method: str
    times: int | None = None
    acts: bool = False
    delay_s: float = 0.0
    hang: bool = False
    disconnect: bool = False
    code: Status | None = None
    message: str = ""
    details: bytes = b""
    garbage: bool = False
    oversize_bytes: int = 0
    unknown_fields: bool = False


class Faults:
    """The pending faults, oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add *fault*, from the next call on."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults; calls that already hang keep hanging."""
        self._faults.clear()

    def take(self, method: str) -> Fault | None:
        """Return the fault that strikes this call of *method*, and count it."""
        if not self._faults:
            return None
        for at, fault in enumerate(self._faults):
            if fault.method in (method, ANY_METHOD):
                if fault.times is not None:
                    self._faults[at] = attrs.evolve(fault, times=fault.times - 1)
                    self._faults = [left for left in self._faults if left.times != 0]
                return fault
        return None


def parse_fault(text: str) -> Fault:
    """Read ``METHOD:OPTION[=VALUE],...``, as in ``CreateContainer:code=UNAVAILABLE,message="no, not now",times=2``.

    Raises:
        FaultSyntaxError: *text* has no option, an unknown one, or an invalid value.
    """
    method, _, rest = text.partition(":")
    options: dict[str, object] = {}
    at = 0
    while at < len(rest):
        match = _OPTION.match(rest, at)
        if match is None or (match.end() < len(rest) and rest[match.end()] != ","):
            raise FaultSyntaxError(f"--fault {text!r}: cannot read {rest[at:]!r}; write OPTION or OPTION=VALUE, comma")
        name, value = match["name"], match["value"]
        options[_NAMES.get(name, name)] = _read(text, name, value and value.strip('"'))
        at = match.end() + 1
    if not method or not options:
        raise FaultSyntaxError(f"--fault {text!r}: write METHOD:OPTION, for example Status:hang or '*:delay=0.5'")
    return Fault(method, **options)  # type: ignore[arg-type]  # _READERS gives each option its type


def _read(text: str, name: str, value: str | None) -> object:
    reader = _READERS.get(name)
    if reader is None:
        raise FaultSyntaxError(f"--fault {text!r}: unknown option {name!r}; use one of {', '.join(sorted(_READERS))}")
    try:
        return reader(value)
    except (ValueError, TypeError, KeyError) as fault:
        raise FaultSyntaxError(f"--fault {text!r}: invalid value {value!r} for {name!r}") from fault


def _flag(value: str | None) -> bool:
    if value is not None:
        raise ValueError
    return True


def _size(value: str | None) -> int:
    match = _SIZE.fullmatch(value or "")
    if match is None:
        raise ValueError
    return int(match[1]) * _UNITS[match[2]]


def _count(value: str | None) -> int:
    if value is None or int(value) < 1:
        raise ValueError
    return int(value)


def _text(value: str | None) -> str:
    if value is None:
        raise ValueError
    return value


_NAMES = {"delay": "delay_s", "oversize": "oversize_bytes"}
_READERS: dict[str, Callable[[str | None], object]] = {
    "times": _count,
    "acts": _flag,
    "delay": lambda value: float(_text(value)),
    "hang": _flag,
    "disconnect": _flag,
    "code": lambda value: Status[_text(value)],
    "message": _text,
    "details": lambda value: _text(value).encode(),
    "garbage": _flag,
    "oversize": _size,
    "unknown_fields": _flag,
}
