"""The configuration interface: the node agent sends configurations and overrides (``v1.Config``).

Requests are read and replies written without betterproto, which takes a message that ends too early for a whole one,
needs six seconds for 1 MiB of small entries, and would cost every daemon 4 MiB.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import trio
from grpclib.const import Status

from crirm.cri.message import MalformedError, Message, edited
from crirm.cri.wire import MAP_KEY, MAP_VALUE
from crirm.errors import CrirmError
from crirm.kube import numbers
from crirm.kube.grpc_server import serve_methods
from crirm.logs import get_logger
from crirm.rpc.grpc_wire import RpcError
from crirm.system.unix_socket import SocketOwner, open_listener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
log = get_logger("config-server")

SET_CONFIG: Final = "/v1.Config/SetConfig"
SET_ADJUSTMENT: Final = "/v1.Config/SetAdjustment"
NAMED_IN_LOG: Final = 5  # the answer has them all
WHOLE: Final = "adjustments"
"""Under this name goes an error that is about all adjustments, or about none in particular."""
_NODE: Final = numbers.SetConfigRequest.node_name
_DATA: Final = numbers.SetConfigRequest.config
_ADJUSTED_NODE: Final = numbers.SetAdjustmentRequest.node_name
_ADJUSTMENTS: Final = numbers.SetAdjustmentRequest.adjustment
_FAULT: Final = "internal error, a bug in crirm; see its log"


class Accepting(Protocol):
    """Handles what the node agent sends, one request after another."""

    async def set_config(self, node_name: str, data: Mapping[str, str]) -> str:
        """Trio-flavoured: activate a configuration.

        Args:
            node_name: of the Kubernetes node, as the agent knows it.
            data: of a ConfigMap: section to YAML text.

        Returns:
            why it was rejected; empty if it is active.
        """

    async def set_adjustment(self, node_name: str, adjustments: Mapping[str, Any]) -> Mapping[str, str]:
        """Trio-flavoured: put adjustments into effect, instead of all that there were.

        Args:
            node_name: of the Kubernetes node.
            adjustments: spec by name, as read from JSON and not looked at yet.

        Returns:
            what is wrong, by adjustment or by container id; empty when they are in effect.
        """


async def serve_config(
    path: str, accepting: Accepting, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Trio-flavoured: serve ``v1.Config`` on the Unix socket *path*, for our own user only, until cancelled.

    Args:
        path: absolute; a socket that nobody serves is replaced, missing directories are made.
        accepting: takes what comes; what it raises becomes the answer and ends nothing.
        task_status: told once requests are accepted.

    Raises:
        SocketInUseError: something answers there.
        SocketUnusableError: something else than a socket is there, or the system refuses.
    """
    owner = SocketOwner(uid=os.geteuid(), gid=os.getegid(), mode=0o600)
    sock = open_listener(path, owner, option="--config-socket")
    methods = {
        SET_CONFIG: partial(_set_config, accepting),
        SET_ADJUSTMENT: partial(_set_adjustment, accepting),
    }
    try:
        await serve_methods(sock, methods, task_status=task_status)
    finally:
        sock.remove_file()
        sock.close()


async def _set_config(accepting: Accepting, message: bytes) -> bytes:
    node_name, data = await _read(read_set_config, message)
    try:
        error = await accepting.set_config(node_name, data)
    except CrirmError as refusal:
        error = str(refusal)
    except Exception:
        log.exception("cannot process a configuration, this is a bug in crirm", node=node_name)
        error = _FAULT  # as an answer, since a status would make the agent send it again for ever
    if error:
        log.debug("rejected a configuration", node=node_name, reason=error)
    return set_config_reply(error)


async def _set_adjustment(accepting: Accepting, message: bytes) -> bytes:
    node_name, text = await _read(read_set_adjustment, message)
    try:
        adjustments = await trio.to_thread.run_sync(read_adjustments, text)
        errors = dict(await accepting.set_adjustment(node_name, adjustments))
    except CrirmError as refusal:
        errors = {WHOLE: str(refusal)}
    except Exception:
        log.exception("cannot process overrides, this is a bug in crirm", node=node_name)
        errors = {WHOLE: _FAULT}
    if errors:
        first = list(errors.items())[:NAMED_IN_LOG]
        log.warning("rejected overrides", node=node_name, errors=len(errors), first=dict(first))
    else:
        log.info("accepted overrides", node=node_name)
    return set_adjustment_reply(errors)


async def _read(read: Callable[[bytes], T], message: bytes) -> T:
    """Read a request in a thread, as large ones take a second.

    Raises:
        RpcError: it is no such message.
    """
    try:
        return await trio.to_thread.run_sync(read, message)
    except MalformedError as error:
        raise RpcError(Status.INVALID_ARGUMENT, str(error)) from error


def read_set_config(message: bytes) -> tuple[str, dict[str, str]]:
    """Return node name and configuration out of a SetConfigRequest.

    Raises:
        MalformedError: it is none.
    """
    request = Message(message)
    entries = request.messages(_DATA)
    return _text(request, _NODE), {_text(entry, MAP_KEY): _text(entry, MAP_VALUE) for entry in entries}


def read_set_adjustment(message: bytes) -> tuple[str, str]:
    """Return node name and JSON text out of a SetAdjustmentRequest.

    Raises:
        MalformedError: it is none.
    """
    request = Message(message)
    return _text(request, _ADJUSTED_NODE), _text(request, _ADJUSTMENTS)


def set_config_reply(error: str) -> bytes:
    """Return an encoded SetConfigReply; as ever in proto3, no error takes no field."""
    return edited(b"", (), {numbers.SetConfigReply.error: error} if error else {})


def set_adjustment_reply(errors: Mapping[str, str]) -> bytes:
    """Return an encoded SetAdjustmentReply."""
    field = (numbers.SetAdjustmentReply.errors,)
    return b"".join(edited(b"", field, {MAP_KEY: key, MAP_VALUE: text}) for key, text in errors.items())


class AdjustmentTextError(CrirmError, ValueError):
    """The adjustments as a whole are not what they should be."""


def read_adjustments(text: str) -> dict[str, Any]:
    """Return the spec of each adjustment by name; an empty *text* holds none.

    Raises:
        AdjustmentTextError: it is no JSON object.
    """
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError) as fault:
        raise AdjustmentTextError(f"$ is not JSON ({fault})") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise AdjustmentTextError(f"$ is a JSON {type(document).__name__}; write an object of names and specs")
    return document


def _text(message: Message, field: int) -> str:
    try:
        return message.raw(field).decode()
    except UnicodeDecodeError as fault:
        raise MalformedError(f"field {field} is not UTF-8 at byte {fault.start}") from None
