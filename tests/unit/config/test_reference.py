from __future__ import annotations

from pathlib import Path

from crirm.config.reference import page
from crirm.config.schema import SECTIONS

DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_page_is_up_to_date() -> None:
    told = (DOCS / "configuration.md").read_text()
    assert told == page(), "run: python -m crirm.config.reference > docs/configuration.md"


def test_every_option_is_on_the_page() -> None:
    text = page()
    for section in SECTIONS.values():
        assert f"`{section.name}`" in text
        for option in section.options:
            assert f"| `{option.key}` |" in text


def test_tables_are_whole() -> None:
    for line in page().splitlines():
        if line.startswith("|"):
            assert line.replace(r"\|", "").count("|") in {3, 5}, line
