from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crirm.launcher.oci_image import PAUSE_IMAGE
from crirm.launcher.settings import ConfigFacts, render_config

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path('/tmp/a "private" instance')
RUNC = Path("/usr/sbin/runc")
V2_CRI = "io.containerd.grpc.v1.cri"
V3_RUNTIME = "io.containerd.cri.v1.runtime"
V3_IMAGES = "io.containerd.cri.v1.images"
RELEASES = [
    pytest.param(release, id=".".join(map(str, release))) for release in ((1, 4), (1, 6), (1, 7), (2, 0), (2, 1))
]


def _config(release: tuple[int, int]) -> dict[str, Any]:
    facts = ConfigFacts(
        root=ROOT,
        socket=ROOT / "c.sock",
        runc=RUNC,
        snapshotter="native",
        restrict_oom_score_adj=True,
        release=release,
    )
    return tomllib.loads(render_config(facts))


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_is_shared_with_another_containerd(release: tuple[int, int]) -> None:
    paths = [text for text in _texts(_config(release)) if text.startswith("/") and text != str(RUNC)]
    assert str(ROOT / "root") in paths
    assert [path for path in paths if not Path(path).is_relative_to(ROOT)] == []


@pytest.mark.parametrize("release", RELEASES)
def test_node_resource_interface_is_off(release: tuple[int, int]) -> None:
    assert "io.containerd.nri.v1.nri" in _config(release)["disabled_plugins"]


@pytest.mark.parametrize(
    ("release", "schema", "image", "runtime"),
    [
        pytest.param((1, 4), 2, ("sandbox_image",), V2_CRI, id="1.4"),
        pytest.param((1, 7), 2, ("sandbox_image",), V2_CRI, id="1.7"),
        pytest.param((2, 1), 3, ("pinned_images", "sandbox"), V3_RUNTIME, id="2.1"),
    ],
)
def test_each_schema_has_its_own_names(
    release: tuple[int, int], schema: int, image: tuple[str, ...], runtime: str
) -> None:
    config = _config(release)
    plugins = config["plugins"]
    pause = plugins[V2_CRI if schema == 2 else V3_IMAGES]
    for name in image:
        pause = pause[name]
    assert config["version"] == schema
    assert pause == PAUSE_IMAGE
    assert plugins[runtime]["restrict_oom_score_adj"]
    assert plugins[runtime]["containerd"]["runtimes"]["runc"]["options"]["Root"] == str(ROOT / "runc")


@pytest.mark.parametrize(
    ("release", "name"),
    [
        pytest.param((2, 0), "bin_dir", id="2.0 knows one folder for CNI programs"),
        pytest.param((2, 1), "bin_dirs", id="2.1 warns of that, and has a list"),
    ],
)
def test_folder_of_cni_programs(release: tuple[int, int], name: str) -> None:
    assert set(_config(release)["plugins"][V3_RUNTIME]["cni"]) == {name, "conf_dir"}


def _texts(value: object) -> Iterator[str]:
    match value:
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)
        case str():
            yield value
