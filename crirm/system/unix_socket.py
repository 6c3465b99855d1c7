"""The relay's Unix socket: with the owner and mode of the runtime's, removed at stop, and never replacing a live one.

Two starts at the same moment are kept apart by a lock on the *directory* of the socket, held only from the look at
what is there until the new socket listens. Why not otherwise:

* binding under another name and renaming is atomic, but ``ss`` and ``lsof`` then show a name that no longer exists,
  and two starts would still both find the old socket dead and silently replace each other's;
* a lock file beside the socket must never be deleted, so it would stay for good in a directory of the operator's.

A socket refuses connections until it listens, so its owner and mode are set between bind and listen: nobody ever
connects to one with the wrong mode.
"""

from __future__ import annotations

import enum
import errno
import fcntl
import os
import socket
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from crirm.errors import CrirmError, UsageError
from crirm.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PATH_BYTES: Final = 107  # Source: unix(7), sun_path holds 108 bytes with the closing NUL
DIRECTORY_MODE: Final = 0o711  # a socket can be reached by its name, the directory cannot be listed
DEFAULT_MODE: Final = 0o660  # Source: CRI Resource Manager and containerd
BACKLOG: Final = 512  # callers that may wait between two turns of the event loop; the kernel caps it at somaxconn
LOCK_WAIT_S: Final = 5.0  # the lock is held for well under a millisecond; only a stopped process holds it longer
LOCK_RETRY_S: Final = 0.02

log = get_logger("system")


class SocketPathError(UsageError):
    """The address is not a usable Unix socket."""


class SocketUnusableError(CrirmError):
    """The socket cannot be created there."""


class SocketInUseError(CrirmError):
    """Another process serves the socket; the exit code lets scripts distinguish this from other failures."""

    exit_code = 73


class SocketState(enum.Enum):
    """What is found under a socket's path."""

    ABSENT = "absent"
    STALE = "stale"  # a socket that nothing listens on, left by a process that was killed
    LIVE = "live"
    NOT_A_SOCKET = "not a socket"


@attrs.frozen
class SocketOwner:
    """Who may connect to a socket: owner, group and permission bits of its file."""

    uid: int
    gid: int
    mode: int


def socket_path(text: str, *, what: str = "socket") -> str:
    """Read the path out of a socket address as the kubelet writes it.

    Args:
        text: an absolute path, bare or after ``unix://`` or ``unix:``.
        what: names the socket in the error, for example ``relay socket``.

    Raises:
        SocketPathError: relative, too long, abstract, of another network, or empty. Abstract sockets are refused on
            purpose: they have neither owner nor mode, so any process in the network namespace could start containers.
    """
    path = text.removeprefix("unix:")
    if path != text:
        path = path.removeprefix("//")
    if path.startswith("@") or text.startswith(("unix-abstract:", "\0")):
        raise SocketPathError(
            f"{what} {text!r}: abstract sockets are not supported, because they have no owner and mode; "
            "use a path such as unix:///run/cri-resmgr/cri-resmgr.sock"
        )
    if path == text and not path.startswith("/") and _names_another_network(text):
        raise SocketPathError(f"{what} {text!r}: CRI needs a Unix socket; use a path such as unix:///run/…")
    if not path.startswith("/") or "\0" in path:
        raise SocketPathError(f"{what} {text!r}: not an absolute path; write {_absolute_form(path)}")
    if path.endswith("/"):
        raise SocketPathError(f"{what} {text!r}: a directory; add the name of the socket")
    size_bytes = len(os.fsencode(path))
    if size_bytes > MAX_PATH_BYTES:
        raise SocketPathError(
            f"{what} {path}: {size_bytes} bytes long; the limit for sockets is {MAX_PATH_BYTES}; "
            "choose a shorter path, for example below /run"
        )
    return path


def _names_another_network(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return (
        "://" in text
        or text.partition(":")[0] in {"dns", "ipv4", "ipv6", "vsock"}
        or bool(colon and host and port.isdecimal())
    )


def _absolute_form(path: str) -> str:
    """``unix://run/x.sock``, one slash short, is the commonest mistake."""
    name = path.replace("\0", "").removeprefix("./").lstrip("/")
    return f"unix:///{name}" if name else "a path such as unix:///run/cri-resmgr/cri-resmgr.sock"


def owner_of(path: str) -> SocketOwner | None:
    """Return who may connect to the socket at *path*, or None while nothing is there.

    Raises:
        SocketUnusableError: its directory may not be searched.
    """
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SocketUnusableError(f"{path}: not accessible by {_who()}: {error.strerror}; run crirm as root") from error
    return SocketOwner(uid=found.st_uid, gid=found.st_gid, mode=stat.S_IMODE(found.st_mode) & 0o777)


def state_of(path: str) -> SocketState:
    """Find out what is at *path*, by connecting when it is a socket.

    Raises:
        SocketUnusableError: there is a socket, and it does not let this user connect.
    """
    try:
        found = Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return SocketState.ABSENT
    except OSError as error:
        raise SocketUnusableError(f"{path}: not accessible by {_who()}: {error.strerror}; run crirm as root") from error
    if not stat.S_ISSOCK(found.st_mode):
        return SocketState.NOT_A_SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)  # a full backlog must not hold up the start
        return _judge(path, probe.connect_ex(path))


def _judge(path: str, code: int) -> SocketState:
    match code:
        case errno.ECONNREFUSED:
            return SocketState.STALE
        case errno.ENOENT:
            return SocketState.ABSENT
        case errno.EACCES | errno.EPERM:
            raise SocketUnusableError(f"{path}: a socket exists to which {_who()} may not connect; run crirm as root")
        case _:  # 0, a full backlog (EAGAIN), or a listener of another type (EPROTOTYPE)
            return SocketState.LIVE


class ListeningSocket(socket.socket):
    """The relay's own listening socket, which knows its file and removes that and no other."""

    path: str
    _pin: int  # keeps the file's inode, whose number could otherwise pass to somebody else's file

    def bind_file(self, path: str) -> None:
        """Bind to *path*, where nothing is, and remember the file that this makes."""
        self.bind(path)
        self.path, self._pin = path, os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def remove_file(self) -> None:
        """Remove the socket's file, unless it was replaced meanwhile; once, before or after the socket is closed."""
        try:
            with _directory_lock(Path(self.path).parent):
                if os.path.samestat(Path(self.path).lstat(), os.fstat(self._pin)):
                    Path(self.path).unlink()
                else:
                    log.warning("socket was replaced by another file, not removing it", socket=self.path)
        except FileNotFoundError:
            log.debug("socket is already gone", socket=self.path)
        except (OSError, CrirmError) as error:
            log.warning("cannot remove socket", socket=self.path, error=str(error))
        finally:
            os.close(self._pin)


def open_listener(path: str, owner: SocketOwner | None, *, option: str = "--relay-socket") -> ListeningSocket:
    """Listen on *path*, replacing only a socket that nobody serves.

    Args:
        path: absolute, at most 107 bytes, as ``socket_path`` returns it.
        owner: who may connect, usually ``owner_of`` the runtime's socket; None: the own user and group, mode 0660.
        option: names another path, as errors suggest.

    Returns:
        a non-blocking socket that accepts connections from now on.

    Raises:
        SocketInUseError: something answers there.
        SocketUnusableError: something else than a socket is there, or the system refuses, with the reason.
    """
    directory = Path(path).parent
    try:
        _make_directory(directory)
        with _directory_lock(directory):
            _clear(path, option)
            return _listen(path, owner)
    except OSError as error:
        raise SocketUnusableError(_refusal(path, error, option)) from error


def make_directory_of(path: str, *, option: str = "--relay-socket") -> None:
    """Make the directory of a socket that is listened on later, so that one that cannot be is told at once.

    Args:
        path: of the socket.
        option: names another path, as errors suggest.

    Raises:
        SocketUnusableError: there can be no such directory, or nothing may be made in it, with the reason.
    """
    directory = Path(path).parent
    try:
        _make_directory(directory)
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))
    except OSError as error:
        raise SocketUnusableError(_refusal(path, error, option)) from error


def _make_directory(directory: Path) -> None:
    """Make *directory*, and what misses above it, mode 0711; directories that exist stay as they are."""
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    try:
        directory.mkdir(mode=DIRECTORY_MODE)
        directory.chmod(DIRECTORY_MODE)  # the umask may have taken bits away
    except FileExistsError:
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(directory)) from None


@contextmanager
def _directory_lock(directory: Path) -> Iterator[None]:
    """Keep other starts of crirm out of *directory*; the kernel drops the lock when the process dies."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline_s = time.monotonic() + LOCK_WAIT_S
    try:
        while not _try_lock(fd):
            if time.monotonic() > deadline_s:
                raise SocketUnusableError(
                    f"{directory}: locked (flock) by another process for {LOCK_WAIT_S:.0f} s; "
                    f"find it with `lsof {directory}` and end it"
                )
            time.sleep(LOCK_RETRY_S)
        yield
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_unserved(path: str, option: str) -> SocketState:
    """Return what is at *path*, where nothing serves; before work that a second instance must not do.

    Raises:
        SocketInUseError: something answers there.
        SocketUnusableError: there is a socket, and it does not let this user connect.
    """
    state = state_of(path)
    if state is SocketState.LIVE:
        raise SocketInUseError(
            f"{path}: in use by another process; stop it (`ss -xlp src {path}` names it), "
            f"or choose another socket with {option}"
        )
    return state


def _clear(path: str, option: str) -> None:
    match check_unserved(path, option):
        case SocketState.NOT_A_SOCKET:
            raise SocketUnusableError(
                f"{path}: {_kind(path)}, not a socket; crirm does not delete it; move it away, "
                f"or choose another socket with {option}"
            )
        case SocketState.STALE:
            log.warning("replacing stale socket of a killed process", socket=path)
            Path(path).unlink()
        case SocketState.ABSENT | SocketState.LIVE:
            pass


def _listen(path: str, owner: SocketOwner | None) -> ListeningSocket:
    sock = ListeningSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        sock.bind_file(path)
        try:
            give_owner(path, owner)
            sock.listen(BACKLOG)
        except BaseException:
            Path(path).unlink()  # the lock is held: it is still ours
            raise
    except BaseException:
        sock.close()
        raise
    return sock


def give_owner(path: str, owner: SocketOwner | None) -> None:
    """Let *owner*'s user and group connect to the socket at *path*; again whenever the runtime's socket changed.

    Without the right to give files away (not root) the group's and others' bits are withheld: the own group
    is not the one that the runtime trusts.
    """
    mode = DEFAULT_MODE if owner is None else owner.mode
    found = Path(path).stat()
    if owner is not None and (found.st_uid, found.st_gid) != (owner.uid, owner.gid):
        try:
            os.chown(path, owner.uid, owner.gid)
        except PermissionError:
            mode &= 0o700
            log.warning(
                "cannot set the owner of the relay socket to that of the runtime's; only this user may connect",
                socket=path, wanted=f"{owner.uid}:{owner.gid}", user=_who(), mode=oct(mode),
            )  # fmt: skip
    Path(path).chmod(mode)


def _refusal(path: str, error: OSError, option: str) -> str:
    directory = Path(path).parent
    match error.errno:
        case errno.EACCES | errno.EPERM:
            where = error.filename or directory
            return f"{where}: {_who()} may not create a socket there; run crirm as root, or choose another {option}"
        case errno.EROFS:
            return f"{directory}: read-only file system; choose another {option}, for example below /run"
        case errno.ENOTDIR:
            return f"{error.filename or directory}: not a directory; move it away, or choose another {option}"
        case _:
            return f"{path}: cannot create a socket: {error.strerror or error}; choose another {option}"


def _kind(path: str) -> str:
    mode = Path(path).lstat().st_mode
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFREG: "a regular file"}
    return kinds.get(stat.S_IFMT(mode), "a special file")


def _who() -> str:
    return f"user {os.geteuid()} (group {os.getegid()})"
