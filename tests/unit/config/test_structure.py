from __future__ import annotations

from typing import Any

import attrs
import pytest

from crirm.config.structure import Path, Seconds, WrongValuesError, structure
from crirm.model.option import option


@attrs.frozen
class Inner:
    period: Seconds = option("Period", "How long.", default=Seconds(5.0))  # noqa: RUF009  # makes a field


@attrs.frozen
class Outer:
    inner: Inner = option("Inner", "What is inside.", default=Inner())  # noqa: RUF009  # makes a field
    names: tuple[str, ...] = option("Names", "Names.", default=())


@attrs.frozen
class Broken:
    """Has a fault of its own."""

    value: str = attrs.field(default="", converter=len, metadata={"key": "Value"})

    def __attrs_post_init__(self) -> None:
        raise TypeError("broken")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("1h30m", 5400.0, id="hours and minutes"),
        pytest.param("15s", 15.0, id="seconds"),
        pytest.param("1.5ms", 0.0015, id="parts of a second"),
        pytest.param("0", 0.0, id="nothing needs no unit"),
    ],
)
def test_a_duration_is_written_as_in_go(text: str, seconds: float) -> None:
    assert structure({"inner": {"period": text}}, Outer) == Outer(Inner(Seconds(seconds)))


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        pytest.param(
            {"Inner": {"Period": 15}},
            {
                (
                    "Inner",
                    "Period",
                ): "expected a duration with a unit, such as 90s, found number 15"
            },
            id="a duration without a unit",
        ),
        pytest.param(
            {"Inner": {"Period": "15 s"}},
            {("Inner", "Period"): "'15 s' is not a duration; write numbers with units, such as 60s or 1h30m"},
            id="a duration with a blank",
        ),
        pytest.param(
            {"Inner": {"period": "1s", "Perod": 1, "x": 2}, "Names": [None, "a", {}]},
            {
                ("Inner", "Perod"): "unknown option 'Perod' (did you mean Period?)",
                ("Inner", "x"): "unknown option 'x'",
                ("Names", 0): "expected a string, found nothing",
                ("Names", 2): "expected a string, found a mapping",
            },
            id="all at once, at any depth",
        ),
        pytest.param(
            {"Inner": [1.5]}, {("Inner",): "expected a mapping such as Period: ..., found a list"}, id="no mapping"
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_path(value: dict[str, Any], faults: dict[Path, str]) -> None:
    with pytest.raises(WrongValuesError) as told:
        structure(value, Outer)
    assert dict(told.value.faults) == faults


def test_a_fault_of_crirm_is_none_of_the_configuration() -> None:
    with pytest.raises(TypeError, match="broken"):
        structure({}, Broken)
