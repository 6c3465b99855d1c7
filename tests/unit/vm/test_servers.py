from __future__ import annotations

import pytest

from tests.vm.servers import SERVERS, ServerError, find_server


def test_a_name_is_found() -> None:
    assert find_server("dies") is SERVERS["dies"]


def test_a_description_makes_a_server_whose_threads_are_numbered_as_qemu_does() -> None:
    server = find_server("2p.1c.2t mem=1Gi")
    assert server.name == "2p.1c.2t mem=1Gi"
    assert server.spec.packages == 2
    assert server.spec.adjacent_threads


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("two-socket", "one-socket, two-sockets", id="neither a name nor a description"),
        pytest.param("16p.16c.2t mem=128Mi", "512 CPUs", id="too large"),
        pytest.param("1p.2l.2c", "L3 groups", id="L3 groups"),
        pytest.param("1p.2c ecores=4", "ecores=", id="efficiency cores"),
        pytest.param("1p.2c cxl=1Gi", "take pmem=", id="memory that cannot be told from other"),
        pytest.param("1p.2c mem=100Mi", "multiples of 128Mi", id="memory that is no whole block"),
        pytest.param("2p.2c movable=1", "nodes with CPUs", id="movable memory beside CPUs"),
        pytest.param("1p.2c movable=0", "the kernel itself", id="no memory for the kernel"),
    ],
)
def test_what_cannot_be_emulated_is_refused(line: str, said: str) -> None:
    with pytest.raises(ServerError, match=said):
        find_server(line)
