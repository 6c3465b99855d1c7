from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from crirm.launcher import oci_image
from crirm.launcher.oci_image import Image, ImageError, find_busybox, is_static, write_archive

if TYPE_CHECKING:
    from pathlib import Path


def _elf(*kinds: int) -> bytes:
    """An ELF-64 head with one program header of each kind, 56 bytes each, after its 64 bytes."""
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    head[32:40] = (64).to_bytes(8, "little")
    head[54:58] = (56).to_bytes(2, "little") + len(kinds).to_bytes(2, "little")
    return bytes(head) + b"".join(kind.to_bytes(4, "little") + bytes(52) for kind in kinds)


@pytest.mark.parametrize(
    ("program", "static"),
    [
        pytest.param(_elf(1, 1, 4), True, id="segments to load and a note"),
        pytest.param(_elf(6, 3, 1), False, id="an interpreter is named"),
        pytest.param(_elf(), True, id="no program header"),
        pytest.param(b"#!/bin/sh\n", False, id="a script"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_static_programs_name_no_loader(program: bytes, static: bool) -> None:
    assert is_static(program) == static


@pytest.fixture
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Files of an archive with two names, made from a busybox that only knows how to list three commands."""
    busybox = tmp_path / "busybox"
    busybox.write_text("#!/bin/sh\nprintf 'busybox\\nsh\\nsleep\\n'\n")
    busybox.chmod(0o755)
    monkeypatch.setattr(oci_image, "find_busybox", lambda: busybox)
    write_archive(tmp_path / "a.tar", (Image("one:1", ("/bin/sh",)), Image("two:1", ("/bin/sleep", "9"))))
    return _files((tmp_path / "a.tar").read_bytes())


def test_every_blob_is_named_by_its_digest(blobs: dict[str, bytes]) -> None:
    named = {name.rpartition("/")[2]: content for name, content in blobs.items() if name.startswith("blobs/sha256/")}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in named.items()} == {n: n for n in named}


def test_index_leads_to_config_and_layer_of_each_name(blobs: dict[str, bytes]) -> None:
    commands = {}
    for descriptor in json.loads(blobs["index.json"])["manifests"]:
        manifest = json.loads(_follow(blobs, descriptor))
        config = json.loads(_follow(blobs, manifest["config"]))
        (layer,) = manifest["layers"]
        assert config["rootfs"]["diff_ids"] == [layer["digest"]]
        commands[descriptor["annotations"]["io.containerd.image.name"]] = config["config"]["Entrypoint"]
    assert commands == {"one:1": ["/bin/sh"], "two:1": ["/bin/sleep", "9"]}


def test_layer_links_every_command_to_busybox(blobs: dict[str, bytes]) -> None:
    manifest = json.loads(_follow(blobs, json.loads(blobs["index.json"])["manifests"][0]))
    with tarfile.open(fileobj=io.BytesIO(_follow(blobs, manifest["layers"][0]))) as layer:
        links = {entry.name: entry.linkname for entry in layer if entry.issym()}
        assert layer.getmember("bin/busybox").mode == 0o755
        assert layer.getmember("tmp").mode == 0o1777
    assert links == {"bin/sh": "busybox", "bin/sleep": "busybox"}


def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_image, "find_busybox", lambda: None)
    with pytest.raises(ImageError, match="install the package busybox-static"):
        write_archive(tmp_path / "a.tar")


def test_busybox_that_is_found_is_static() -> None:
    found = find_busybox()
    assert found is None or is_static(found.read_bytes())


def _files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        files = {entry.name: opened.extractfile(entry) for entry in opened if entry.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def _follow(blobs: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    content = blobs[f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"]
    assert len(content) == descriptor["size"]
    return content
