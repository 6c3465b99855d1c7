"""The owner of "which node decides": the only place that knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from crirm.daemon.node import DecidingNode
    from crirm.daemon.relay.runtime_info import RuntimeInfo


@attrs.define(eq=False)
class Decider:
    """The node that decides, or None while nothing is placed; users ask here each time.

    Args:
        node: takes part in calls; None: all calls are relayed.
        changing: held while the configuration, the machine or the overrides change.
    """

    node: DecidingNode | None = None
    changing: trio.Lock = attrs.field(factory=trio.Lock)

    def who(self) -> DecidingNode | None:
        """Return the node that decides now."""
        return self.node

    async def on_up(self, info: RuntimeInfo) -> None:
        """Synchronise the node with the runtime before calls pass; for ``Link``."""
        if self.node is not None:
            await self.node.on_up(info)
