from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from crirm.cri.dump_rules import Level
from crirm.cri.methods import METHODS
from crirm.cri.proto.runtime import v1
from crirm.daemon.dump.text import (
    LINES_BETWEEN_PAUSES,
    PASSTHROUGH,
    RELAYED,
    CallInfo,
    End,
    LeftOut,
    MethodDump,
    Record,
    Reply,
    RequestRecord,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON_S = 1767355200.5  # 2026-01-02 12:00:00.500 UTC
POD = v1.PodSandboxConfig(metadata=v1.PodSandboxMetadata(name="web-0", namespace="default"))


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def call(method: str, level: Level, kind: str = PASSTHROUGH, request: object = b"") -> CallInfo:
    plan = MethodDump(method, METHODS.get(("RuntimeService", method)), level, kind)
    return CallInfo(plan, 0.0, bytes(request))  # type: ignore[call-overload]


def asked(called: CallInfo) -> RequestRecord:
    assert called.request is not None
    return RequestRecord(called, NOON_S, called.request)


def dumped(*records: Record) -> str:
    shown = [text(record, show_secrets=False, pause=lambda: None) for record in records]
    return "".join(one.for_file() for one in shown if one)


def test_a_call_at_full() -> None:
    run = call("RunPodSandbox", Level.FULL, request=v1.RunPodSandboxRequest(config=POD))
    assert dumped(asked(run), Reply(run, 1.25, bytes(v1.RunPodSandboxResponse("p1"))), End(run, 1.26, 0, "", 1)) == (
        "[2026-Jan-02 12:00:00.500] web-0 RunPodSandbox => (passthrough) REQUEST\n"
        "[2026-Jan-02 12:00:00.500] web-0 RunPodSandbox =>    config:\n"
        "[2026-Jan-02 12:00:00.500] web-0 RunPodSandbox =>      metadata:\n"
        "[2026-Jan-02 12:00:00.500] web-0 RunPodSandbox =>        name: web-0\n"
        "[2026-Jan-02 12:00:00.500] web-0 RunPodSandbox =>        namespace: default\n"
        "[               +1.250000] web-0 RunPodSandbox <= (passthrough) REPLY pod_sandbox_id: p1\n"
    )


def test_a_call_at_name() -> None:
    stop = call("StopContainer", Level.NAME, "intercepted", v1.StopContainerRequest("0123456789abcdef"))
    line = "[               +0.002000] 0123456789abc StopContainer <= (intercepted) REQUEST\n"
    assert dumped(End(stop, 0.002, 0, "", 1)) == line


FAILED_AT_NAME = "[               +0.500000] p1 StopPodSandbox <= (passthrough) FAILED: NOT_FOUND: no such sandbox\n"
FAILED_AT_FULL = (
    "[2026-Jan-02 12:00:00.500] p1 StopPodSandbox => (passthrough) REQUEST pod_sandbox_id: p1\n"
    "[               +0.500000] p1 StopPodSandbox <= (passthrough) FAILED\n"
    "[               +0.500000] p1 StopPodSandbox <=    NOT_FOUND: no such sandbox\n"
)


@pytest.mark.parametrize(("level", "expected"), [(Level.NAME, FAILED_AT_NAME), (Level.FULL, FAILED_AT_FULL)])
def test_a_call_that_fails(level: Level, expected: str) -> None:
    stop = call("StopPodSandbox", level, request=v1.StopPodSandboxRequest("p1"))
    request = [asked(stop)] if level is Level.FULL else []
    assert dumped(*request, End(stop, 0.5, 5, "no such sandbox", 0)) == expected
    failed = text(End(stop, 0.5, 5, "no such sandbox", 0), show_secrets=False, pause=lambda: None)
    assert failed is not None
    assert failed.failed


def test_a_failure_without_name_or_message() -> None:
    shown = dumped(End(call("StopPodSandbox", Level.NAME), 0.5, 77, "", 0))
    assert shown.endswith("StopPodSandbox <= (passthrough) FAILED: code 77: no message\n")


@pytest.mark.parametrize(
    ("level", "contents"),
    [pytest.param(Level.FULL, [" container_id: a", " container_id: b"], id="full"), (Level.NAME, ["", ""])],
)
def test_every_reply_of_a_stream_is_shown_and_its_end(level: Level, contents: list[str]) -> None:
    events = call("GetContainerEvents", level, RELAYED)
    replies = [Reply(events, 1.0, bytes(v1.ContainerEventResponse(container_id=name))) for name in ("a", "b")]
    lines = dumped(*replies, End(events, 3.0, 0, "", 2)).splitlines()
    header = "GetContainerEvents <= (relayed)"
    assert [line[27:] for line in lines] == [
        *(f"{header} REPLY{content}" for content in contents),
        f"{header} END, 2 replies",
    ]


def test_a_method_that_crirm_does_not_know_is_shown_by_number() -> None:
    future = call("NotYetKnown", Level.FULL, request=b"\x08\x05")
    assert dumped(asked(future)).endswith(" NotYetKnown => (passthrough) REQUEST 1 (varint): 5\n")


def test_what_was_left_out_is_said() -> None:
    shown = text(LeftOut(3), show_secrets=False, pause=lambda: None)
    assert shown is not None
    assert (shown.header, shown.failed) == ("3 messages not dumped: they arrived too fast", True)


def test_names_cannot_forge_lines() -> None:
    config = v1.PodSandboxConfig(metadata=v1.PodSandboxMetadata(name="a\nb"))
    run = call("RunPodSandbox", Level.FULL, request=v1.RunPodSandboxRequest(config=config))
    lines = dumped(asked(run)).splitlines()
    assert len(lines) == 4
    assert all('"a\\nb" RunPodSandbox =>' in line for line in lines)


def test_a_long_message_is_interrupted_for_others() -> None:
    listed = v1.ListContainersResponse([v1.Container(f"c{number}") for number in range(LINES_BETWEEN_PAUSES * 3)])
    pauses: list[None] = []
    text(
        Reply(call("ListContainers", Level.FULL), 1.0, bytes(listed)),
        show_secrets=False,
        pause=lambda: pauses.append(None),
    )
    assert len(pauses) == 3


def test_a_call_that_the_runtime_does_not_have_is_no_warning() -> None:
    """Newer kubelets ask older runtimes for RuntimeConfig, and go on without."""
    call = CallInfo(MethodDump("RuntimeConfig", None, Level.FULL, "passthrough"), 0.0)
    shown = text(End(call, 0.5, 12, "unknown method", 0), show_secrets=False, pause=lambda: None)
    assert shown is not None
    assert not shown.failed
    assert "FAILED" in shown.header
