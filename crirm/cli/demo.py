"""``crirm demo``: crirm at work on one screen, with a private containerd or with the embedded runtime."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
import trio

from crirm import logs
from crirm.cli.configured import choice_from_options
from crirm.cli.control import ask
from crirm.cli.printing import say
from crirm.daemon import app
from crirm.daemon.places import control_socket_beside
from crirm.daemon.settings import Settings
from crirm.errors import CrirmError
from crirm.launcher.containerd import find_installed, open_containerd
from crirm.launcher.oci_image import BUSYBOX_IMAGE, find_busybox, write_archive
from crirm.logs.settings import Level, LogSettings
from crirm.rpc import bridge
from crirm.rpc.client import Pool
from crirm.sim.pod_life import PodLife
from crirm.sim.runtime import open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crirm.policy.api import Choice
    from crirm.rpc.tap import Outcome

_EMBEDDED_IMAGE = "docker.io/library/busybox:latest"


@attrs.frozen
class Stage:
    """The runtime that the demo uses.

    Args:
        about: its description.
        socket: on which it serves CRI.
        image: an image that it has, with a shell.
        cgroup_parent: of its pods.
    """

    about: str
    socket: str
    image: str
    cgroup_parent: str


@click.command()
@click.option("--embedded", is_flag=True, help="Use the embedded runtime even if containerd is installed.")
@click.option("--once", is_flag=True, help="Exit when the container is gone, instead of staying up.")
def command(*, embedded: bool, once: bool) -> None:
    """Run a container's life cycle through crirm.

    Starts a private containerd (with its own directories, socket and cgroups; an installed one is left alone), or
    the embedded runtime if containerd or root privileges are missing; starts crirm in front of it; and does what the
    kubelet does for one pod.
    """
    logs.configure(LogSettings(stderr_level=Level.WARNING))
    bridge.run(_demo, embedded, once)


async def _demo(embedded: bool, once: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="crirm-demo-") as folder:
        async with _open_stage(Path(folder), embedded=embedded) as stage:
            settings = Settings(
                relay_socket=f"{folder}/crirm.sock",
                runtime_socket=stage.socket,
                policy=_choice(),
                state_dir=f"{folder}/state",
            )
            ledger = Ledger()
            click.echo(f"\n{stage.about}\nkubelet ── {settings.relay_socket} ── crirm ── {stage.socket}\n")
            async with trio.open_nursery() as nursery:
                await nursery.start(app.serve, settings, ledger.note)
                await _show(settings.relay_socket, stage, ledger)
                if once:
                    nursery.cancel_scope.cancel()
                else:
                    click.echo(_next_steps(settings.relay_socket, stage.socket))
                    ledger.live = True


@asynccontextmanager
async def _open_stage(folder: Path, *, embedded: bool) -> AsyncIterator[Stage]:
    why = "requested" if embedded else _why_not_containerd()
    installed = None if why else find_installed()
    async with AsyncExitStack() as stack:
        if installed is None:
            socket = str(folder / "sim.sock")
            await stack.enter_async_context(open_runtime(socket))
            yield Stage(f"embedded runtime ({why})", socket, _EMBEDDED_IMAGE, "")
        else:
            containerd = await stack.enter_async_context(open_containerd(installed, folder / "containerd"))
            write_archive(folder / "images.tar")
            await containerd.import_images(folder / "images.tar", BUSYBOX_IMAGE)
            about = f"containerd {installed.version}, a private instance in {folder}"
            yield Stage(about, str(containerd.socket), BUSYBOX_IMAGE, containerd.cgroup_parent)


def _why_not_containerd() -> str:
    if os.geteuid() != 0:
        return "containers need root"
    if find_installed() is None:
        return "containerd and runc are not installed"
    return "" if find_busybox() else "busybox-static is not installed"


@attrs.define
class Ledger:
    """The outcomes of the calls that passed through crirm.

    Args:
        live: whether to print each call as it ends.
    """

    live: bool = False
    outcomes: dict[str, Outcome] = attrs.field(factory=dict)

    def note(self, path: bytes, outcome: Outcome) -> None:
        """Remember the last outcome of each method."""
        method = path.decode("ascii", "replace").rpartition("/")[2]
        self.outcomes[method] = outcome
        if self.live:
            say(self.row(method, outcome.message))

    def row(self, method: str, said: str) -> str:
        """Return a line about the last call of *method*."""
        latency = self.outcomes[method].latency
        spans = (latency.before_s, latency.runtime_s, latency.after_s)
        return f"  {method:<18}" + "".join(f"{span_s * 1e3:>10.2f}" for span_s in spans) + f"   {said}"


def _choice() -> Choice:
    """Choose a policy that places containers, unless the machine has a single CPU, which is reserved."""
    policy = "topology-aware" if (os.cpu_count() or 1) > 1 else "none"
    return choice_from_options(policy, None, "750m", "/")


async def _show(relay_socket: str, stage: Stage, ledger: Ledger) -> None:
    pool = Pool(relay_socket)
    await pool.connect()
    click.echo(f"  {'call':<18}{'crirm':>10}{'runtime':>10}{'crirm':>10}   answer (times in ms: before, in, after)")
    async for step in PodLife(pool, stage.image, stage.cgroup_parent)():
        say(ledger.row(step.method, step.said))
        if step.method == "CreateContainer":
            await _tell_placement(relay_socket)
    pool.close("demo finished")


async def _tell_placement(relay_socket: str) -> None:
    path = control_socket_beside(relay_socket)
    try:
        answer = await trio.to_thread.run_sync(ask, path, {"ask": "explain", "what": "demo"})
    except CrirmError:
        return  # nothing was placed
    for entry in answer["explained"]:
        trail = entry["trail"]
        say(f"{'':50}requested {trail['asked']}, assigned {trail['granted']}")


def _next_steps(relay_socket: str, runtime_socket: str) -> str:
    crirm = sys.argv[0]
    return f"""
crirm keeps running until Ctrl-C and prints every call. Next, in another terminal:

  {crirm} status --control-socket {control_socket_beside(relay_socket)}
      what each container is assigned; `explain POD/CONTAINER` says why
  {crirm} doctor --runtime-socket {runtime_socket}
      whether this host is ready for crirm, and how to fix what is not
  crictl --runtime-endpoint unix://{relay_socket} ps
      any CRI client; or a kubelet, with --container-runtime-endpoint=unix://{relay_socket}
  {crirm} serve --help
      the daemon itself, for the containerd or CRI-O of this host
"""
