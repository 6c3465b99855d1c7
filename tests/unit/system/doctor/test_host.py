from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from crirm.system.doctor import Host
from tests.unit.system.doctor.tree import make_host

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("links", "name", "found"),
    [
        pytest.param({}, "/run/a", "run/a", id="no link"),
        pytest.param({"/var/run": "-> /run"}, "/var/run/a", "run/a", id="an absolute link stays inside"),
        pytest.param({"/var/run": "-> ../run"}, "/var/run/a", "run/a", id="a relative link"),
        pytest.param({"/a": "-> ../../../../run"}, "/a/b", "run/b", id="there is nothing above the root"),
        pytest.param({"/a": "-> /b", "/b": "-> c"}, "/a/x", "c/x", id="a link to a link"),
        pytest.param({"/run/a": "-> /etc/../run/b"}, "/run/a", "run/b", id="dots in a link"),
        pytest.param({}, "/etc/../run/./a", "run/a", id="dots in the name"),
    ],
)
def test_links_are_followed_as_the_host_would(links: dict[str, str], name: str, found: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, links)
    assert host.path(name) == tmp_path / found


def test_the_own_root_is_the_kernels_view() -> None:
    assert Host().path("/proc/self") == Host().path(f"/proc/{os.getpid()}")


def test_a_ring_of_links_is_an_error(tmp_path: Path) -> None:
    host = make_host(tmp_path, {"/a": "-> /b", "/b": "-> /a"})
    with pytest.raises(OSError, match="symbolic links"):
        host.path("/a/x")


def test_what_is_missing_has_no_text_and_no_names(tmp_path: Path) -> None:
    host = make_host(tmp_path, {"/file": "here"})
    assert (host.text("/none"), host.text("/file/below"), host.text("/file")) == (None, None, "here")
    assert (host.names("/none"), host.names("/file"), host.names("/")) == ([], [], ["/file"])
