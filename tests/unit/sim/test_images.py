from __future__ import annotations

import pytest
from grpclib import GRPCError

from crirm.sim.images import AmbiguousError, Images, normalized, split_reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        pytest.param("busybox", "docker.io/library/busybox:latest", id="a bare name"),
        pytest.param("me/app:1", "docker.io/me/app:1", id="a user's repository"),
        pytest.param("quay.io/app", "quay.io/app:latest", id="a registry"),
        pytest.param("localhost/a/b:1", "localhost/a/b:1", id="localhost is a registry"),
        pytest.param("host:5000/app", "host:5000/app:latest", id="a registry's port is no tag"),
        pytest.param(f"app:1@{DIGEST}", f"docker.io/library/app@{DIGEST}", id="a digest wins over a tag"),
    ],
)
def test_normalized(name: str, whole: str) -> None:
    assert normalized(name) == whole


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "app@sha256:12"])
def test_no_reference(name: str) -> None:
    with pytest.raises(ValueError, match="invalid reference format"):
        normalized(name)


def test_split_reference() -> None:
    assert split_reference(f"host:5000/app@{DIGEST}") == ("host:5000/app", "", DIGEST)


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(lambda _image: "busybox", id="a short name"),
        pytest.param(lambda image: image.tags[1], id="another tag"),
        pytest.param(lambda image: image.digests[0], id="a digest"),
        pytest.param(lambda image: image.id, id="an id"),
        pytest.param(lambda image: image.id.removeprefix("sha256:"), id="an id without its kind"),
        pytest.param(lambda image: image.id[:20], id="a part of an id"),
    ],
)
def test_one_image_has_many_names(spelling: object) -> None:
    images = Images()
    busybox = images.find("docker.io/library/busybox:latest")
    assert busybox is not None
    assert images.find(spelling(busybox)) is busybox  # type: ignore[operator]


def test_pull_registers_any_name_once() -> None:
    images = Images()
    pulled = images.pull("quay.io/me/app:1")
    assert pulled.tags == ["quay.io/me/app:1"]
    assert images.pull("quay.io/me/app:1") is pulled
    assert images.pull(f"quay.io/me/app@{DIGEST}").digests == [f"quay.io/me/app@{DIGEST}"]
    assert len({image.id for image in images}) == len(list(images))


def test_remove_takes_every_tag_of_the_image() -> None:
    images = Images()
    size = images.total_bytes()
    assert images.remove("busybox:1.36")
    assert images.find("busybox:latest") is None
    assert images.total_bytes() < size
    assert not images.remove("busybox:latest")


def test_beginning_of_all_ids_is_ambiguous() -> None:
    with pytest.raises(AmbiguousError):
        Images().find("")
    with pytest.raises(GRPCError, match="resolving: ambiguous digest string"):
        Images().get("", "resolving")
    with pytest.raises(GRPCError, match="resolving: not found"):
        Images().get("nope", "resolving")
