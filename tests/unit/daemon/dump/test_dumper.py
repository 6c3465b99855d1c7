from __future__ import annotations

import errno
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from structlog.testing import capture_logs

from crirm.cri.dump_rules import DumpRules, Level
from crirm.cri.proto.runtime import v1
from crirm.daemon.dump.dumper import REMEMBERED_PATHS, Dumper
from crirm.daemon.dump.queue import Queue
from crirm.daemon.dump.text import MOST_READ_BYTES, CallInfo, LeftOut, MethodDump, Record, RequestRecord
from crirm.errors import CrirmError
from crirm.logs import LogSettings, configure
from crirm.logs.record_file import RecordFile
from crirm.rpc.compression import Packed
from crirm.rpc.tap import Latency, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from structlog.typing import EventDict
    from trio.testing import MockClock

OK = Outcome(0, "", Latency(0, 0, 0))
NOT_FOUND = Outcome(5, "no such container", Latency(0, 0, 0))
SERVICE = "/runtime.v1.RuntimeService"
STOP = f"{SERVICE}/StopContainer"


def full_disk(_file: RecordFile, _data: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def record(number: int) -> RequestRecord:
    return RequestRecord(CallInfo(MethodDump("Version", None, Level.FULL, ""), 0.0), float(number), b"")


def numbers(batch: list[Record]) -> list[str]:
    return [f"-{r.records}" if isinstance(r, LeftOut) else str(int(getattr(r, "time_s", 0))) for r in batch]


def test_a_queue_counts_what_has_no_room_and_says_so_where_it_would_stand() -> None:
    queue = Queue(max_bytes=100, max_records=3)
    for number in range(5):
        queue.put(record(number), 1)
    assert len(queue) == 5
    assert numbers(queue.take(2, 10)) == ["0", "1"]
    queue.put(record(5), 1)
    assert numbers(queue.take(100, 10)) == ["2", "-2", "5"]
    assert queue.take(100, 10) == []


def test_a_queue_is_bounded_by_bytes_but_takes_one_message_of_any_size() -> None:
    queue = Queue(max_bytes=100, max_records=10)
    queue.put(record(0), 1000)
    queue.put(record(1), 1)
    assert numbers(queue.take(1, 10)) == ["0", "-1"]
    queue.put(record(2), 60)
    queue.put(record(3), 41)
    assert numbers(queue.take(1000, 10)) == ["2", "-1"]


async def test_a_queue_wakes_its_reader(autojump_clock: MockClock) -> None:
    queue = Queue(max_bytes=100, max_records=10)
    with trio.move_on_after(1) as nothing_yet:
        await queue.wait()
    assert nothing_yet.cancelled_caught
    queue.put(record(0), 1)
    await queue.wait()
    queue.take(1, 10)
    with trio.move_on_after(1) as nothing_left:
        await queue.wait()
    assert nothing_left.cancelled_caught


@asynccontextmanager
async def dumping(rules: str, **options: Any) -> AsyncIterator[Dumper]:
    """A dumper at work; on leaving it has written everything."""
    dumper = Dumper(DumpRules.parse(rules), **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(dumper.run)
        yield dumper
        nursery.cancel_scope.cancel()


def make_call(dumper: Dumper, path: str, request: object = b"", *replies: object, outcome: Outcome = OK) -> None:
    tap = dumper.open(path)
    assert tap is not None
    tap.request(bytes(request))  # type: ignore[call-overload]
    for reply in replies:
        tap.reply(bytes(reply))  # type: ignore[call-overload]
    tap.close(outcome)


def headers(entries: list[EventDict]) -> list[tuple[str, str]]:
    return [(entry["log_level"], entry["event"]) for entry in entries]


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        pytest.param("full:.*,off:Version", f"{SERVICE}/Version", id="a method that is off"),
        pytest.param("", STOP, id="no rules"),
        pytest.param("disable,full:.*", STOP, id="a dump that is off"),
        pytest.param("full:.*,debug", STOP, id="debug records of a source that is off"),
        pytest.param("count:.*", STOP, id="a method that is only counted"),
    ],
)
def test_calls_that_are_not_shown_are_not_watched(rules: str, path: str) -> None:
    dumper = Dumper(DumpRules.parse(rules))
    assert dumper.open(path) is None
    assert dumper.open(path) is None


async def test_the_log_gets_names_failures_as_warnings_and_messages_as_blocks() -> None:
    with capture_logs() as entries:
        async with dumping("name:Stop.*,full:Create.*") as dumper:
            make_call(dumper, STOP, v1.StopContainerRequest("c1"), v1.StopContainerResponse())
            make_call(dumper, STOP, v1.StopContainerRequest("c2"), outcome=NOT_FOUND)
            envs = v1.CreateContainerRequest(config=v1.ContainerConfig(envs=[v1.KeyValue("A", b"hunter2")]))
            make_call(dumper, f"{SERVICE}/CreateContainer", envs, v1.CreateContainerResponse("c3"))
    missing = "<missing pod metadata in request>:<missing container metadata in request>"
    assert headers(entries) == [
        ("info", "c1 StopContainer <= (passthrough) REQUEST"),
        ("warning", "c2 StopContainer <= (passthrough) FAILED: NOT_FOUND: no such container"),
        ("info", f"{missing} CreateContainer => (passthrough) REQUEST"),
        ("info", f"{missing} CreateContainer <= (passthrough) REPLY container_id: c3"),
    ]
    assert entries[2]["block"].text == "config:\n  envs:\n  - key: A\n    value: <masked, 7 bytes>"
    assert {entry["source"] for entry in entries} == {"message"}


async def test_secrets_and_interception_are_options() -> None:
    with capture_logs() as entries:
        async with dumping("full:*", show_secrets=True, intercepted={"StopContainer"}) as dumper:
            make_call(dumper, f"{SERVICE}/Status", b"", v1.StatusResponse(info={"k": "hunter2"}))
            make_call(dumper, STOP)
            make_call(dumper, f"{SERVICE}/GetContainerEvents", b"", b"", outcome=NOT_FOUND)
    assert entries[1]["block"].text == "info:\n  k: hunter2"
    assert [event for _level, event in headers(entries)[2:]] == [
        "StopContainer => (intercepted) REQUEST {}",
        "StopContainer <= (intercepted) END, 0 replies",
        "GetContainerEvents => (relayed) REQUEST {}",
        "GetContainerEvents <= (relayed) REPLY {}",
        "GetContainerEvents <= (relayed) FAILED",
    ]


async def test_every_reply_of_a_stream_is_named() -> None:
    with capture_logs() as entries:
        async with dumping("name:*") as dumper:
            make_call(dumper, f"{SERVICE}/GetContainerEvents", b"", v1.ContainerEventResponse("c1"), b"\xff")
    assert [event for _level, event in headers(entries)] == [
        "GetContainerEvents <= (relayed) REPLY",
        "GetContainerEvents <= (relayed) REPLY",
        "GetContainerEvents <= (relayed) END, 2 replies",
    ]


async def test_other_versions_and_other_apis() -> None:
    with capture_logs() as entries:
        async with dumping("full:*") as dumper:
            make_call(dumper, "/runtime.v1alpha2.RuntimeService/StopContainer", v1.StopContainerRequest("c1"), b"")
            make_call(dumper, "/runtime.v1.RuntimeService/Future", b"\x0a\x01x", b"")
            make_call(dumper, "/grpc.health.v1.Health/Check", b"\x0a\x01x", b"")
    assert [event for _level, event in headers(entries)] == [
        "c1 StopContainer => (passthrough) REQUEST container_id: c1",
        "c1 StopContainer <= (passthrough) REPLY {}",
        "Future => (passthrough) REQUEST 1 (1 bytes): x",
        "Future <= (passthrough) REPLY {}",
        "grpc.health.v1.Health/Check => (passthrough) REQUEST 1 (1 bytes): x",
        "grpc.health.v1.Health/Check <= (passthrough) REPLY {}",
    ]


async def test_the_file_begins_empty_and_gets_stamped_lines(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text("from an earlier run\n")
    with capture_logs() as entries:
        async with dumping("full:*", file=str(path)) as dumper:
            make_call(dumper, STOP, v1.StopContainerRequest("c1", 5), v1.StopContainerResponse())
    lines = path.read_text().splitlines()
    assert [line[27:] for line in lines] == [
        "c1 StopContainer => (passthrough) REQUEST",
        "c1 StopContainer =>    container_id: c1",
        "c1 StopContainer =>    timeout: 5",
        "c1 StopContainer <= (passthrough) REPLY {}",
    ]
    assert [line[25:27] for line in lines] == ["] "] * 4
    assert headers(entries)[0] == ("info", "dumping messages to a file as well")


async def test_a_file_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(CrirmError) as fault:
        await Dumper(DumpRules.parse("full:*"), file=str(tmp_path / "no" / "dump")).run()
    assert str(fault.value).startswith(f"{tmp_path}/no/dump: cannot open for writing: No such file or directory")


async def test_what_time_does_not_allow_at_the_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crirm.daemon.dump.dumper.LAST_WORDS_S", 0)
    with capture_logs() as entries:
        async with dumping("full:*") as dumper:
            make_call(dumper, STOP, b"", b"")
    assert headers(entries) == [("warning", "crirm stops before all dumped messages are written")]
    assert entries[0]["messages_left_out"] == 3


async def test_a_full_disk_is_told_once_and_the_log_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(tmp_path / "dump")
    monkeypatch.setattr(RecordFile, "_write_all", full_disk)
    with capture_logs() as entries:
        async with dumping("name:*", file=file) as dumper:
            make_call(dumper, STOP, b"", b"")
            make_call(dumper, STOP, b"", b"")
    shown = "StopContainer <= (passthrough) REQUEST"
    assert headers(entries)[1:] == [
        ("info", shown),
        ("warning", f"{file}: cannot write: No space left on device; will keep trying"),
        ("info", shown),
    ]


async def test_counted_calls_are_summed(autojump_clock: MockClock) -> None:
    with capture_logs() as entries:
        async with dumping("count:*", count_period_s=30) as dumper:
            for method in ("Version", "Version", "Status"):
                assert dumper.open(f"{SERVICE}/{method}") is None
            await trio.sleep(95)
            dumper.open(f"{SERVICE}/Exec")
    assert [{key: entry[key] for key in entry if key[0].isupper()} for entry in entries] == [
        {"Version": 2, "Status": 1},
        {"Exec": 1},  # the end comes before the next sum
    ]
    assert {entry["event"] for entry in entries} == {"calls since the last summary"}


@pytest.fixture
def message_debug() -> Iterator[None]:
    configure(LogSettings(debug={"message": True}))
    yield
    configure(LogSettings())


@pytest.mark.usefixtures("message_debug")
async def test_debug_dumps_are_debug_records() -> None:
    with capture_logs() as entries:
        async with dumping("debug,name:*") as dumper:
            make_call(dumper, STOP, b"", b"", outcome=NOT_FOUND)
    assert headers(entries) == [("debug", "StopContainer <= (passthrough) FAILED: NOT_FOUND: no such container")]


async def test_a_bug_in_showing_one_message_loses_that_message_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object, request: bytes) -> str:
        if request == b"bad":
            raise RuntimeError("bug")
        return "good"

    monkeypatch.setattr("crirm.daemon.dump.text.qualifier", broken)
    with capture_logs() as entries:
        async with dumping("name:*") as dumper:
            make_call(dumper, STOP, b"bad", b"")
            make_call(dumper, STOP, b"", b"")
    assert headers(entries) == [
        ("error", "could not format a message; this is a bug in crirm"),
        ("info", "good StopContainer <= (passthrough) REQUEST"),
    ]


@pytest.mark.parametrize(
    ("rules", "request_", "to_file", "here"),
    [
        pytest.param("name:*", b"", False, True, id="a line that needs no decoding is made where the event loop runs"),
        pytest.param("full:*", b"", False, False, id="messages are decoded in a worker thread"),
        pytest.param("name:*", b"", True, False, id="a file is waited for in a worker thread"),
        pytest.param("name:*", bytes(MOST_READ_BYTES + 1), False, False, id="a large request is read in one"),
        pytest.param("name:*", Packed.of(b"x", b"gzip"), False, False, id="a compressed request is unpacked in one"),
    ],
)
async def test_where_text_is_made(
    rules: str, request_: bytes, to_file: bool, here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()

    def noting(_: object, request: bytes) -> str:
        threads.add(threading.current_thread())
        return f"{len(request)} bytes"

    monkeypatch.setattr("crirm.daemon.dump.text.qualifier", noting)
    with capture_logs():
        async with dumping(rules, file=str(tmp_path / "dump") if to_file else "") as dumper:
            tap = dumper.open(STOP)
            assert tap is not None
            tap.request(request_)
            tap.close(OK)
    assert {thread is threading.current_thread() for thread in threads} == {here}


async def test_others_have_their_turns_while_many_lines_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crirm.daemon.dump.dumper.SLICE_S", 0.0)
    turns = []
    with capture_logs() as entries:
        async with dumping("name:*") as dumper:
            for _ in range(50):
                make_call(dumper, STOP, b"", b"")
            while len(entries) < 50:
                turns.append(len(entries))
                await trio.lowlevel.checkpoint()
    assert len(set(turns)) > 20


def test_made_up_paths_do_not_fill_the_memory() -> None:
    dumper = Dumper(DumpRules.parse("off:.*"))
    for number in range(REMEMBERED_PATHS + 10):
        dumper.open(f"/a.B/Method{number}")
    assert len(dumper._plans) == REMEMBERED_PATHS
