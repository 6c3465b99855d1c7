"""A private containerd: own root, state, socket and cgroup, beside whatever else the machine runs.

Pods run on the host network, so no CNI is needed; images are built from the machine's busybox, so no registry is.
Used by ``crirm demo``, by the end-to-end tests and by the benchmark. Needs root, containerd, runc and a static busybox.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import STDOUT
from typing import TYPE_CHECKING

import attrs
import trio

from crirm.cri.proto.runtime import v1
from crirm.errors import CrirmError
from crirm.launcher import cleanup, oci_image
from crirm.launcher.plain_call import call
from crirm.launcher.settings import ConfigFacts, render_config
from crirm.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = get_logger("containerd")

CRI_PACKAGES = ("runtime.v1", "runtime.v1alpha2")
_READY_WITHIN_S = 30.0
_STOP_WITHIN_S = 10.0
_POLL_S = 0.02
_UNIX_PATH_LIMIT = 107
_CAP_SYS_RESOURCE = 1 << 24


class ContainerdError(CrirmError):
    """A private containerd cannot be started or used on this machine."""


@attrs.frozen
class Installation:
    """Programs of one containerd release, and the runc that it starts containers with."""

    name: str  # for people: "containerd 1.6.20"
    bin_dir: Path
    runc: Path
    version: str  # "1.6.20", without the distribution's suffix

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor, _ = self.version.split(".")
        return int(major), int(minor)


def find_installed() -> Installation | None:
    """The machine's own containerd; None where containerd or runc is missing."""
    containerd = shutil.which("containerd")
    runc = shutil.which("runc")
    if containerd is None or runc is None:
        return None
    return inspect_installation(Path(containerd).parent, Path(runc))


def inspect_installation(bin_dir: Path, runc: Path) -> Installation:
    """The installation whose programs lie in *bin_dir*, which may be away from the search path.

    Raises:
        ContainerdError: the containerd there does not run or names no version.
    """
    argv = [str(bin_dir / "containerd"), "--version"]
    printed = subprocess.run(argv, capture_output=True, text=True, check=False).stdout  # noqa: S603 - the caller's choice
    version = re.search(r"\d+\.\d+\.\d+", printed)
    if version is None:
        raise ContainerdError(f"{' '.join(argv)}: expected a version, found {printed!r}")
    return Installation(f"containerd {version[0]}", bin_dir, runc, version[0])


@attrs.define(eq=False)
class Containerd:
    """One private instance; made by `open_containerd`, which also takes it down."""

    installation: Installation
    root: Path
    snapshotter: str
    _process: trio.Process | None = None

    @property
    def socket(self) -> Path:
        """Where it serves CRI."""
        return cleanup.socket_of(self.root)

    @property
    def log_path(self) -> Path:
        """What it prints, over all its restarts."""
        return self.root / "containerd.log"

    @property
    def cgroup_parent(self) -> str:
        """The cgroup below which callers should put their pods (``linux.cgroup_parent``): it is cleaned up."""
        return cleanup.cgroup_parent_of(self.root)

    @property
    def pid(self) -> int:
        """Process id of the daemon that runs or ran last."""
        if self._process is None:
            raise ContainerdError("containerd was not started")
        return self._process.pid

    async def start(self) -> None:
        """Start the daemon and wait until it answers CRI calls.

        Raises:
            ContainerdError: it ended, or did not answer within 30 s; the last line of its log is in the message.
        """
        with self.log_path.open("ab") as log_file:
            self._process = await trio.lowlevel.open_process(
                [
                    str(self.installation.bin_dir / "containerd"),
                    "--config",
                    str(cleanup.config_of(self.root)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=STDOUT,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C is for the program that owns this instance, which then stops it
            )
        with trio.move_on_after(_READY_WITHIN_S):
            await self._wait_ready(self._process)
            return
        raise ContainerdError(f"{self.installation.name} did not answer within {_READY_WITHIN_S} s{self._last_words()}")

    async def stop(self) -> None:
        """End the daemon in good order; pods and containers keep running."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        with trio.move_on_after(_STOP_WITHIN_S):
            await self._process.wait()
            return
        await self.kill()

    async def kill(self) -> None:
        """End the daemon at once (SIGKILL); pods and containers keep running."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def restart(self) -> None:
        """Stop the daemon if it runs, then start it over the same state."""
        await self.stop()
        await self.start()

    async def import_images(self, archive: Path, *names: str) -> None:
        """Import an OCI image archive and wait until CRI knows the images *names*.

        Raises:
            ContainerdError: ctr failed; what it printed is in the message.
        """
        # Without unpacking: CRI unpacks for the snapshotter it is configured with, ctr would for its own default.
        await self._ctr("images", "import", "--no-unpack", str(archive))
        for name in names:
            request = v1.ImageStatusRequest(image=v1.ImageSpec(image=name))
            while not await self._knows_image(bytes(request)):  # noqa: ASYNC110 - containerd sends no event to wait for
                await trio.sleep(_POLL_S)

    async def _ctr(self, *args: str) -> None:
        argv = [str(self.installation.bin_dir / "ctr"), "--address", str(self.socket), "--namespace", "k8s.io", *args]
        done = await trio.run_process(argv, capture_stdout=True, stderr=STDOUT, check=False, env=self._environment())
        if done.returncode != 0:
            raise ContainerdError(f"{' '.join(argv)} failed: {done.stdout.decode(errors='replace').strip()}")

    def _environment(self) -> dict[str, str]:
        """A search path on which containerd meets its own shim before the machine's."""
        return {"PATH": f"{self.installation.bin_dir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    async def _wait_ready(self, process: trio.Process) -> None:
        while not await self._is_ready():
            if process.poll() is not None:
                raise ContainerdError(
                    f"{self.installation.name} ended with exit code {process.returncode}{self._last_words()}"
                )
            await trio.sleep(_POLL_S)

    async def _is_ready(self) -> bool:
        for package in CRI_PACKAGES:
            try:
                answer = await call(self.socket, f"/{package}.RuntimeService/Status", b"")
            except OSError:
                return False
            if answer.status == 0:
                conditions = v1.StatusResponse().parse(answer.message).status.conditions
                return any(known.type == "RuntimeReady" and known.status for known in conditions)
        return False

    async def _knows_image(self, request: bytes) -> bool:
        answers = [await call(self.socket, f"/{package}.ImageService/ImageStatus", request) for package in CRI_PACKAGES]
        return any(answer.status == 0 and answer.message for answer in answers)

    def _last_words(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return f"; {self.log_path} ends: {lines[-1]}" if lines else ""


@asynccontextmanager
async def open_containerd(
    installation: Installation, root: Path, snapshotter: str | None = None
) -> AsyncIterator[Containerd]:
    """Run a private containerd with the standard images while the block lasts.

    Afterwards its pods, containers, shims, mounts and cgroups are gone, even if the daemon was killed; the log stays.

    Args:
        installation: the programs to run.
        root: directory for everything the instance keeps; made if missing. Short, since sockets lie in it. What an
            earlier, killed instance left there is taken down first.
        snapshotter: ``overlayfs``, or ``native`` where the file system carries no overlay; found out if not given.

    Raises:
        ContainerdError: the path is too long, or containerd does not come up.
        crirm.launcher.oci_image.ImageError: the machine has no static busybox.
    """
    _check_root(root)
    await trio.to_thread.run_sync(_prepare, root)
    snapshotter = snapshotter or ("overlayfs" if await _overlay_works(root) else "native")
    await trio.to_thread.run_sync(_write_config, installation, root, snapshotter)
    instance = Containerd(installation, root, snapshotter)
    try:
        await instance.start()
        log.info(
            "private containerd is ready", name=installation.name, socket=str(instance.socket), snapshotter=snapshotter
        )
        await instance.import_images(root / "images.tar", *(image.name for image in oci_image.STANDARD_IMAGES))
        yield instance
    finally:
        with trio.CancelScope(shield=True):
            await instance.stop()
            await trio.to_thread.run_sync(cleanup.cleanup, root)


def _check_root(root: Path) -> None:
    if os.geteuid() != 0:
        raise ContainerdError("a private containerd needs root")
    longest = f"{cleanup.socket_of(root)}.ttrpc"
    if not root.is_absolute() or len(longest) > _UNIX_PATH_LIMIT:
        raise ContainerdError(f"{root}: unusable for containerd's sockets; use an absolute path of at most 80 bytes")


def _prepare(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    cleanup.cleanup(root)
    oci_image.write_archive(root / "images.tar")


def _write_config(installation: Installation, root: Path, snapshotter: str) -> None:
    facts = ConfigFacts(
        root=root,
        socket=cleanup.socket_of(root),
        runc=installation.runc,
        snapshotter=snapshotter,
        restrict_oom_score_adj=not _has_sys_resource(),
        release=installation.release,
    )
    cleanup.config_of(root).write_text(render_config(facts))


def _has_sys_resource() -> bool:
    """Whether this process may lower a process's oom_score_adj, which every sandbox asks for."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(fields["CapEff"], 16) & _CAP_SYS_RESOURCE)


async def _overlay_works(root: Path) -> bool:
    """Whether the file system below *root* can carry an overlay mount; overlayfs itself, for one, cannot."""
    probe = root / "overlay-probe"
    for folder in ("lower", "upper", "work", "merged"):
        (probe / folder).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
    argv = ["mount", "-t", "overlay", "overlay", "-o", options, str(probe / "merged")]
    mounted = await trio.run_process(argv, check=False, capture_stderr=True)
    if mounted.returncode == 0:
        await trio.run_process(["umount", str(probe / "merged")])
    shutil.rmtree(probe)
    return mounted.returncode == 0
