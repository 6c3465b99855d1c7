"""One call from crirm to a gRPC server on a Unix socket, with errors that name the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import attrs
import trio
from grpclib.const import Status

from crirm.errors import CrirmError
from crirm.rpc.client import NotGrpcError, Pool
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    import betterproto

    M = TypeVar("M", bound=betterproto.Message)


class CallError(CrirmError):
    """The server cannot be reached, does not answer, or answers with an error."""


@attrs.frozen
class Peer:
    """A gRPC server.

    Args:
        name: for people, as "the node agent".
        socket_path: absolute.
        error: what is raised.
    """

    name: str
    socket_path: str
    error: type[CallError] = CallError

    def failure(self, what: str) -> CallError:
        """Return the error that says *what* is wrong with it."""
        return self.error(f"{self.name} at {self.socket_path}: {what}")

    async def call(self, path: str, request: betterproto.Message, reply: type[M], timeout_s: float) -> M:
        """Trio-flavoured: connect, ask, hang up.

        Args:
            path: ``/package.Service/Method``.
            request: what to ask.
            reply: what the answer is.
            timeout_s: seconds for everything.

        Raises:
            CallError: there is no answer, or none that is a *reply*.
        """
        try:
            with trio.fail_after(timeout_s):
                data = await self._ask(path, bytes(request), timeout_s)
        except trio.TooSlowError:
            raise self.failure(f"no answer to {path} within {timeout_s:g} s") from None
        try:
            return reply().parse(data)
        except Exception as fault:  # betterproto has no error of its own for this
            raise self.failure(f"the answer to {path} is not a {reply.__name__} ({fault})") from fault

    async def _ask(self, path: str, request: bytes, timeout_s: float) -> bytes:
        pool = Pool(self.socket_path)
        try:
            await pool.connect()
            return await pool.unary(path, request, timeout_s=timeout_s)
        except FileNotFoundError as error:
            raise self.failure("socket not found; is it running?") from error
        except NotGrpcError as error:
            raise self.failure("not a gRPC server") from error
        except OSError as error:
            raise self.failure(f"cannot be reached: {error.strerror or error}") from error
        except RpcError as error:
            raise self.failure(_told(error, path)) from error
        finally:
            pool.close("the call is over")


def _told(error: RpcError, path: str) -> str:
    match error.status:
        case Status.UNIMPLEMENTED:
            return f"does not serve {path} ({error.message})"
        case Status.DEADLINE_EXCEEDED:
            return error.message
        case _:
            return f"answers {error.status.name}: {error.message}"
