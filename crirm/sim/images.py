"""Images: a few built-in ones, and every name that is pulled."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

import attrs
from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime.v1 import Image
from crirm.launcher.oci_image import BUSYBOX_IMAGE, PAUSE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DIGEST = "sha256:"
DEFAULT_DOMAIN = "docker.io"
PULLED_SIZE_BYTES = 10_000_000
_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._/:-]*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?", re.ASCII)


def split_reference(reference: str) -> tuple[str, str, str]:
    """Return repository, tag and digest of *reference*; missing parts are empty."""
    named, _, digest = reference.partition("@")
    repository, colon, tag = named.rpartition(":")
    if not colon or "/" in tag:
        return named, "", digest
    return repository, tag, digest


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """Return repository and tags of an image with one *name*."""
    repository, tag, _ = split_reference(name)
    return repository, (tag,)


class AmbiguousError(ValueError):
    """A name is ambiguous."""


@attrs.frozen
class BuiltIn:
    """A built-in image.

    Attributes:
        command: of containers without a command of their own.
        is_busybox: whether the programs in it are known.
        is_imported: whether it came from an archive, so that no registry's digest belongs to it.
    """

    repository: str
    tags: tuple[str, ...]
    size_bytes: int
    command: tuple[str, ...]
    is_pinned: bool = False
    is_busybox: bool = False
    is_imported: bool = False


BUILT_IN = (
    BuiltIn("registry.k8s.io/pause", ("3.9", "3.10"), 321_520, ("/pause",), is_pinned=True),
    BuiltIn("docker.io/library/busybox", ("latest", "1.36"), 2_166_802, ("sh",), is_busybox=True),
    BuiltIn(*split_name(PAUSE_IMAGE), 2_130_571, ("sleep", "2147483647"), is_pinned=True, is_imported=True),
    BuiltIn(*split_name(BUSYBOX_IMAGE), 2_130_571, ("/bin/sh",), is_busybox=True, is_imported=True),
)


@attrs.define(eq=False)
class StoredImage:
    """One image: all tags and digests of the same content.

    Attributes:
        id: ``sha256:`` and 64 hexadecimal digits.
        command: of containers without a command of their own.
        is_busybox: whether the programs in it are known.
    """

    id: str
    tags: list[str]
    digests: list[str]
    size_bytes: int
    command: tuple[str, ...] = ()
    is_pinned: bool = False
    is_busybox: bool = False


class Images:
    """The images of the node, by id, tag and digest."""

    def __init__(self, built_in: Iterable[BuiltIn] = BUILT_IN) -> None:
        self._by_id: dict[str, StoredImage] = {}
        for item in built_in:
            tags = [f"{item.repository}:{tag}" for tag in item.tags]
            image = self._add(item.repository, tags, item.size_bytes)
            image.command, image.is_pinned, image.is_busybox = item.command, item.is_pinned, item.is_busybox
            if item.is_imported:
                image.digests.clear()

    def __iter__(self) -> Iterator[StoredImage]:
        return iter(list(self._by_id.values()))

    def _add(self, repository: str, tags: list[str], size_bytes: int) -> StoredImage:
        identity = DIGEST + hashlib.sha256(" ".join((repository, *tags)).encode()).hexdigest()
        digest = DIGEST + hashlib.sha256(identity.encode()).hexdigest()
        image = StoredImage(identity, tags, [f"{repository}@{digest}"], size_bytes)
        self._by_id[identity] = image
        return image

    def pull(self, name: str) -> StoredImage:
        """Register *name*, which needs no download, and return its image.

        Raises:
            ValueError: *name* is not an image reference.
        """
        reference = normalized(name)
        if (known := self.find(name)) is not None:
            return known
        repository, _, digest = split_reference(reference)
        image = self._add(repository, [] if digest else [reference], PULLED_SIZE_BYTES)
        if digest:
            image.digests[:] = [reference]
        return image

    def find(self, name: str) -> StoredImage | None:
        """Return the image of *name*, an id, the beginning of one, a tag or a digest; None if there is none.

        Raises:
            AmbiguousError: *name* is the beginning of several ids.
        """
        if (found := self._by_id.get(name) or self._by_id.get(DIGEST + name)) is not None:
            return found
        reference = normalized(name) if _REFERENCE.fullmatch(name) else name
        for image in self._by_id.values():
            if reference in image.tags or reference in image.digests:
                return image
        part = DIGEST + name.removeprefix(DIGEST)
        starts = [image for image in self._by_id.values() if image.id.startswith(part)]
        if len(starts) > 1:
            raise AmbiguousError("ambiguous digest string")
        return starts[0] if starts else None

    def get(self, name: str, during: str) -> StoredImage:
        """Return the image of *name*.

        Raises:
            GRPCError: NOT_FOUND if there is none; UNKNOWN if *name* is ambiguous.
        """
        try:
            image = self.find(name)
        except AmbiguousError as fault:
            raise GRPCError(Status.UNKNOWN, f"{during}: {fault}") from fault
        if image is None:
            raise GRPCError(Status.NOT_FOUND, f"{during}: not found")
        return image

    def remove(self, name: str) -> bool:
        """Remove the image of *name*, with all its tags; returns whether there was one."""
        image = self.find(name)
        if image is None:
            return False
        del self._by_id[image.id]
        return True

    def total_bytes(self) -> int:
        """Return the size of all images together."""
        return sum(image.size_bytes for image in self._by_id.values())


def normalized(name: str) -> str:
    """Return the whole form of the image name *name*: domain, repository, and a tag or a digest.

    Raises:
        ValueError: *name* is not an image reference.
    """
    if _REFERENCE.fullmatch(name) is None:
        raise ValueError("invalid reference format")
    first, slash, rest = name.partition("/")
    if not slash or ("." not in first and ":" not in first and first != "localhost"):
        first, rest = DEFAULT_DOMAIN, name if slash else f"library/{name}"
    repository, tag, digest = split_reference(f"{first}/{rest}")
    return f"{repository}@{digest}" if digest else f"{repository}:{tag or 'latest'}"


def listed_image(image: StoredImage) -> Image:
    """Return *image* as in lists and ImageStatus."""
    return Image(
        id=image.id,
        repo_tags=image.tags,
        repo_digests=image.digests,
        size=image.size_bytes,
        pinned=image.is_pinned,
    )


def image_info(image: StoredImage) -> dict[str, str]:
    """Return the verbose part of ImageStatus: one JSON text under the key ``info``."""
    return {"info": json.dumps({"imageSpec": {"os": "linux", "config": {"Cmd": list(image.command)}}})}
