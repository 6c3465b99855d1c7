"""The calls of the image service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime.v1 import (
    ImageFsInfoRequest,
    ImageFsInfoResponse,
    ImageServiceBase,
    ImageStatusRequest,
    ImageStatusResponse,
    ListImagesRequest,
    ListImagesResponse,
    PullImageRequest,
    PullImageResponse,
    RemoveImageRequest,
    RemoveImageResponse,
    StreamImagesRequest,
    StreamImagesResponse,
)
from crirm.sim.call_base import chunks
from crirm.sim.images import AmbiguousError, image_info, listed_image
from crirm.sim.index import quoted
from crirm.sim.stats import image_filesystems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crirm.sim.images import StoredImage
    from crirm.sim.model import Model
    from crirm.sim.settings import SimSettings


class ImageService(ImageServiceBase):
    """asyncio-flavoured handlers of every method of the image service."""

    def __init__(self, model: Model, settings: SimSettings) -> None:
        self.model = model
        self.settings = settings

    async def list_images(self, _request: ListImagesRequest) -> ListImagesResponse:
        """List all images; the filter is ignored, as containerd ignores it."""
        return ListImagesResponse(images=[listed_image(image) for image in self.model.images])

    async def stream_images(self, _request: StreamImagesRequest) -> AsyncIterator[StreamImagesResponse]:
        """List all images in several messages."""
        for chunk in chunks(self.model.images, self.settings.stream_chunk):
            yield StreamImagesResponse(images=[listed_image(image) for image in chunk])

    async def image_status(self, request: ImageStatusRequest) -> ImageStatusResponse:
        """Return the status of an image; empty if it does not exist."""
        image = self._find(request.image.image)
        if image is None:
            return ImageStatusResponse()
        return ImageStatusResponse(image=listed_image(image), info=image_info(image) if request.verbose else {})

    async def pull_image(self, request: PullImageRequest) -> PullImageResponse:
        """Register an image of any name."""
        name = request.image.image
        try:
            image = self.model.pull_image(name)
        except ValueError as fault:
            raise GRPCError(Status.UNKNOWN, f"failed to parse image reference {quoted(name)}: {fault}") from fault
        return PullImageResponse(image.id)

    async def remove_image(self, request: RemoveImageRequest) -> RemoveImageResponse:
        """Remove an image with all its tags; none is no error."""
        if (image := self._find(request.image.image)) is not None:
            self.model.remove_image(image.id)
        return RemoveImageResponse()

    async def image_fs_info(self, _request: ImageFsInfoRequest) -> ImageFsInfoResponse:
        """Return the disk usage of images."""
        return image_filesystems(self.model.images, self.model.clock())

    def _find(self, name: str) -> StoredImage | None:
        try:
            return self.model.images.find(name)
        except AmbiguousError as fault:
            raise GRPCError(Status.UNKNOWN, f"can not resolve {quoted(name)} locally: {fault}") from fault
