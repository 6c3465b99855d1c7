"""Reading in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crirm.config.faults import ConfigFaults, Fault
from crirm.config.load import load
from crirm.config.nodes import plain
from crirm.config.text import parse

if TYPE_CHECKING:
    from crirm.config.config import Config


def parsed(text: str) -> Any:
    """What *text*, which must be without faults, holds."""
    faults: list[Fault] = []
    document = parse(text.encode(), faults)
    assert faults == []
    return None if document.root is None else plain(document.root)


def parse_faults(text: str) -> list[str]:
    """The faults of *text* by itself."""
    faults: list[Fault] = []
    parse(text.encode(), faults)
    return [str(fault) for fault in faults]


def loaded(text: str) -> Config:
    """The configuration that *text*, which must be without faults and warnings, amounts to."""
    found = load(text.encode(), "test")
    assert found.warnings == ()
    return found.config


def load_faults(text: str) -> list[str]:
    """The faults of *text* as a configuration; it must have some."""
    try:
        load(text.encode(), "test")
    except ConfigFaults as faults:
        return [str(fault) for fault in faults.faults]
    raise AssertionError("there is no fault")
