"""The slice of CRI that crirm decides by, held against the whole, and how its messages are read."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import betterproto
import pytest
from hypothesis import given
from hypothesis import strategies as st

import crirm
from crirm.cri import numbers
from crirm.cri import slice as cri
from crirm.cri.fields import fields
from crirm.cri.message import MalformedError
from crirm.cri.proto.runtime import v1
from crirm.cri.reading import read

MESSAGES = [
    value
    for value in vars(cri).values()
    if isinstance(value, type) and issubclass(value, betterproto.Message) and value is not betterproto.Message
]
ENUMS = [
    value
    for value in vars(cri).values()
    if isinstance(value, type) and issubclass(value, betterproto.Enum) and value is not betterproto.Enum
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_a_message_is_that_of_the_whole_api_as_far_as_it_goes(message: type[betterproto.Message]) -> None:
    whole = fields(getattr(v1, message.__name__))
    for name, field in fields(message).items():
        same = whole[name]
        assert (field.number, field.kind, field.repeated) == (same.number, same.kind, same.repeated), name
        assert getattr(field.cls, "__name__", None) == getattr(same.cls, "__name__", None), name


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_an_enum_is_that_of_the_whole_api(enum: type[betterproto.Enum]) -> None:
    assert {one.name: int(one) for one in enum} == {one.name: int(one) for one in getattr(v1, enum.__name__)}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_the_numbers_are_those_of_the_messages(message: type[betterproto.Message]) -> None:
    expected = {name: field.number for name, field in fields(message).items()}
    by_name = {name.casefold(): value for name, value in vars(numbers).items()}  # betterproto writes CDI as Cdi
    found = _members(by_name[message.__name__.casefold()])
    assert {name.casefold(): number for name, number in found.items()} == expected


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_the_numbers_are_those_of_the_enums(enum: type[betterproto.Enum]) -> None:
    assert _members(getattr(numbers, enum.__name__)) == {one.name: int(one) for one in enum}


def _members(numbered: type) -> dict[str, int]:
    return {name: value for name, value in vars(numbered).items() if not name.startswith("__")}


TEXT = st.text(max_size=20)
RESOURCES = st.builds(
    cri.LinuxContainerResources,
    cpu_quota=st.integers(-(1 << 63), (1 << 63) - 1),
    oom_score_adj=st.integers(-1000, 1000),
    cpuset_cpus=TEXT,
)
REQUESTS = st.builds(
    cri.CreateContainerRequest,
    pod_sandbox_id=TEXT,
    config=st.builds(
        cri.ContainerConfig,
        metadata=st.builds(cri.ContainerMetadata, name=TEXT, attempt=st.integers(0, (1 << 32) - 1)),
        mounts=st.lists(st.builds(cri.Mount, container_path=TEXT, host_path=TEXT, readonly=st.booleans()), max_size=3),
        labels=st.dictionaries(TEXT, TEXT, max_size=3),
        linux=st.builds(cri.LinuxContainerConfig, resources=RESOURCES),
    ),
)


@given(REQUESTS)
def test_what_is_good_is_read_as_betterproto_reads_it(request: cri.CreateContainerRequest) -> None:
    data = bytes(request)
    assert read(cri.CreateContainerRequest, data) == cri.CreateContainerRequest().parse(data)


@given(REQUESTS, st.data())
def test_no_truncated_request_is_taken_for_a_whole_one(
    request: cri.CreateContainerRequest, data: st.DataObject
) -> None:
    whole = bytes(request)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        found = read(cri.CreateContainerRequest, cut)
    except MalformedError:
        return
    assert whole.startswith(bytes(found))  # cut between two fields: that is a message, too


@given(st.binary(max_size=100))
def test_bytes_of_any_kind_are_read_or_refused(data: bytes) -> None:
    for message in (cri.CreateContainerRequest, cri.UpdateContainerResourcesRequest):
        try:
            read(message, data)
        except MalformedError:
            continue


def test_what_occurs_twice_is_merged_and_the_last_of_several_counts() -> None:
    first = cri.UpdateContainerResourcesRequest("a", cri.LinuxContainerResources(cpu_shares=1, cpuset_cpus="0"))
    second = cri.UpdateContainerResourcesRequest("b", cri.LinuxContainerResources(cpu_shares=2))
    both = read(cri.UpdateContainerResourcesRequest, bytes(first) + bytes(second))
    assert (both.container_id, both.linux.cpu_shares, both.linux.cpuset_cpus) == ("b", 2, "0")


def test_a_message_in_very_many_pieces_is_read_as_one() -> None:
    piece = bytes(cri.CreateContainerRequest(config=cri.ContainerConfig(metadata=cri.ContainerMetadata("c"))))
    assert read(cri.CreateContainerRequest, piece * 8000).config.metadata.name == "c"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"\x0a\x05ab", "at byte 0", id="a text that ends too early"),
        pytest.param(b"\x12\x02\x0a\x05", "at byte 0", id="a nested message that ends too early"),
        pytest.param(b"\x08\x01", r"container_id \(field 1\) has an unexpected wire type", id="a number for a text"),
        pytest.param(b"\x12\x02\x08" + b"\x80", "truncated varint", id="half a number"),
        pytest.param(
            b"\x12\x05\x0d0000", r"cpu_period \(field 1\) has an unexpected wire type", id="another kind of number"
        ),
    ],
)
def test_what_is_malformed_is_refused_and_told(data: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        read(cri.UpdateContainerResourcesRequest, data)


def test_a_text_that_is_no_utf8_is_read_as_far_as_it_is_one() -> None:
    assert read(cri.StartContainerRequest, b"\x0a\x02a\xff").container_id == "a\ufffd"


def test_an_empty_message_is_there_and_a_missing_one_is_not() -> None:
    assert betterproto.serialized_on_wire(read(cri.UpdateContainerResourcesRequest, b"\x12\x00").linux)
    assert not betterproto.serialized_on_wire(read(cri.UpdateContainerResourcesRequest, b"").linux)


READERS = re.compile(r"text|number|raw|raws|message|messages|texts|mapping|has|edited")


def _digits(file: Path) -> list[str]:
    """Return the places of *file* where a field is named by its number."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        numbers = [arg for arg in node.args if isinstance(arg, ast.Constant) and type(arg.value) is int]
        keys = [key for arg in node.args if isinstance(arg, ast.Dict) for key in arg.keys]
        numbers += [key for key in keys if isinstance(key, ast.Constant) and type(key.value) is int]
        if READERS.fullmatch(name) and numbers:
            found.append(f"{file.name}:{node.lineno}")
    return found


def test_no_field_is_named_by_its_number() -> None:
    root = Path(crirm.__file__).parent
    files = [file for file in root.rglob("*.py") if not {"proto", "slice"} & set(file.relative_to(root).parts)]
    assert [place for file in files for place in _digits(file)] == []


def test_the_slice_comes_without_services() -> None:
    assert not [name for name in vars(importlib.import_module("crirm.cri.slice")) if name.endswith(("Stub", "Base"))]
