"""What those who handle and observe calls need of the node that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter

    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.intake import Intake
    from crirm.model.workload import ContainerKey, Pod, PodId


class Node(Protocol):
    """The daemon's engine, its view of requests, and everything that calls may wait for."""

    engine: Engine
    intake: Intake
    watched: Counter[str]
    """How many calls of each method that tells states are being observed."""

    @property
    def unkept(self) -> str:
        """Why nothing may be granted now; empty where it may."""

    @property
    def settled(self) -> bool:
        """Whether the runtime has confirmed all that was decided, so that no start has to wait."""

    async def kept(self) -> None:
        """Wait until what was decided so far survives the death of this process.

        Raises:
            CallRefusedError: it does not, and has to.
        """

    async def clear(self, key: ContainerKey) -> None:
        """Wait until nobody else may be on the CPUs that container *key* is to have, and no update of it is under way.

        That is bounded; who was late is told of.
        """

    def begin_resize(self, key: ContainerKey) -> None:
        """Hear that the kubelet's resize of container *key* goes to the runtime now."""

    def begin_start(self, key: ContainerKey) -> None:
        """Hear that container *key* is being started: it is not updated until `started` follows."""

    def started(self, key: ContainerKey) -> None:
        """Hear that the start of container *key* has been answered, or is given up."""

    def may_have_ended(self) -> bool:
        """Tell whether anything runs of which the end may not be known yet."""

    async def look(self) -> None:
        """Wait until the runtime was asked what has ended."""

    async def meet(self, pod: PodId, described: Pod | None) -> None:
        """Wait until the runtime was asked about a pod that is not known; see ``meeting``."""

    def observed(self, method: str, answer: bytes) -> None:
        """Take note of an answer of the runtime's."""
