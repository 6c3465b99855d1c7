"""Calls that end before they are answered, and messages larger than the usual limits, on runtimes that do real work."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from crirm.cri.proto.runtime import v1
from tests.conformance.cri import CANCELLED, DEADLINE_EXCEEDED, UNKNOWN, World, wait_until

Outcome = dict[str, Any]

_MIB = 1 << 20


def cancelled_exec(world: World) -> Outcome:
    """A cancelled ExecSync ends the command that it started."""
    with world.pod("cancel") as pod:
        container = pod.run("main")
        command = ["/bin/sleep", _unlike_others(1)]
        call = world.cri.start("ExecSync", v1.ExecSyncRequest(container_id=container, cmd=command))
        if world.has_processes:
            wait_until(lambda: _runs(command))
        # containerd loses track of a command that is cancelled in the moment of its start, and never ends it.
        time.sleep(0.3)
        call.cancel()
        code = call.finish().code
        wait_until(lambda: not _runs(command))
        after = world.outcome("ExecSync", v1.ExecSyncRequest(container_id=container, cmd=["/bin/echo", "fine"]))
    assert code == CANCELLED
    return {"code": code, "after": after}


def overdue_exec(world: World) -> Outcome:
    """The caller's deadline ends an ExecSync that has no timeout of its own, and the command with it."""
    with world.pod("overdue") as pod:
        container = pod.run("main")
        command = ["/bin/sleep", _unlike_others(2)]
        request = v1.ExecSyncRequest(container_id=container, cmd=command)
        began = time.monotonic()
        reply = world.cri.reply("ExecSync", request, timeout_s=1.0)
        took_s = time.monotonic() - began
        wait_until(lambda: not _runs(command))
    # containerd 1.6 may be quicker to report that it could not kill the command in no time, with the same cause.
    assert reply.code == DEADLINE_EXCEEDED or (reply.code == UNKNOWN and "deadline exceeded" in reply.text), reply
    assert took_s < 5
    return {"overdue": True}


def large_request(world: World) -> Outcome:
    """20 MiB to the runtime."""
    request = v1.VersionRequest(version="v" * (20 * _MIB))
    return {"answer": world.outcome("Version", request)}


def large_answer(world: World) -> Outcome:
    """20 MiB from the runtime: containers with annotations of 5 MiB each."""
    with world.pod("large") as pod:
        for number in range(4):
            config = world.container_config(f"large-{number}")
            config.annotations = {"large": str(number) * (5 * _MIB)}
            request = v1.CreateContainerRequest(pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config)
            world.cri.call("CreateContainer", request, v1.CreateContainerResponse)
        filter_ = v1.ContainerFilter(pod_sandbox_id=pod.id)
        reply = world.cri.reply("ListContainers", v1.ListContainersRequest(filter=filter_))
    assert len(reply.message) > 20 * _MIB
    listed = v1.ListContainersResponse().parse(reply.message).containers
    found = sorted(item.annotations["large"] for item in listed)
    assert found == [str(number) * (5 * _MIB) for number in range(4)]
    return {"code": reply.code, "containers": len(listed)}


def large_output(world: World) -> Outcome:
    """An ExecSync whose output passes 16 MiB, where containerd's newer releases cut it."""
    with world.pod("output") as pod:
        container = pod.run("main")
        command = ["/bin/head", "-c", str(20 * _MIB), "/dev/zero"]
        reply = world.cri.reply("ExecSync", v1.ExecSyncRequest(container_id=container, cmd=command))
    response = v1.ExecSyncResponse().parse(reply.message)
    assert not response.stdout.strip(b"\0")
    return {"code": reply.code, "length": len(response.stdout), "exit code": response.exit_code}


def _unlike_others(number: int) -> str:
    """Seconds to sleep that no other test run on this machine asks for."""
    return str(number * 10_000_000 + os.getpid())


def _runs(command: list[str]) -> bool:
    """Whether *command* is a process of this machine: those of containers are visible to root."""
    wanted = "\0".join((*command, "")).encode()
    return any(_command_line(entry) == wanted for entry in Path("/proc").glob("[0-9]*/cmdline"))


def _command_line(entry: Path) -> bytes:
    try:
        return entry.read_bytes()
    except OSError:  # it ended meanwhile
        return b""


SCENARIOS = (cancelled_exec, overdue_exec, large_request, large_answer, large_output)
