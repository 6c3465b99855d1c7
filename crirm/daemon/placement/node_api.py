"""What those who take part in calls need of the node that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.intake import Intake
    from crirm.model.workload import ContainerKey, Pod, PodId
    from crirm.rpc.held import Held


class Node(Protocol):
    """What participants work with: the daemon's engine and its view of requests."""

    engine: Engine
    intake: Intake

    @property
    def unkept(self) -> str:
        """Why nothing may be granted now; empty where it may."""

    def when_kept(self, then: Callable[[], None], otherwise: Callable[[str], None]) -> None:
        """Call *then*, now or soon, when what was decided so far survives the death of this process.

        Where it does not and has to, *otherwise* is called, with the reason.
        """

    def before_resize(self, key: ContainerKey, then: Callable[[], None]) -> None:
        """Call *then*, now or soon, when nobody else may be on the CPUs that container *key* is to have."""

    def before_start(self, key: ContainerKey, then: Callable[[], None]) -> None:
        """Call *then*, now or soon, when container *key* may be started; `started` has to follow."""

    def started(self, key: ContainerKey) -> None:
        """Hear that the start of container *key* has been answered, or is given up."""

    def look(self, again: Callable[[], None], held: Held) -> bool:
        """Have *again* called once the runtime was asked what has ended; False where nothing can have."""

    def meet(self, pod: PodId, described: Pod | None, again: Callable[[], None], held: Held) -> None:
        """Have *again* called once the runtime was asked about a pod that is not known; see ``meeting``."""

    def observed(self, method: str, answer: bytes) -> None:
        """Take note of an answer of the runtime's."""
