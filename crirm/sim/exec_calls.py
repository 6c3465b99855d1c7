"""The calls that run commands in containers."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, assert_never

from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime.v1 import (
    AttachRequest,
    AttachResponse,
    ExecRequest,
    ExecResponse,
    ExecSyncRequest,
    ExecSyncResponse,
)
from crirm.sim.call_base import CallBase
from crirm.sim.index import quoted
from crirm.sim.model import state_name
from crirm.sim.programs import find_program, missing_program
from crirm.sim.shell import Say, Sleep
from crirm.sim.waiting import sleep

if TYPE_CHECKING:
    from collections.abc import Generator

    from crirm.sim.containers import Record
    from crirm.sim.shell import Step

MOST_OUTPUT_BYTES = 16 << 20
"""Of each stream of ExecSync; the rest is dropped, as in containerd."""


class ExecCalls(CallBase):
    """asyncio-flavoured handlers."""

    async def exec_sync(self, request: ExecSyncRequest) -> ExecSyncResponse:
        """Run a command and wait for its end."""
        during = "failed to exec in container: "
        prefix = request.container_id
        record = self.model.containers.get(prefix, f"{during}failed to find container {quoted(prefix)} in store")
        _refuse_unless_running(record, during)
        program = find_program(request.cmd)
        if program is None:
            reason = "args must not be empty"
            if request.cmd:
                reason = f"unable to start container process: {missing_program(request.cmd[0])}"
            begin = f"{during}failed to start exec {quoted(secrets.token_hex(32))}: "
            raise GRPCError(Status.UNKNOWN, f"{begin}OCI runtime exec failed: exec failed: {reason}")
        return await _run(program.steps, request.timeout, during)

    async def exec(self, request: ExecRequest) -> ExecResponse:
        """Return the URL of a stream to a command that is still to be run."""
        prefix = request.container_id
        record = self.model.containers.get(prefix, f"failed to find container {quoted(prefix)} in store")
        _refuse_unless_running(record)
        _refuse_bad_streams(request)
        return ExecResponse(self.tokens.url("exec", request))

    async def attach(self, request: AttachRequest) -> AttachResponse:
        """Return the URL of a stream to the process of a container."""
        record = self.model.containers.get(request.container_id, "failed to find container in store")
        _refuse_unless_running(record)
        _refuse_bad_streams(request)
        return AttachResponse(self.tokens.url("attach", request))


def _refuse_unless_running(record: Record, during: str = "") -> None:
    if not record.is_running:
        raise GRPCError(Status.UNKNOWN, f"{during}container is in {state_name(record)} state")


def _refuse_bad_streams(request: ExecRequest | AttachRequest) -> None:
    if request.tty and request.stderr:
        raise GRPCError(Status.INVALID_ARGUMENT, "tty and stderr cannot both be true")
    if not (request.stdin or request.stdout or request.stderr):
        raise GRPCError(Status.INVALID_ARGUMENT, "one of stdin, stdout, or stderr must be set")


async def _run(steps: Generator[Step, None, int], timeout_s: int, during: str) -> ExecSyncResponse:
    """asyncio-flavoured: run *steps* to their end, or to *timeout_s*, 0 for none."""
    remaining_s = float(timeout_s or "inf")
    output = {False: bytearray(), True: bytearray()}
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return ExecSyncResponse(stdout=bytes(output[False]), stderr=bytes(output[True]), exit_code=end.value)
        match step:
            case Say():
                room = MOST_OUTPUT_BYTES - len(output[step.is_error])
                output[step.is_error] += step.data[:room]
            case Sleep():
                await sleep(min(step.seconds, remaining_s))
                remaining_s -= step.seconds
                if remaining_s <= 0:
                    reason = f"timeout {duration_text(timeout_s)} exceeded: context deadline exceeded"
                    raise GRPCError(Status.DEADLINE_EXCEEDED, during + reason)
            case _:
                assert_never(step)


def duration_text(seconds: int) -> str:
    """Return *seconds* as Go prints a duration: ``1m30s``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
