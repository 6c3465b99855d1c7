"""What all participants have in common: they keep the request, and learn from a good answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from grpclib.const import Status

from crirm.cri import decode
from crirm.model.workload import ContainerId, ContainerKey, PodId

if TYPE_CHECKING:
    from crirm.daemon.placement.node_api import Node
    from crirm.model.events import Event
    from crirm.rpc.held import Answer, Held

_GONE = (Status.OK.value, Status.NOT_FOUND.value)  # both mean that it is not there any more


@attrs.define
class Participant:
    """Passes everything on; the others differ where they must."""

    node: Node
    message: bytes = b""

    def request(self, message: bytes, held: Held) -> None:
        """Keep the request for when the answer is there, and pass it on."""
        self.message = message
        held.forward(message)

    def reply(self, answer: Answer) -> bytes | None:
        """Turn a good answer into an event."""
        if not answer.certain:
            self.node.intake.doubt()
        elif answer.status in _GONE and (event := self.event(answer)):
            self.node.engine.apply(event)
        return None

    def abandoned(self) -> None:
        """Nothing was reserved."""

    def give_up(self, held: Held, why: str) -> None:
        """Undo what was decided, since it cannot be kept."""
        self.abandoned()
        held.refuse(Status.UNAVAILABLE, why)

    def event(self, answer: Answer) -> Event | None:
        """Return what the good *answer* means."""
        raise NotImplementedError

    def pod(self) -> PodId:
        """Return the pod sandbox that the request names."""
        return self.node.intake.pod_of(PodId(decode.first_text(self.message)))

    def key(self) -> ContainerKey | None:
        """Return the container that the request names, None when crirm does not know it."""
        return self.node.intake.key_of(ContainerId(decode.first_text(self.message)))

    def ended(self) -> ContainerKey | None:
        """Return the same of one that is no more; a list that is under way does not bring one back that is unknown."""
        self.node.engine.touch((decode.first_text(self.message),))
        return self.key()
