"""Fixtures for tests that run inside an emulated server; everywhere else they skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.hosts.synthetic import topology_of
from tests.trio_thread import open_trio_thread
from tests.vm.inside.facts import this_server
from tests.vm.inside.node import Node, Nodes, start_containerd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.launcher.containerd import Containerd, Installation
    from crirm.model.topology import Topology
    from tests.trio_thread import TrioThread
    from tests.vm.servers import Server


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "servers(*names): the emulated servers that a test is made for; else all")
    config.addinivalue_line("markers", "thorough: not among those that CI runs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    server = this_server()
    if server is None:
        return
    kept: list[pytest.Item] = []
    gone: list[pytest.Item] = []
    for item in items:
        marker = item.get_closest_marker("servers")
        (kept if marker is None or server.name in marker.args else gone).append(item)
    config.hook.pytest_deselected(items=gone)
    items[:] = kept


@pytest.fixture(scope="session")
def server() -> Server:
    found = this_server()
    if found is None:
        pytest.skip("runs inside an emulated server: nox -s vm")
    return found


@pytest.fixture(scope="session")
def machine(server: Server) -> Topology:
    """The server as it was asked for."""
    return topology_of(server.spec)


@pytest.fixture(scope="session")
def trio_thread() -> Iterator[TrioThread]:
    with open_trio_thread() as thread:
        yield thread


@pytest.fixture(scope="session")
def containerd(server: Server, installation: Installation, trio_thread: TrioThread) -> Containerd:
    return start_containerd(trio_thread, installation, server)


@pytest.fixture(scope="session")
def node_keeper(server: Server, containerd: Containerd) -> Iterator[Nodes]:
    kept = Nodes(containerd, server)
    yield kept
    kept.stop()


@pytest.fixture(autouse=True)
def _only_inside(server: Server) -> None:
    """No test at all where there is no server."""


@pytest.fixture
def node(request: pytest.FixtureRequest, node_keeper: Nodes) -> Iterator[Node]:
    """crirm with the configuration ``CONFIG`` of the test's module, and no pods before or after."""
    current = node_keeper.get(request.module.CONFIG)
    yield current
    current.kubelet.remove_all()
