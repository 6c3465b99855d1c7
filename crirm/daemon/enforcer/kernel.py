"""The host's cgroups for the event loop: calls that block are made in a few worker threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import attrs
import trio

from crirm.system.cgroup import Cgroups  # noqa: TC001 - attrs resolves field types at run time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crirm.system.cgroup import Reading, Write
    from crirm.system.cgroup_files import CgroupError
    from crirm.system.cgroup_find import Place

_WRITERS: Final = 2  # one may be held up in the kernel while it moves memory


class Kernel(Protocol):
    """What the enforcer needs of the host's cgroups."""

    async def read(self, places: Sequence[Place]) -> Sequence[Reading | CgroupError | None]:
        """Return what each container has; None for one without a cgroup."""

    async def changed(self, part: int, parts: int) -> Sequence[str]:
        """Return ids of containers that are not as they were read last, of one of so many parts of them all."""

    async def write(self, place: Place, change: Write) -> bool:
        """Give a container what it is to have; False if it has no cgroup.

        Raises:
            CgroupError: not all of it was possible.
        """


@attrs.frozen
class ThreadedKernel:
    """The real one. A thread that hangs in the kernel is left behind when the daemon ends."""

    cgroups: Cgroups
    _readers: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _writers: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(_WRITERS), init=False)

    async def read(self, places: Sequence[Place]) -> Sequence[Reading | CgroupError | None]:
        """Return what each container has; None for one without a cgroup."""
        return await trio.to_thread.run_sync(self.cgroups.read, places, abandon_on_cancel=True, limiter=self._readers)

    async def changed(self, part: int, parts: int) -> Sequence[str]:
        """Return ids of containers that are not as they were read last, of one of so many parts of them all."""
        return await trio.to_thread.run_sync(
            self.cgroups.changed, part, parts, abandon_on_cancel=True, limiter=self._readers
        )

    async def write(self, place: Place, change: Write) -> bool:
        """Give a container what it is to have; False if it has no cgroup.

        Raises:
            CgroupError: not all of it was possible.
        """
        return await trio.to_thread.run_sync(
            self.cgroups.write, place, change, abandon_on_cancel=True, limiter=self._writers
        )
