"""The link to a runtime: its identity, its CRI versions, and whether it is reachable now.

One Trio task per runtime socket connects, identifies the runtime, lets calls pass while the connection lives, and
reconnects when it is lost. Callers never wait for it: without a runtime, calls fail at once, as they would without
crirm.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.cri.methods import PACKAGES
from crirm.cri.version import RuntimeVersion, decode_version, encode_version_request
from crirm.daemon.relay.runtime_info import RuntimeInfo
from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.rpc.client import NotGrpcError, Pool
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

log = get_logger("runtime")

TESTED_RUNTIMES = ("containerd", "cri-o", "crirm-sim")  # prefixes of names
PROBE_TIMEOUT_S = 10.0
_RETRY_S = (0.1, 5.0)  # first and longest pause between two tries
_REMIND_S = (10.0, 600.0)  # first and longest pause between two reminders while the runtime is away
_NOBODY = (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED)  # any other status comes from a live service
_KICK_S = 0.1  # a waiting caller shortens a pause, but not below this


class RuntimeUnusableError(CrirmError):
    """The runtime socket is not usable, and waiting will not change that."""


@attrs.define
class Link:
    """One runtime socket and its state.

    Args:
        service: ``RuntimeService`` or ``ImageService``: what the socket is for.
        pool: the connections to it.
        allow_untested: whether to accept a runtime that crirm is not tested with.
        on_up: awaited each time the runtime has answered, before calls pass.
    """

    service: str
    pool: Pool
    allow_untested: bool
    on_up: Callable[[RuntimeInfo], Awaitable[None]] | None = None
    info: RuntimeInfo | None = None
    _kick: trio.Event = attrs.field(factory=trio.Event, init=False)
    _back: trio.Event = attrs.field(factory=trio.Event, init=False)

    def kick(self) -> None:
        """Retry soon: a caller needs the runtime."""
        self._kick.set()

    async def back(self) -> None:
        """Wait until the runtime has come back after it was lost."""
        await self._back.wait()

    async def maintain(self, *, task_status: trio.TaskStatus[RuntimeInfo] = trio.TASK_STATUS_IGNORED) -> None:
        """Maintain the link until cancelled; started once the runtime has answered for the first time.

        Raises:
            RuntimeUnusableError: only before the first answer; later the link keeps trying.
        """
        self.info = await self._connect(patient=False)
        log.info("runtime is ready", **self._facts(self.info))
        task_status.started(self.info)
        while True:
            await self.pool.lost.wait()
            self.info = None
            log.warning("runtime is gone; calls fail until it is back", socket=self.pool.socket_path)
            self.info = await self._connect(patient=True)
            log.info("runtime is back", **self._facts(self.info))
            self._back.set()
            self._back = trio.Event()

    async def _connect(self, *, patient: bool) -> RuntimeInfo:
        """Retry until the runtime answers; *patient* also waits for what only an operator can fix."""
        pauses, reminders = doubling(*_RETRY_S), doubling(*_REMIND_S)
        remind_at_s, told = trio.current_time(), ""
        while True:
            try:
                return await self._try()
            except (OSError, RpcError, RuntimeUnusableError) as error:
                unusable, reason = isinstance(error, RuntimeUnusableError), str(error)
                if unusable and not patient:
                    raise
            if trio.current_time() >= remind_at_s or (unusable and reason != told):
                log.warning("waiting for the runtime", socket=self.pool.socket_path, reason=reason)
                remind_at_s, told = trio.current_time() + next(reminders), reason
            await self._pause(next(pauses))

    async def _pause(self, pause_s: float) -> None:
        await trio.sleep(_KICK_S)
        self._kick = trio.Event()
        with trio.move_on_after(pause_s - _KICK_S):
            await self._kick.wait()

    async def _try(self) -> RuntimeInfo:
        path = self.pool.socket_path
        try:
            if await is_other_file(path):
                raise RuntimeUnusableError(f"{path}: not a socket; give the runtime's CRI socket with --runtime-socket")
            await self.pool.connect()
            info = await identify(self.pool, self.service)
        except PermissionError as error:
            raise RuntimeUnusableError(f"{path}: no permission to connect; run crirm as root") from error
        except NotGrpcError as error:
            raise RuntimeUnusableError(str(error)) from error
        except (RpcError, ValueError) as error:
            self.pool.close("runtime could not be identified")
            if isinstance(error, RpcError):
                raise
            raise RuntimeUnusableError(f"{path}: not a CRI socket, Version failed: {error}") from error
        self._pass_gate(info)
        await self._announce(info)
        return info

    async def _announce(self, info: RuntimeInfo) -> None:
        if self.on_up is None:
            return
        try:
            await self.on_up(info)
        except RpcError:
            self.pool.close("runtime did not list its containers")
            raise

    def _pass_gate(self, info: RuntimeInfo) -> None:
        if info.name is None or info.name.startswith(TESTED_RUNTIMES):
            return
        if self.allow_untested:
            log.warning("crirm is not tested with this runtime", **self._facts(info))
            return
        self.pool.close("runtime is untested")
        raise RuntimeUnusableError(
            f"{self.pool.socket_path}: crirm is tested with containerd and CRI-O, not with {info.name!r}; "
            "to use it anyway, start crirm with --allow-untested-runtimes"
        )

    def _facts(self, info: RuntimeInfo) -> dict[str, str]:
        facts = {"socket": self.pool.socket_path, "cri": ", ".join(info.api_versions)}
        return facts if info.name is None else {"runtime": f"{info.name} {info.version}", **facts}


async def is_other_file(path: str) -> bool:
    """Whether something other than a socket is at *path*."""
    try:
        found = await trio.Path(path).stat()  # one system call: the runtime may create its socket at any moment
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not stat.S_ISSOCK(found.st_mode)


def doubling(first_s: float, last_s: float) -> Iterator[float]:
    """Yield pauses in seconds, doubling from *first_s* up to *last_s*, endlessly."""
    pause_s = first_s
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, last_s)


async def identify(pool: Pool, service: str) -> RuntimeInfo:
    """Identify the runtime on *pool* in every CRI version that crirm knows.

    Raises:
        RpcError: it fails, or supports none of them.
        ValueError: the answer is malformed.
    """
    versions: list[str] = []
    identity: RuntimeVersion | None = None
    method, request = ("Version", encode_version_request()) if service == "RuntimeService" else ("ImageFsInfo", b"")
    for package in PACKAGES:
        try:
            reply = await pool.unary(f"/{package}.{service}/{method}", request, timeout_s=PROBE_TIMEOUT_S)
        except RpcError as error:
            if error.status is Status.UNIMPLEMENTED:
                continue
            if service == "RuntimeService" or error.status in _NOBODY:
                raise
        else:
            if service == "RuntimeService":
                identity = identity or decode_version(reply)
        versions.append(package.removeprefix("runtime."))
    if not versions:
        raise RpcError(Status.UNIMPLEMENTED, f"{pool.socket_path} serves neither {' nor '.join(PACKAGES)} {service}")
    return RuntimeInfo(
        name=identity.name if identity else None,
        version=identity.version if identity else None,
        api_versions=tuple(versions),
    )


async def probe(socket_path: str) -> RuntimeInfo:
    """Connect to *socket_path*, identify the runtime, and disconnect; for ``crirm doctor``.

    Raises:
        OSError, RpcError, ValueError, NotGrpcError: no runtime, or none that is usable.
    """
    pool = Pool(socket_path)
    await pool.connect()
    try:
        return await identify(pool, "RuntimeService")
    finally:
        pool.close("probed")
