from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.policy.registry import KINDS

if TYPE_CHECKING:
    from crirm.policy.api import Kind


def test_names() -> None:
    assert {"none", "static", "topology-aware", "memtier"} <= set(KINDS)
    assert all(name == kind.name for name, kind in KINDS.items())


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_kind_can_be_shown_and_set_up(kind: Kind) -> None:
    assert kind.description.endswith(".")
    assert attrs.has(kind.options)
    assert kind.options() == kind.options(), "every option has a default"
    assert all(field.metadata["key"] for field in attrs.fields(kind.options))
