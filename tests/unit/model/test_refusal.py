"""Refusals: stable codes, each with a kind and a paragraph in docs/refusals.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crirm.daemon.placement.answers import STATUSES
from crirm.model.refusal import REASONS, RefusalCode, RefusalReason, RefusedError
from crirm.model.remedy import Remedy

PAGE = Path(__file__).parents[3] / "docs/refusals.md"
CODES = {code.value for code in RefusalCode}


def paragraphs() -> dict[str, str]:
    """Return the text under each heading of the third level."""
    parts = re.split(r"^### (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    texts = (re.split(r"^## ", text, flags=re.MULTILINE)[0].strip() for text in parts[2::2])
    return dict(zip(parts[1::2], texts, strict=True))


def test_the_page_has_a_paragraph_for_each_code_and_for_nothing_else() -> None:
    assert paragraphs().keys() == CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_paragraph_says_what_it_means_and_what_to_do(code: str) -> None:
    assert paragraphs()[code].count(".") >= 2


def test_the_table_of_statuses_has_each_code_once_beside_its_status() -> None:
    rows = re.findall(r"^\| (`.*`) \| ([A-Z_]+)", PAGE.read_text(), flags=re.MULTILINE)
    told = [(code, status) for codes, status in rows for code in re.findall(r"`([a-z-]+)`", codes)]
    late = RefusalCode.UNDECIDED_IN_TIME.value  # of the call, not of the decision
    meant = {code.value: STATUSES[REASONS[code]].name for code in RefusalCode} | {late: "DEADLINE_EXCEEDED"}
    assert (dict(told), len(told)) == (meant, len(meant))


def test_every_code_has_a_kind_and_every_kind_a_status() -> None:
    assert set(REASONS) == set(RefusalCode)
    assert set(STATUSES) == set(RefusalReason)


@pytest.mark.parametrize("code", RefusalCode, ids=lambda code: code.value)
def test_codes_are_words_in_lower_case_joined_by_hyphens(code: RefusalCode) -> None:
    assert re.fullmatch("[a-z]+(-[a-z]+)+", code.value)


def test_the_code_is_at_the_end_of_the_sentence_however_long_that_is() -> None:
    short, long = (RefusedError(RefusalCode.BAD_ANNOTATION, text) for text in ("no good", "x" * 10_000))
    assert str(short) == "no good [bad-annotation]"
    assert str(long).endswith("... (10000 characters) [bad-annotation]")
    assert len(str(long)) < 800


def test_what_would_fit_is_added_to_a_long_sentence_too() -> None:
    refusal = RefusedError(RefusalCode.TOO_LITTLE_MEMORY, "x" * 10_000).with_remedies((Remedy("with less"),))
    assert str(refusal).endswith("xx... (10000 characters); it would fit with less [too-little-memory]")


def test_refusals_are_compared_by_value() -> None:
    one, same = (RefusedError(RefusalCode.BAD_ANNOTATION, "no good") for _ in range(2))
    assert (one, hash(one)) == (same, hash(same))
    assert one != RefusedError(RefusalCode.MALFORMED_REQUEST, "no good")
    assert one != RefusedError(RefusalCode.BAD_ANNOTATION, "not good")
