from __future__ import annotations

import pytest
from grpclib import GRPCError
from grpclib.const import Status

from crirm.sim.index import Index


@pytest.fixture
def index() -> Index[str]:
    index: Index[str] = Index()
    for identity in ("aa1", "aa2", "b"):
        index.add(identity, f"name-{identity}", identity.upper())
    return index


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        pytest.param("aa1", "AA1", id="a whole id is found"),
        pytest.param("b", "B", id="an unambiguous beginning is found"),
        pytest.param("zz", None, id="an unknown id is not found"),
    ],
)
def test_find(index: Index[str], prefix: str, found: str | None) -> None:
    assert index.find(prefix, "looking") == found


@pytest.mark.parametrize(
    ("prefix", "status", "message"),
    [
        pytest.param("zz", Status.NOT_FOUND, "looking: not found", id="unknown"),
        pytest.param("", Status.UNKNOWN, "looking: prefix can't be empty", id="empty"),
        pytest.param("aa", Status.UNKNOWN, "looking: multiple IDs found with provided prefix: aa", id="ambiguous"),
    ],
)
def test_get_refuses(index: Index[str], prefix: str, status: Status, message: str) -> None:
    with pytest.raises(GRPCError) as caught:
        index.get(prefix, "looking")
    assert (caught.value.status, caught.value.message) == (status, message)


def test_name_is_given_out_once_until_its_owner_is_removed(index: Index[str]) -> None:
    with pytest.raises(GRPCError, match='name "name-b" is reserved for "b"'):
        index.refuse_taken("name-b", "reserving")
    index.remove("b")
    index.refuse_taken("name-b", "reserving")
    assert [*index] == ["AA1", "AA2"]


@pytest.mark.parametrize(
    ("prefix", "whole"),
    [
        pytest.param("aa1", "aa1", id="whole stays"),
        pytest.param("aa", "aa", id="ambiguous stays"),
        pytest.param("", "", id="empty stays"),
        pytest.param("b", "b", id="short grows"),
    ],
)
def test_whole_id(index: Index[str], prefix: str, whole: str) -> None:
    assert index.whole_id(prefix) == whole
