"""The host's cgroups from the event loop: real threads, so real time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import trio

from crirm.daemon.enforcer.kernel import ThreadedKernel
from crirm.model.cpuset import CPUSet
from crirm.system.cgroup import Cgroups, Reading, Write
from crirm.system.cgroup_files import CgroupError
from crirm.system.cgroup_find import Place
from tests.unit.system.cgroup_rig import CONTAINER, POD, MadeV1

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Place(f"/{POD}", "c1")


async def test_reads_writes_and_errors_cross_the_threads(tmp_path: Path) -> None:
    host = MadeV1(tmp_path)
    host.make(CONTAINER)
    kernel = ThreadedKernel(Cgroups(tmp_path, host))
    assert await kernel.write(PLACE, Write(cpus=CPUSet.of(3)))
    (found,) = await kernel.read([PLACE])
    assert isinstance(found, Reading)
    assert found.cpus == CPUSet.of(3)
    with pytest.raises(CgroupError):
        await kernel.write(PLACE, Write(cpus=CPUSet.of(9)))


async def test_writes_that_hang_hold_up_neither_reads_nor_the_end(tmp_path: Path) -> None:
    """As one does that makes the kernel move much memory."""
    host = MadeV1(tmp_path)
    host.make(CONTAINER)
    kernel = ThreadedKernel(Cgroups(tmp_path, host))
    begun, go_on, write = trio.Semaphore(0), threading.Event(), host.write

    def hang(path: Path, value: str) -> None:
        trio.from_thread.run_sync(begun.release)
        go_on.wait()
        write(path, value)

    host.write = hang  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(kernel.write, PLACE, Write(cpus=CPUSet.of(3)))
            await begun.acquire()
        with trio.fail_after(10):
            assert len(await kernel.read([PLACE])) == 1
        nursery.cancel_scope.cancel()
    assert host.log == []
    go_on.set()
