"""Ends of containers in answers that pass, whoever asked for these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.cri.ended import LIST_EXITED, TELLING, ended_in
from crirm.cri.proto.runtime import v1

if TYPE_CHECKING:
    import betterproto

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
RUNNING, EXITED = 1, 2


def listed(id_: str, state: int) -> v1.Container:
    return v1.Container(
        id=id_,
        pod_sandbox_id="p" * 64,
        metadata=v1.ContainerMetadata(name="main"),
        state=v1.ContainerState(state),
        created_at=1_700_000_000,
        labels={"0\x02": "0\x02"},
    )


def status(id_: str, state: int) -> v1.ContainerStatus:
    return v1.ContainerStatus(
        id=id_, metadata=v1.ContainerMetadata(name="main"), state=v1.ContainerState(state), created_at=1
    )


ANSWERS: dict[str, betterproto.Message] = {
    "ListContainers": v1.ListContainersResponse([listed(A, RUNNING), listed(B, EXITED), listed(C, EXITED)]),
    "StreamContainers": v1.StreamContainersResponse([listed(B, EXITED)]),
    "ContainerStatus": v1.ContainerStatusResponse(status(B, EXITED), {"info": "{}"}),
    "PodSandboxStatus": v1.PodSandboxStatusResponse(
        v1.PodSandboxStatus(id="p", state=v1.PodSandboxState(1)), {}, [status(A, RUNNING), status(B, EXITED)], 7
    ),
    "GetContainerEvents": v1.ContainerEventResponse(
        C, v1.ContainerEventType(1), 7, v1.PodSandboxStatus(id="p"), [status(B, EXITED), status(A, RUNNING)]
    ),
}


def found(method: str, answer: bytes, *wanted: str) -> list[str]:
    ids = {each.encode() for each in wanted}
    return [one.decode() for one in ended_in(method, answer, ids) if one is not None]


def test_every_method_that_tells_has_an_answer_here() -> None:
    assert set(ANSWERS) == TELLING


@pytest.mark.parametrize("method", sorted(ANSWERS))
def test_an_answer_tells_who_has_exited_of_those_that_matter(method: str) -> None:
    answer = bytes(ANSWERS[method])
    assert found(method, answer, A, B) == [B]
    assert found(method, answer, A) == []


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(b"\x30\x02" + b"\x0a\x01x", id="the state before the id"),
        pytest.param(b"\x0a\x01x\x30\x02\x30\x01", id="a later state that says otherwise"),
        pytest.param(b"\x0a\x01x\x30\x02\x0a\x01y", id="a later id that says otherwise"),
        pytest.param(b"\x0a\x01x\x2a\x02\x30\x02", id="the bytes of it within a text"),
        pytest.param(b"\x0a\x01x\x30\x02\x2a\x09ab", id="an item that ends too early"),
        pytest.param(b"\x0a", id="nothing but a tag"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_not_plainly_an_end_is_none(item: bytes) -> None:
    assert found("ListContainers", b"\x0a" + bytes([len(item)]) + item, "x") == []


def test_what_comes_before_the_unreadable_counts() -> None:
    answer = bytes(ANSWERS["ListContainers"])
    assert found("ListContainers", answer + b"\x0a\xff", B) == [B]
    assert found("ListContainers", answer[:200], A, B, C) == []


@given(st.sampled_from(sorted(TELLING)), st.binary(max_size=200))
def test_no_bytes_are_too_strange(method: str, answer: bytes) -> None:
    assert found(method, answer, "zz") == []


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.sampled_from([0, 1, 2, 3])), max_size=5))
def test_a_list_is_read_as_whoever_decodes_it_reads_it(items: list[tuple[str, int]]) -> None:
    answer = bytes(v1.ListContainersResponse([listed(*item) for item in items]))
    assert found("ListContainers", answer, A, B) == [id_ for id_, state in items if state == EXITED and id_ != C]


def test_each_item_is_accounted_for_so_that_reading_can_pause() -> None:
    answer = bytes(v1.ListContainersResponse([listed(A, RUNNING)] * 3 + [listed(B, EXITED)] * 2))
    assert list(ended_in("ListContainers", answer, {B.encode()})) == [None, None, None, B.encode(), B.encode()]


def test_the_question_is_for_those_that_have_exited() -> None:
    request = v1.ListContainersRequest().parse(LIST_EXITED)
    assert request.filter is not None
    assert request.filter.state is not None
    assert request.filter.state.state == EXITED
    assert bytes(request) == LIST_EXITED
