from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crirm.model.quantity import (
    MilliCPU,
    QuantityError,
    format_millicpu,
    parse_bytes,
    parse_millicpu,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("0", 0, id="zero"),
        pytest.param("2", 2, id="a whole number"),
        pytest.param("+2", 2, id="a plus sign"),
        pytest.param("-2", -2, id="a minus sign"),
        pytest.param("1.5", Fraction(3, 2), id="a decimal point"),
        pytest.param(".5", Fraction(1, 2), id="nothing before the point"),
        pytest.param("1.", 1, id="nothing after the point"),
        pytest.param("100m", Fraction(1, 10), id="milli"),
        pytest.param("1u", Fraction(1, 10**6), id="micro"),
        pytest.param("1n", Fraction(1, 10**9), id="nano"),
        pytest.param("1k", 1000, id="kilo is lower case"),
        pytest.param("1Ki", 1024, id="kibi is upper case"),
        pytest.param("1.5Gi", 3 << 29, id="part of a gibibyte"),
        pytest.param("1E", 10**18, id="E alone is exa"),
        pytest.param("1E3", 1000, id="E and digits are an exponent"),
        pytest.param("12e-1", Fraction(6, 5), id="a negative exponent"),
        pytest.param("0.1", Fraction(1, 10), id="exact, unlike a float"),
    ],
)
def test_quantity(text: str, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "x", "1K", "1ki", "1mi", "1.2.3", "--1", "1e", "1e999", "0x10", "NaN", "\u0661"]
)
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError, match="is not a quantity; write"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        pytest.param("1.5", 1500, id="CPUs"),
        pytest.param("250m", 250, id="thousandths"),
        pytest.param("0.0001", 1, id="rounded up, as Kubernetes does"),
        pytest.param("1000100u", 1001, id="micro-CPUs are rounded up too"),
    ],
)
def test_millicpu(text: str, amount: int) -> None:
    assert parse_millicpu(text) == amount


def test_bytes_are_rounded_up() -> None:
    assert parse_bytes("100m") == 1
    assert parse_bytes("64Mi") == 64 << 20


def test_an_amount_of_a_resource_is_not_negative() -> None:
    with pytest.raises(QuantityError, match="'-1' is negative"):
        parse_millicpu("-1")
    with pytest.raises(QuantityError, match="'-1Ki' is negative"):
        parse_bytes("-1Ki")


@given(st.integers(0, 10**9))
@example(0)
@example(999)
@example(1000)
def test_millicpu_come_back_as_they_were(amount: int) -> None:
    assert parse_millicpu(format_millicpu(MilliCPU(amount))) == amount


@pytest.mark.parametrize(("amount", "text"), [(0, "0"), (1, "1m"), (1500, "1500m"), (2000, "2")])
def test_whole_cpus_have_no_suffix(amount: int, text: str) -> None:
    assert format_millicpu(MilliCPU(amount)) == text
