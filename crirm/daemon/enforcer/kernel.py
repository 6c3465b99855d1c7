"""The host's cgroups for the event loop: blocking calls run in a few worker threads."""

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

_WRITERS: Final = 2  # one may block in the kernel while it migrates memory


class Kernel(Protocol):
    """The host's cgroups, as far as the enforcer needs them."""

    async def read(self, places: Sequence[Place]) -> Sequence[Reading | CgroupError | None]:
        """Return each container's settings; None for one without a cgroup."""

    async def changed(self, part: int, parts: int) -> Sequence[str]:
        """Return the ids of containers that changed since they were last read, in one of *parts* parts."""

    async def write(self, place: Place, change: Write) -> bool:
        """Write a container's settings; False if it has no cgroup.

        Raises:
            CgroupError: not all could be written.
        """


@attrs.frozen
class ThreadedKernel:
    """The real host. A thread that hangs in the kernel is abandoned when the daemon stops."""

    cgroups: Cgroups
    _readers: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _writers: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(_WRITERS), init=False)

    async def read(self, places: Sequence[Place]) -> Sequence[Reading | CgroupError | None]:
        """Return each container's settings; None for one without a cgroup."""
        return await trio.to_thread.run_sync(self.cgroups.read, places, abandon_on_cancel=True, limiter=self._readers)

    async def changed(self, part: int, parts: int) -> Sequence[str]:
        """Return the ids of containers that changed since they were last read, in one of *parts* parts."""
        return await trio.to_thread.run_sync(
            self.cgroups.changed, part, parts, abandon_on_cancel=True, limiter=self._readers
        )

    async def write(self, place: Place, change: Write) -> bool:
        """Write a container's settings; False if it has no cgroup.

        Raises:
            CgroupError: not all could be written.
        """
        return await trio.to_thread.run_sync(
            self.cgroups.write, place, change, abandon_on_cancel=True, limiter=self._writers
        )
