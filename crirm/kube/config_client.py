"""The client of the configuration interface, as in a node agent (``v1.Config``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.kube.calls import Peer
from crirm.kube.proto.v1 import SetAdjustmentReply, SetAdjustmentRequest, SetConfigReply, SetConfigRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S: Final = 5.0


@attrs.frozen
class ConfigClient:
    """Calls the crirm whose configuration interface is at a Unix socket.

    Args:
        socket_path: absolute.
    """

    socket_path: str

    async def set_config(self, node_name: str, data: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> str:
        """Trio-flavoured: send a configuration; returns why it was rejected, or an empty string.

        Args:
            node_name: of the Kubernetes node.
            data: of a ConfigMap: section to YAML text.
            timeout_s: seconds.

        Raises:
            CallError: crirm does not answer; the configuration may be in use or not.
        """
        request = SetConfigRequest(node_name, dict(data))
        return (await self._peer.call("/v1.Config/SetConfig", request, SetConfigReply, timeout_s)).error

    async def set_adjustment(
        self, node_name: str, adjustments: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S
    ) -> dict[str, str]:
        """Trio-flavoured: have adjustments taken into use; returns what is wrong, by adjustment or container id.

        Args:
            node_name: of the Kubernetes node.
            adjustments: spec by name; all that there are.
            timeout_s: seconds.

        Raises:
            CallError: crirm does not answer; the adjustments may be in use or not.
        """
        request = SetAdjustmentRequest(node_name, json.dumps(adjustments))
        return (await self._peer.call("/v1.Config/SetAdjustment", request, SetAdjustmentReply, timeout_s)).errors

    @property
    def _peer(self) -> Peer:
        return Peer("crirm's configuration interface", self.socket_path)
