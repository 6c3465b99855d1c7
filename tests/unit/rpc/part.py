"""An interceptor for tests of held calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from tests.unit.rpc.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.held import Answer, Held


@attrs.define
class Part:
    """An interceptor that does as it is told and notes what it is shown."""

    patient: bool = False
    forwarded: bytes | None = None
    replied: bytes | None = None
    held: Held | None = None
    seen: list[object] = attrs.field(factory=list)

    def request(self, message: bytes, held: Held) -> None:
        self.seen.append(message)
        self.held = held
        if not self.patient:
            held.forward(self.forwarded if self.forwarded is not None else message)

    def reply(self, answer: Answer, then: Callable[[bytes | None], None]) -> None:
        self.seen.append(answer)
        then(self.replied)

    def abandoned(self) -> None:
        self.seen.append("abandoned")


def rig_with(part: Part, piece_bytes: int = 1 << 16) -> Rig:
    rig = Rig(piece_bytes=piece_bytes)
    rig.interceptor = part
    return rig
