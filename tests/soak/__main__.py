"""``python -m tests.soak``, which is ``nox -s soak``."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from crirm.cri.proto.runtime import v1
from crirm.hosts.synthetic import HostSpec, write_tree
from tests.conformance.client import GrpcioClient
from tests.conformance.cri import V1, Cri
from tests.daemons import running_daemon
from tests.soak.figures import Sample, faults, line, sample
from tests.soak.work import Count, all_at_once, live, relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST = HostSpec(packages=2, cores=4, threads=2)  # too few CPUs at times, so that some pods are refused
QUICK_CALLS, QUICK_LIVES = 2000, 200


@attrs.frozen
class Soaked:
    """A daemon that places containers over the embedded runtime, both processes of their own.

    Args:
        place: folder with sockets, logs and the state.
        pid: of crirm.
    """

    place: Path
    pid: int

    def work(self, what: str, count: Count, callers: int, do: Callable[[Cri, Count, int], None]) -> list[Sample]:
        """Have *callers* do something, and return what crirm took meanwhile."""
        taken = [self.sample(0)]
        begun_s = time.monotonic()
        all_at_once(self.place / "relay.sock", callers, count, do, lambda done: taken.append(self.sample(done)))
        taken.append(self.sample(count.done))
        click.echo(line(what, taken))
        passed_s = time.monotonic() - begun_s
        click.echo(f"  in {passed_s:.0f} s, {count.done / passed_s:.0f} a second; {count.refused} found no room")
        return taken

    def sample(self, done: int) -> Sample:
        """Look at crirm now."""
        return sample(self.pid, self.place / "state", done)


@contextmanager
def soaked(place: Path, policy: str) -> Iterator[Soaked]:
    """Start both processes."""
    (place / "host").mkdir()
    write_tree(HOST, place / "host")
    runtime, relay_socket = place / "sim.sock", place / "relay.sock"
    serve = (
        "serve", "--relay-socket", relay_socket, "--runtime-socket", runtime, "--state-dir", place / "state",
        "--policy", policy, "--reserved-cpus", "cpuset:0", "--host-root", place / "host",
    )  # fmt: skip
    with running_daemon("sim", "--socket", runtime, socket_path=runtime, log_path=place / "sim.log"):
        client = GrpcioClient(runtime)
        image = v1.PullImageRequest(image=v1.ImageSpec(image="busybox"))
        Cri(client, V1).call("PullImage", image, v1.PullImageResponse)
        client.close()
        with running_daemon(*serve, socket_path=relay_socket, log_path=place / "crirm.log") as crirm:
            yield Soaked(place, crirm.pid)


@click.command()
@click.option("--calls", default=100_000, show_default=True, help="So many are relayed first.")
@click.option("--lives", default=10_000, show_default=True, help="So many pods are placed after that.")
@click.option("--callers", default=6, show_default=True, help="So many call at once.")
@click.option("--policy", default="topology-aware", show_default=True, help="That places the pods.")
@click.option("--quick", is_flag=True, help=f"{QUICK_CALLS} calls and {QUICK_LIVES} lives; memory is not judged.")
def main(calls: int, lives: int, callers: int, policy: str, *, quick: bool) -> None:
    """Relay calls and place pods for as long as it takes to see whether memory, descriptors or state grow."""
    calls, lives = (QUICK_CALLS, QUICK_LIVES) if quick else (calls, lives)
    place = Path(tempfile.mkdtemp(prefix="crirm-soak-"))
    with soaked(place, policy) as one:
        found = faults(one.work("relayed calls", Count(calls), callers, relay), long=not quick)
        found += faults(one.work("placed pod lives", Count(lives), callers, live), long=not quick)
    if found:
        click.echo("\n".join([*found, f"logs and state are in {place}"]), err=True)
        sys.exit(1)
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
