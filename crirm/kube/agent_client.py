"""Queries to the node agent, which talks to Kubernetes for crirm (``v1.Agent``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from crirm.kube.calls import CallError, Peer
from crirm.kube.proto.v1 import (
    GetNodeReply,
    GetNodeRequest,
    HealthCheckReply,
    HealthCheckRequest,
    JsonPatch,
    PatchNodeReply,
    PatchNodeRequest,
    UpdateNodeCapacityReply,
    UpdateNodeCapacityRequest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import betterproto

    M = TypeVar("M", bound=betterproto.Message)

DISABLED: Final = frozenset({"", "disabled"})
"""Values for "no agent" instead of a socket."""
TIMEOUT_S: Final = 5.0


class AgentError(CallError):
    """The node agent does not answer, or answers with an error."""


class AgentDisabledError(AgentError):
    """The node agent is disabled."""


@attrs.frozen
class Patch:
    """One operation of a JSON patch (RFC 6902) on the Node object.

    Args:
        op: ``add``, ``remove``, ``replace`` or ``test``.
        path: JSON pointer (RFC 6901), as ``/metadata/labels/example.com~1name``.
        value: anything that JSON can say; None with ``remove``.
    """

    op: str
    path: str
    value: Any = None


@attrs.frozen
class AgentClient:
    """Calls the node agent that listens on a Unix socket; each call has a connection of its own.

    Args:
        socket_path: absolute, or ``disabled`` or empty for none.
    """

    socket_path: str

    @property
    def enabled(self) -> bool:
        """Whether the agent is enabled."""
        return self.socket_path not in DISABLED

    async def get_node(self, *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Trio-flavoured: return the Node object of Kubernetes.

        Args:
            timeout_s: seconds for everything, as in the other calls.

        Raises:
            AgentError: the agent does not answer, or not with an object.
        """
        reply = await self._call("GetNode", GetNodeRequest(), GetNodeReply, timeout_s)
        try:
            node = json.loads(reply.node)
        except (ValueError, RecursionError) as fault:
            raise self._peer.failure(f"its Node object is not JSON ({fault})") from None
        if not isinstance(node, dict):
            raise self._peer.failure(f"its Node object is a JSON {type(node).__name__} instead of an object")
        return node

    async def patch_node(self, patches: Sequence[Patch], *, timeout_s: float = TIMEOUT_S) -> None:
        """Trio-flavoured: change the Node object: labels, annotations, taints.

        Raises:
            AgentError: the agent does not answer, or Kubernetes refuses.
        """
        request = PatchNodeRequest([JsonPatch(p.op, p.path, _value(p)) for p in patches])
        await self._call("PatchNode", request, PatchNodeReply, timeout_s)

    async def update_node_capacity(self, capacities: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> None:
        """Trio-flavoured: say how much of extended resources the node has, by name.

        Raises:
            AgentError: the agent does not answer, or refuses the name or count of a resource.
        """
        request = UpdateNodeCapacityRequest(dict(capacities))
        await self._call("UpdateNodeCapacity", request, UpdateNodeCapacityReply, timeout_s)

    async def health_check(self, query: str = "", *, timeout_s: float = TIMEOUT_S) -> str:
        """Trio-flavoured: query the health of the agent; empty if it is healthy.

        Args:
            query: empty, or ``config-status`` for how the last configuration fared.
            timeout_s: seconds.

        Raises:
            AgentError: the agent does not answer.
        """
        return (await self._call("HealthCheck", HealthCheckRequest(query), HealthCheckReply, timeout_s)).error

    @property
    def _peer(self) -> Peer:
        return Peer("the node agent", self.socket_path, AgentError)

    async def _call(self, method: str, request: betterproto.Message, reply: type[M], timeout_s: float) -> M:
        if not self.enabled:
            raise AgentDisabledError(
                f"{method} needs the node agent, which is disabled; set its socket with --agent-socket"
            )
        return await self._peer.call(f"/v1.Agent/{method}", request, reply, timeout_s)


def _value(patch: Patch) -> str:
    return "" if patch.op == "remove" else json.dumps(patch.value)
