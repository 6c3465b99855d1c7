"""The control socket: whoever asks cannot disturb the daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from crirm.daemon.control import QuestionError, control_listener, serve_control

if TYPE_CHECKING:
    from pathlib import Path

STATUS = b'{"ask": "status"}\n'


@attrs.define
class FakeAnswers:
    """Answers when it is let, with what it is told to."""

    may: trio.Event = attrs.field(factory=trio.Event)
    fault: Exception | None = None
    asked: int = 0

    async def answer(self, question: Any) -> dict[str, Any]:
        self.asked += 1
        await self.may.wait()
        if self.fault is not None:
            raise self.fault
        return {"asked": question}


async def serve(nursery: trio.Nursery, path: Path, answers: Any) -> None:
    async def listen(task_status: trio.TaskStatus[None]) -> None:
        with control_listener(str(path)) as sock:
            task_status.started()
            await serve_control(sock, answers)

    await nursery.start(listen)


async def ask(path: Path, question: bytes) -> Any:
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(question)
        return json.loads(b"".join([part async for part in stream]))


async def test_a_caller_that_hangs_up_before_the_answer_ends_nothing(nursery: trio.Nursery, tmp_path: Path) -> None:
    path, answers = tmp_path / "s", FakeAnswers()
    await serve(nursery, path, answers)
    stream = await trio.open_unix_socket(path)
    await stream.send_all(STATUS)
    await trio.testing.wait_all_tasks_blocked(0.01)
    await stream.aclose()
    answers.may.set()
    assert await ask(path, STATUS) == {"asked": {"ask": "status"}}
    assert answers.asked == 2


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        pytest.param(QuestionError("no such container"), "no such container", id="a reason for people"),
        pytest.param(KeyError("x"), "internal error", id="a bug"),
    ],
)
async def test_what_goes_wrong_is_the_answer(
    nursery: trio.Nursery, fault: Exception, told: str, tmp_path: Path
) -> None:
    answers = FakeAnswers(fault=fault)
    answers.may.set()
    await serve(nursery, tmp_path / "s", answers)
    assert told in (await ask(tmp_path / "s", STATUS))["error"]


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(b"status\n", id="no JSON"),
        pytest.param(b"\xff\xfe\n", id="no text"),
        pytest.param(b"[" * 200_000 + b"\n", id="nested without end"),
    ],
)
async def test_nonsense_is_answered(nursery: trio.Nursery, question: bytes, tmp_path: Path) -> None:
    await serve(nursery, tmp_path / "s", FakeAnswers())
    assert (await ask(tmp_path / "s", question))["error"]
