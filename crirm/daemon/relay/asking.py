"""crirm's own calls to the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from grpclib.const import Status

from crirm.cri.message import MalformedError
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Runtime(Protocol):
    """The runtime, as far as crirm's own calls need it."""

    @property
    def connected(self) -> bool:
        """Whether it is reachable."""

    async def call(self, method: str, message: bytes, *, timeout_s: float) -> bytes:
        """Make a unary call of the RuntimeService; raises RpcError."""


async def ask(runtime: Runtime, method: str, message: bytes, read: Callable[[bytes], T], *, timeout_s: float) -> T:
    """Return the runtime's answer, decoded by *read*.

    Args:
        runtime: to call.
        method: of the RuntimeService.
        message: the request.
        read: decodes the answer; may raise MalformedError.
        timeout_s: seconds.

    Raises:
        RpcError: the call fails, or its answer cannot be read.
    """
    answer = await runtime.call(method, message, timeout_s=timeout_s)
    try:
        return read(answer)
    except MalformedError as error:
        raise RpcError(Status.INTERNAL, f"cannot read the answer to {method}: {error}") from error
