"""A disk that is full or read-only: crirm goes on or refuses, as configured, and recovers by itself. Needs root."""

from __future__ import annotations

import itertools
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.daemon.state.persistence import FAILED_CLOSED, FAILED_OPEN
from tests.conformance.cri import wait_until
from tests.integration.deciding import Node, make_node
from tests.integration.support import OK, UNAVAILABLE, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.client import Reply
    from tests.integration.support import Program

SIZE = "512k"
CONFIG = """
policy:
  Active: static
  ReservedResources:
    CPU: cpuset:0
state:
  FailClosed: {closed}
"""
REFUSAL = "cannot save state, and state.FailClosed is set"
AGAIN = '"saving state works again; all decisions made meanwhile are saved"'

WITHIN_S = 30.0
GOES_ON, REFUSES = pytest.param(False, id="goes on"), pytest.param(True, id="refuses")


@attrs.frozen
class Disk:
    """A small file system of its own, with the state in it."""

    path: Path

    @property
    def filler(self) -> Path:
        return self.path / "filler"

    def fill(self) -> None:
        """Leave not one byte."""
        with self.filler.open("ab", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], check=True)


@pytest.fixture
def stage(short_path: Path) -> Iterator[Stage]:
    stage = Stage(short_path)
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture
def disk(short_path: Path) -> Iterator[Disk]:
    path = short_path / "state"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0710", "crirm-test", str(path)], check=True)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def node(disk: Disk, stage: Stage, closed: bool) -> Node:
    (stage.place / "config.yaml").write_text(CONFIG.format(closed=str(closed).lower()))
    node = make_node(stage)
    assert node.state == disk.path
    return node


def start(node: Node) -> Program:
    return node.start("--config", node.stage.place / "config.yaml")


def ask_for_one_more(node: Node, disk: Disk, *, refused: bool) -> None:
    """Ask for another container on a disk that is full again, should crirm have found room by tidying up."""
    numbers = itertools.count()

    def answer() -> Reply:
        disk.fill()
        return node.create(f"more{next(numbers)}", 0.1)

    if not refused:
        assert answer().code == OK
        return
    wait_until(lambda: (reply := answer()).code == UNAVAILABLE and REFUSAL in reply.text, WITHIN_S)
    wait_until(lambda: answer().code == UNAVAILABLE and node.ask("status")["state_failure"] != "", WITHIN_S)


@pytest.mark.parametrize("closed", [GOES_ON, REFUSES])
def test_a_full_disk(node: Node, disk: Disk, closed: bool) -> None:
    relay = start(node)
    ended, kept = node.run("u1", 1), node.run("u2", 1)
    disk.fill()
    node.end(ended)  # passes, and is the first that cannot be kept
    relay.wait_log(f'"{FAILED_CLOSED if closed else FAILED_OPEN}"')
    before = node.told()
    assert before.keys() == {kept}
    ask_for_one_more(node, disk, refused=closed)
    disk.filler.unlink()
    relay.wait_log(AGAIN)
    wait_until(lambda: node.ask("status")["state_failure"] == "")
    node.run("u10", 1)
    before = node.told()
    relay.kill()
    start(node)
    assert before == node.told()


@pytest.mark.parametrize("closed", [REFUSES])
def test_a_start_on_a_full_disk_knows_what_was(node: Node, disk: Disk, closed: bool) -> None:
    relay = start(node)
    ended, kept = node.run("u1", 1), node.run("u2", 1)
    node.end(ended)
    before = node.told()
    relay.kill()
    disk.fill()
    relay = start(node)
    relay.wait_log(f'"{FAILED_CLOSED if closed else FAILED_OPEN}"')
    assert before == node.told()
    assert before.keys() == {kept}
    disk.filler.unlink()
    relay.wait_log(AGAIN)
    node.run("u10", 1)
    assert before.items() < node.told().items()


@pytest.mark.parametrize("closed", [GOES_ON])
def test_a_start_on_a_read_only_disk_knows_what_was(node: Node, disk: Disk, closed: bool) -> None:
    relay = start(node)
    ended, kept = node.run("u1", 1), node.run("u2", 1)
    node.end(ended)
    before = node.told()
    relay.kill()
    disk.remount("ro")
    relay = start(node)
    (record,) = relay.records(FAILED_CLOSED if closed else FAILED_OPEN)
    assert "read-only" in record["reason"]
    assert before == node.told()
    assert before.keys() == {kept}
    assert node.create("u9", 1).code == OK
    disk.remount("rw")
    relay.wait_log(AGAIN)
    node.run("u10", 1)
    before = node.told()
    relay.kill()
    start(node)
    assert before == node.told()
