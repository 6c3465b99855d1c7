"""Messages read by number and edited in place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.cri.message import MAX_FIELDS, MalformedError, Message, edited
from crirm.cri.proto.runtime import v1

_MAPS = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)
_UNKNOWN = st.sampled_from([b"", b"\xf8\x3f\x07", b"\xfa\x3f\x03abc", b"\xf9\x3f" + b"\1" * 8, b"\xfd\x3f" + b"\2" * 4])


@st.composite
def creates(draw: st.DrawFn) -> tuple[v1.CreateContainerRequest, bytes]:
    """A CreateContainerRequest, and its bytes with fields of a later version at three depths."""
    resources = v1.LinuxContainerResources(
        cpu_quota=draw(st.integers(-1, 10**6)),
        cpu_shares=draw(st.integers(0, 262144)),
        cpuset_cpus=draw(st.sampled_from(["", "0-3", "1,5"])),
    )
    linux = bytes(
        v1.LinuxContainerConfig(resources=v1.LinuxContainerResources().parse(bytes(resources) + draw(_UNKNOWN)))
    )
    config = v1.ContainerConfig(
        metadata=v1.ContainerMetadata(name=draw(st.text(max_size=5)), attempt=draw(st.integers(0, 9))),
        labels=draw(_MAPS),
        annotations=draw(_MAPS),
        linux=v1.LinuxContainerConfig().parse(linux + draw(_UNKNOWN)),
    )
    request = v1.CreateContainerRequest(
        pod_sandbox_id=draw(st.text(max_size=5)),
        config=v1.ContainerConfig().parse(bytes(config) + draw(_UNKNOWN)),
        sandbox_config=v1.PodSandboxConfig(hostname="h"),
    )
    return request, bytes(request) + draw(_UNKNOWN)


@given(creates())
def test_fields_read_as_the_generated_code_reads_them(case: tuple[v1.CreateContainerRequest, bytes]) -> None:
    expected, data = case
    message = Message(data)
    config = message.message(2)
    assert expected.pod_sandbox_id == message.text(1)
    assert (expected.config.metadata.name, expected.config.metadata.attempt) == (
        config.message(1).text(1),
        config.message(1).number(2),
    )
    assert (expected.config.labels, expected.config.annotations) == (config.mapping(9), config.mapping(10))
    resources = config.message(15).message(1)
    assert expected.config.linux.resources.cpu_quota == resources.number(2)
    assert expected.config.linux.resources.cpuset_cpus == resources.text(6)


@given(creates(), st.integers(2, 262144), st.sampled_from(["", "0", "0-1023"]))
def test_an_edit_changes_what_it_names_and_nothing_else(
    case: tuple[v1.CreateContainerRequest, bytes], shares: int, cpus: str
) -> None:
    _, data = case
    changed = edited(data, (2, 15, 1), {3: shares, 6: cpus})
    expected = v1.CreateContainerRequest().parse(data)
    expected.config.linux.resources.cpu_shares = shares
    expected.config.linux.resources.cpuset_cpus = cpus
    assert v1.CreateContainerRequest().parse(changed).to_dict() == expected.to_dict()
    assert sorted(_unknown(v1.CreateContainerRequest().parse(changed))) == sorted(_unknown(expected))


def _unknown(message: v1.CreateContainerRequest) -> list[bytes]:
    parts = (message, message.config, message.config.linux, message.config.linux.resources)
    return [part._unknown_fields for part in parts]


@given(creates())
def test_an_edit_to_the_same_value_changes_no_byte(case: tuple[v1.CreateContainerRequest, bytes]) -> None:
    _, data = case
    once = edited(data, (2, 15, 1), {3: 77})
    assert once == edited(once, (2, 15, 1), {3: 77})


def test_a_nested_message_is_made_where_there_is_none() -> None:
    changed = v1.CreateContainerRequest().parse(edited(b"", (2, 15, 1), {6: "3"}))
    assert changed.config.linux.resources.cpuset_cpus == "3"


def test_the_last_of_several_counts_and_nested_ones_merge() -> None:
    data = bytes(v1.CreateContainerRequest(config=v1.ContainerConfig(log_path="a"), pod_sandbox_id="one"))
    data += bytes(v1.CreateContainerRequest(config=v1.ContainerConfig(working_dir="b"), pod_sandbox_id="two"))
    message = Message(data)
    assert message.text(1) == "two"
    assert [message.message(2).text(11), message.message(2).text(5)] == ["a", "b"]


@pytest.mark.parametrize("bad", [pytest.param(b"\x0a\x05ab", id="cut off"), pytest.param(b"\x00", id="field number 0")])
def test_garbage_is_refused(bad: bytes) -> None:
    with pytest.raises(MalformedError, match="at byte 0"):
        Message(bad)
    with pytest.raises(MalformedError, match="at byte 0"):
        edited(bad, (), {1: 1})


def test_negative_numbers_are_read_as_such() -> None:
    assert Message(bytes(v1.LinuxContainerResources(cpu_quota=-1))).number(2) == -1


def test_a_message_of_very_many_fields_is_refused() -> None:
    """A megabyte of empty fields would take half a second of the event loop."""
    with pytest.raises(MalformedError, match="fields"):
        Message(b"\x0a\x00" * (MAX_FIELDS + 1))
    assert len(Message(b"\x0a\x00" * MAX_FIELDS).texts(1)) == MAX_FIELDS
