"""Container images made by hand: one OCI archive from the machine's own static busybox, no registry and no compiler.

The archive holds two names, the image that test pods run and the pause image that keeps a sandbox alive; both have
the same single layer, so their cost is one busybox.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import attrs

from crirm.errors import CrirmError

BUSYBOX_IMAGE = "localhost/crirm/busybox:1"
PAUSE_IMAGE = "localhost/crirm/pause:1"

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PROGRAM_HEADERS_AT = slice(32, 40)
_PROGRAM_HEADER_SHAPE = slice(54, 58)
_PT_INTERP = 3


class ImageError(CrirmError):
    """An image cannot be built from what this machine has."""


@attrs.frozen
class Image:
    """What one name of the archive runs."""

    name: str
    command: tuple[str, ...]
    labels: dict[str, str] = attrs.field(factory=dict)


# A sandbox needs a process that never ends; the kernel keeps SIGTERM from it, and runtimes send SIGKILL.
STANDARD_IMAGES = (
    Image(BUSYBOX_IMAGE, ("/bin/sh",)),
    Image(PAUSE_IMAGE, ("/bin/sleep", "2147483647")),
)


def find_busybox() -> Path | None:
    """The machine's statically linked busybox, if it has one."""
    for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        if path.exists() and is_static(path.read_bytes()):
            return path
    return None


def write_archive(path: Path, images: tuple[Image, ...] = STANDARD_IMAGES) -> None:
    """Write an OCI image archive that ``ctr images import`` reads.

    Args:
        path: the file to write.
        images: the names it holds; equal commands and labels give equal image ids.

    Raises:
        ImageError: there is no static busybox, or the architecture is neither x86-64 nor aarch64.
    """
    layer = _busybox_layer()
    blobs: dict[str, bytes] = {}
    index = _json({"schemaVersion": 2, "manifests": [_add_image(image, layer, blobs) for image in images]})
    with tarfile.open(path, "w") as archive:
        _add_file(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add_file(archive, "index.json", index)
        for digest, content in blobs.items():
            _add_file(archive, f"blobs/sha256/{digest}", content)


def _busybox_layer() -> bytes:
    """One uncompressed layer: busybox, a link for each of its commands, and what a root filesystem has."""
    busybox = find_busybox()
    if busybox is None:
        raise ImageError("no static busybox at /bin/busybox; install the package busybox-static")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)  # noqa: S603 - just found
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for folder in ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var"):
            _add_folder(layer, folder, mode=0o1777 if folder == "tmp" else 0o755)
        _add_file(layer, "bin/busybox", busybox.read_bytes(), mode=0o755)
        _add_file(layer, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/sh\n")
        _add_file(layer, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        for command in listed.stdout.split():
            if command != "busybox":
                _add_link(layer, f"bin/{command}", "busybox")
    return buffer.getvalue()


def _add_image(image: Image, layer: bytes, blobs: dict[str, bytes]) -> dict[str, Any]:
    """Add one image's blobs; return its descriptor for the index."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise ImageError(f"unsupported architecture {machine}; images exist for {' and '.join(_ARCHITECTURES)}")
    config = {
        "architecture": _ARCHITECTURES[machine],
        "os": "linux",
        "config": {"Entrypoint": list(image.command), "Env": ["PATH=/bin"], "Labels": image.labels},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _add_blob(_json(config), _CONFIG, blobs),
        "layers": [_add_blob(layer, _LAYER, blobs)],
    }
    descriptor = _add_blob(_json(manifest), _MANIFEST, blobs)
    return {**descriptor, "annotations": {"io.containerd.image.name": image.name}}


def _add_blob(content: bytes, media_type: str, blobs: dict[str, bytes]) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _add_file(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(content))


def _add_folder(archive: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE
    entry.mode = mode
    archive.addfile(entry)


def _add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.SYMTYPE
    entry.linkname = target
    archive.addfile(entry)


def is_static(elf: bytes) -> bool:
    """Whether a 64-bit little-endian ELF program names no dynamic loader.

    Source: System V ABI, ELF-64 header and program headers.
    """
    if not elf.startswith(b"\x7fELF\x02\x01"):
        return False
    start = int.from_bytes(elf[_PROGRAM_HEADERS_AT], "little")
    size, count = (int.from_bytes(elf[_PROGRAM_HEADER_SHAPE][at : at + 2], "little") for at in (0, 2))
    kinds = (int.from_bytes(elf[start + i * size : start + i * size + 4], "little") for i in range(count))
    return _PT_INTERP not in kinds
