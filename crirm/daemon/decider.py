"""Who decides about containers: the one place that knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from crirm.daemon.node import DecidingNode
    from crirm.daemon.relay.runtime_info import RuntimeInfo


@attrs.define(eq=False)
class Decider:
    """The node that decides, or nobody while nothing is placed; whoever wants to know asks here each time.

    Args:
        node: takes part in calls from now on; None: calls are relayed.
        changing: held during any change of who decides, or how: another configuration, machine or overrides.
    """

    node: DecidingNode | None = None
    changing: trio.Lock = attrs.field(factory=trio.Lock)

    def who(self) -> DecidingNode | None:
        """Return the node that decides right now."""
        return self.node

    async def on_up(self, info: RuntimeInfo) -> None:
        """Let the node learn what the runtime has before calls pass; for ``Link``."""
        if self.node is not None:
            await self.node.on_up(info)
