from __future__ import annotations

from typing import Any

import pytest

from crirm.config.faults import Fault, in_order, joined, kind_of, nearest


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(None, "nothing", id="nothing"),
        pytest.param(True, "boolean true", id="boolean"),
        pytest.param(8, "number 8", id="whole number"),
        pytest.param(1.5, "number 1.5", id="fraction"),
        pytest.param("x", "string 'x'", id="text"),
        pytest.param("x" * 201, f"string '{'x' * 200}'... (201 characters)", id="long text"),
        pytest.param([], "a list", id="list"),
        pytest.param({}, "a mapping", id="mapping"),
    ],
)
def test_a_value_in_words(value: Any, words: str) -> None:
    assert kind_of(value) == words


def test_a_path_has_keys_and_places() -> None:
    assert joined("policy", "x", 2, "y") == "$.policy.x[2].y"
    assert joined() == "$"


def test_the_nearest_word_is_found_in_any_case() -> None:
    assert nearest("pincpu", ["PinMemory", "PinCPU"]) == " (did you mean PinCPU?)"
    assert nearest("zzz", ["PinCPU"]) == ""


def test_faults_stand_in_the_order_of_their_lines_and_once() -> None:
    whole, first, second = Fault("c"), Fault("b", "$.x", 1), Fault("a", "$.y", 2)
    assert in_order([second, first, whole, first]) == (whole, first, second)
