"""A pool without a socket: what happens on each connection is played from a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
import trio.testing
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "/nowhere/c.sock"
VERSION = "/runtime.{}.RuntimeService/Version"
IMAGE_FS = "/runtime.{}.ImageService/ImageFsInfo"
UNKNOWN_SERVICE = RpcError(Status.UNIMPLEMENTED, "unknown service")

Answers = dict[str, "bytes | RpcError"]


def runtime(*versions: str, name: str = "containerd", path: str = VERSION) -> Answers:
    """The answers of a runtime that speaks *versions* of CRI."""
    return {path.format(one): bytes(v1.VersionResponse(runtime_name=name, runtime_version="v1.7")) for one in versions}


@attrs.define(eq=False)
class FakePool:
    """Stands for `crirm.rpc.client.Pool`.

    Args:
        script: what each attempt to connect meets, the last of them again and again: an error, or answers by path.
    """

    script: list[Exception | Mapping[str, bytes | RpcError]]
    socket_path: str = SOCKET
    lost: trio.Event = attrs.field(factory=trio.Event)
    attempts_s: list[float] = attrs.field(factory=list)
    closed: list[str] = attrs.field(factory=list)
    _answers: Mapping[str, bytes | RpcError] = attrs.field(factory=dict)

    async def connect(self) -> None:
        self.attempts_s.append(trio.current_time())
        met = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(met, Exception):
            raise met
        self.lost, self._answers = trio.Event(), met

    async def unary(self, path: str, message: bytes, *, timeout_s: float) -> bytes:
        del message, timeout_s
        answer = self._answers.get(path, UNKNOWN_SERVICE)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    def close(self, reason: str) -> None:
        self.closed.append(reason)
        self.lost.set()
