"""Images: listed, found, brought in, and taken away again."""

from __future__ import annotations

from typing import Any

from crirm.cri.proto.runtime import v1
from crirm.launcher.oci_image import BUSYBOX_IMAGE
from tests.conformance.cri import OK, World

Outcome = dict[str, Any]


def image_listing(world: World) -> Outcome:
    seen = {
        "all": _listed(world, v1.ListImagesRequest()),
        "by name": _listed(world, v1.ListImagesRequest(filter=_filter(BUSYBOX_IMAGE))),
        "without tag": _listed(world, v1.ListImagesRequest(filter=_filter(BUSYBOX_IMAGE.partition(":")[0]))),
        "absent": _listed(world, v1.ListImagesRequest(filter=_filter("localhost/crirm/none:1"))),
    }
    # containerd before 2.0 pays no attention to the filter.
    for listed in (seen["all"], seen["by name"]):
        assert [BUSYBOX_IMAGE] in [image["repoTags"] for image in listed]
    return seen


def image_status(world: World) -> Outcome:
    present = v1.ImageSpec(image=BUSYBOX_IMAGE)
    absent = v1.ImageSpec(image="localhost/crirm/none:1")
    verbose = world.cri.call("ImageStatus", v1.ImageStatusRequest(image=present, verbose=True), v1.ImageStatusResponse)
    by_id = v1.ImageSpec(image=verbose.image.id)
    return {
        "present": world.outcome("ImageStatus", v1.ImageStatusRequest(image=present)),
        "by id": world.outcome("ImageStatus", v1.ImageStatusRequest(image=by_id)),
        "absent": world.outcome("ImageStatus", v1.ImageStatusRequest(image=absent)),
        "info": sorted(verbose.info),
    }


def image_file_system(world: World) -> Outcome:
    info = world.cri.call("ImageFsInfo", v1.ImageFsInfoRequest(), v1.ImageFsInfoResponse)
    (known,) = info.image_filesystems
    assert known.timestamp > 0
    return {"info": world.plain(info)}


def image_comes_and_goes(world: World) -> Outcome:
    """An image brought in behind the relay's back, then removed twice."""
    name = "localhost/crirm/passing:1"
    status = v1.ImageStatusRequest(image=v1.ImageSpec(image=name))
    remove = v1.RemoveImageRequest(image=v1.ImageSpec(image=name))
    seen: Outcome = {"before": world.outcome("ImageStatus", status)}
    world.import_image(name)
    seen["there"] = _names(world, name)
    seen["listed"] = [name] in [image["repoTags"] for image in _listed(world, v1.ListImagesRequest())]
    seen["removed"] = world.outcome("RemoveImage", remove)
    seen["removed again"] = world.outcome("RemoveImage", remove)
    seen["after"] = world.outcome("ImageStatus", status)
    assert seen["there"] == [name]
    assert seen["listed"]
    assert seen["before"] == seen["after"] == seen["removed"] == {"code": OK, "reply": {}}
    return seen


def image_of_two_names(world: World) -> Outcome:
    """Removing one name of an image removes the image."""
    first, second = "localhost/crirm/double:1", "localhost/crirm/double:2"
    world.import_image(first, second)
    names = _names(world, first)
    removed = world.outcome("RemoveImage", v1.RemoveImageRequest(image=v1.ImageSpec(image=first)))
    after = world.outcome("ImageStatus", v1.ImageStatusRequest(image=v1.ImageSpec(image=second)))
    assert names == [first, second]
    assert after == {"code": OK, "reply": {}}
    return {"names": names, "removed": removed, "after": after}


def failed_pull(world: World) -> Outcome:
    """An image of a registry that nobody serves."""
    request = v1.PullImageRequest(image=v1.ImageSpec(image="127.0.0.1:1/nothing:1"))
    pulled = world.outcome("PullImage", request)
    assert pulled["code"] != OK
    return {"pulled": pulled}


def _names(world: World, name: str) -> list[str]:
    request = v1.ImageStatusRequest(image=v1.ImageSpec(image=name))
    return sorted(world.cri.call("ImageStatus", request, v1.ImageStatusResponse).image.repo_tags)


def _filter(name: str) -> v1.ImageFilter:
    return v1.ImageFilter(image=v1.ImageSpec(image=name))


def _listed(world: World, request: v1.ListImagesRequest) -> list[Any]:
    """The suite's own images; a runtime may have come with others."""
    listed = world.cri.call("ListImages", request, v1.ListImagesResponse).images
    ours = [image for image in listed if any(tag.startswith("localhost/crirm/") for tag in image.repo_tags)]
    return sorted((world.plain(image) for image in ours), key=str)


SCENARIOS = (image_listing, image_status, image_file_system, image_comes_and_goes, image_of_two_names, failed_pull)
