"""The deciding node, as handlers and observers of calls see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter

    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.intake import Intake
    from crirm.model.workload import ContainerKey, Pod, PodId


class Node(Protocol):
    """The engine, the view of requests, and everything on which calls may wait."""

    engine: Engine
    intake: Intake
    watched: Counter[str]
    """How many calls of each state-reporting method are being observed."""

    @property
    def unkept(self) -> str:
        """Why nothing may be assigned now; empty if it may."""

    @property
    def settled(self) -> bool:
        """Whether the runtime has confirmed all updates, so that no start has to wait."""

    async def kept(self) -> None:
        """Wait until all decisions so far survive the death of this process.

        Raises:
            CallRefusedError: state cannot be saved, and must be.
        """

    async def clear(self, key: ContainerKey) -> None:
        """Wait until no other container may be on the CPUs of container *key*, and no update of it is in flight.

        The wait is bounded; late updates are logged.
        """

    def begin_resize(self, key: ContainerKey) -> None:
        """Note that the kubelet's resize of container *key* is sent to the runtime."""

    def begin_start(self, key: ContainerKey) -> None:
        """Note that container *key* is being started: it is not updated until `started` follows."""

    def started(self, key: ContainerKey) -> None:
        """Note that the start of container *key* was answered or given up."""

    def may_have_ended(self) -> bool:
        """Whether a container may have exited unnoticed."""

    async def look(self) -> None:
        """Wait until exited containers were listed."""

    async def meet(self, pod: PodId, described: Pod | None) -> None:
        """Wait until the runtime was asked about an unknown pod; see ``meeting``."""

    def observed(self, method: str, answer: bytes) -> None:
        """Process a reply of the runtime."""
