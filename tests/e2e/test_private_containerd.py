"""A private containerd comes up, holds what it should, and leaves nothing behind, however it ends."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crirm.cri.proto.runtime import v1
from crirm.launcher import cleanup as containerd_cleanup
from crirm.launcher.containerd import Containerd, ContainerdError, Installation, open_containerd
from tests.conformance.client import GrpcioClient
from tests.conformance.cri import V1, Cri, Pod, World, wait_until
from tests.conformance.normal import Masks
from tests.trio_thread import open_trio_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.trio_thread import TrioThread

pytestmark = pytest.mark.containerd


def _traces(root: Path) -> list[str]:
    """Everything on this machine that belongs to the instance in *root*."""
    processes = [line.decode(errors="replace") for line in _command_lines() if bytes(root) in line]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(root) in line]
    parent = containerd_cleanup.cgroup_parent_of(root).lstrip("/")
    cgroups = [str(path) for pattern in (parent, f"*/{parent}") for path in Path("/sys/fs/cgroup").glob(pattern)]
    return [*processes, *mounts, *cgroups]


def _command_lines() -> list[bytes]:
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes())
        except OSError:  # it ended meanwhile
            continue
    return lines


def _world(instance: Containerd, logs: Path) -> World:
    return World(
        cri=Cri(GrpcioClient(instance.socket), V1),
        cgroup_parent=instance.cgroup_parent,
        logs=logs,
        runtime="containerd",
        has_events=False,
        has_processes=True,
        masks=Masks(),
        import_image=lambda *_: None,
    )


def _start_pod(world: World, cgroup_parent: str | None = None) -> Pod:
    """A pod with a container, which nobody stops."""
    config = world.pod_config("left")
    if cgroup_parent is not None:
        config.linux.cgroup_parent = cgroup_parent
    (world.logs / "left").mkdir()
    ran = world.cri.call("RunPodSandbox", v1.RunPodSandboxRequest(config=config), v1.RunPodSandboxResponse)
    pod = Pod(world, ran.pod_sandbox_id, config)
    pod.run("main")
    world.cri.client.close()
    return pod


def _kill(thread: TrioThread, instance: Containerd) -> None:
    thread.run(instance.kill)


def _stop(thread: TrioThread, instance: Containerd) -> None:
    thread.run(instance.stop)


def _leave(_thread: TrioThread, _instance: Containerd) -> None:
    """It runs on until the block ends."""


@pytest.mark.parametrize("snapshotter", ["overlayfs", "native"])
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(_leave, id="still running"),
        pytest.param(_stop, id="stopped"),
        pytest.param(_kill, id="killed"),
    ],
)
def test_nothing_is_left(
    end: Callable[[TrioThread, Containerd], None],
    snapshotter: str,
    installation: Installation,
    short_path: Path,
    tmp_path: Path,
) -> None:
    root = short_path / "c"
    with open_trio_thread() as thread:
        instance = thread.open(open_containerd(installation, root, snapshotter))
        _start_pod(_world(instance, tmp_path))
        shim_sockets = containerd_cleanup.shim_sockets(root)
        assert any("containerd-shim" in trace for trace in _traces(root))
        assert any(containerd_cleanup.cgroup_parent_of(root) in trace for trace in _traces(root))
        assert shim_sockets
        end(thread, instance)
    assert _traces(root) == []
    assert not any(path.exists() for path in shim_sockets)


@pytest.mark.parametrize("cgroup_parent", ["", "/crirm-elsewhere"])
def test_containers_in_other_cgroups_are_found(
    cgroup_parent: str, installation: Installation, short_path: Path, tmp_path: Path
) -> None:
    with open_trio_thread() as thread:
        instance = thread.open(open_containerd(installation, short_path))
        pod = _start_pod(_world(instance, tmp_path), cgroup_parent)
        assert list(Path("/sys/fs/cgroup").rglob(pod.id))
    assert not list(Path("/sys/fs/cgroup").rglob(pod.id))
    for parent in Path("/sys/fs/cgroup").rglob(cgroup_parent.strip("/") or "k8s.io"):
        with suppress(OSError):  # the machine's own containerd may use it
            parent.rmdir()


def test_restart_keeps_pods(
    trio_thread: TrioThread, installation: Installation, short_path: Path, tmp_path: Path
) -> None:
    instance = trio_thread.open(open_containerd(installation, short_path))
    pod = _start_pod(_world(instance, tmp_path))
    first = instance.pid
    trio_thread.run(instance.restart)
    after_restart = instance.pid
    trio_thread.run(instance.kill)
    trio_thread.run(instance.start)
    world = _world(instance, tmp_path)
    status = world.outcome("PodSandboxStatus", v1.PodSandboxStatusRequest(pod_sandbox_id=pod.id))
    world.cri.client.close()
    assert len({first, after_restart, instance.pid}) == 3
    assert "state" not in status["reply"]["status"]  # SANDBOX_READY is 0, the default


def test_instances_side_by_side(
    trio_thread: TrioThread, installation: Installation, short_path: Path, tmp_path: Path
) -> None:
    instance = trio_thread.open(open_containerd(installation, short_path / "a"))
    pod = _start_pod(_world(instance, tmp_path))
    with open_trio_thread() as other:
        neighbour = other.open(open_containerd(installation, short_path / "b"))
        (tmp_path / "b").mkdir()
        _start_pod(_world(neighbour, tmp_path / "b"))
    assert _traces(short_path / "b") == []
    world = _world(instance, tmp_path)
    with_container = v1.ListContainersRequest(filter=v1.ContainerFilter(pod_sandbox_id=pod.id))
    listed = world.cri.call("ListContainers", with_container, v1.ListContainersResponse).containers
    world.cri.client.close()
    assert [container.state for container in listed] == [v1.ContainerState.CONTAINER_RUNNING]


def test_takes_down_what_a_killed_owner_left(installation: Installation, short_path: Path, tmp_path: Path) -> None:
    root = short_path / "c"
    owner = subprocess.Popen([sys.executable, "-c", _OWNER, str(root)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    owner.kill()
    owner.communicate()
    wait_until(lambda: bool(_traces(root)))
    with open_trio_thread() as thread:
        instance = thread.open(open_containerd(installation, root))
        _start_pod(_world(instance, tmp_path))
    assert _traces(root) == []


_OWNER = """
import sys, trio
from pathlib import Path
from crirm.launcher.containerd import find_installed, open_containerd

async def main():
    async with open_containerd(find_installed(), Path(sys.argv[1])):
        print("up", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_says_why_it_does_not_start(installation: Installation, short_path: Path, tmp_path: Path) -> None:
    (tmp_path / "containerd").write_text("#!/bin/sh\necho out of order\nexit 3\n")
    (tmp_path / "containerd").chmod(0o755)
    broken = Installation("containerd 1.6.99", tmp_path, installation.runc, "1.6.99")
    with open_trio_thread() as thread, pytest.raises(ContainerdError, match=r"exit code 3.* out of order"):
        thread.open(open_containerd(broken, short_path))


def test_refuses_a_root_too_long_for_sockets(installation: Installation, short_path: Path) -> None:
    with open_trio_thread() as thread, pytest.raises(ContainerdError, match="at most"):
        thread.open(open_containerd(installation, short_path / ("x" * 90)))
