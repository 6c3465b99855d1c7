"""Which runtime a call goes to, and in which version of CRI."""

from __future__ import annotations

import pytest

from crirm.cri.proto.runtime import v1
from tests.conformance.client import unary
from tests.conformance.cri import wait_until
from tests.integration.support import OK, UNIMPLEMENTED, VERSION, Stage

IMAGE_FS = "/runtime.v1.ImageService/ImageFsInfo"
PULL = "/runtime.v1.ImageService/PullImage"
V1ALPHA2_VERSION = "/runtime.v1alpha2.RuntimeService/Version"
V1ALPHA2_IMAGES = "/runtime.v1alpha2.ImageService/ListImages"
UNKNOWN_METHOD = "/runtime.v1.RuntimeService/NotThoughtOfYet"


def test_image_calls_go_to_a_socket_of_their_own(stage: Stage) -> None:
    images = stage.place / "i.sock"
    stage.starting_runtime(socket=images)
    stage.both("--image-socket", images)
    client = stage.client()
    request = bytes(v1.PullImageRequest(image=v1.ImageSpec(image="example.test/only:here")))
    assert unary(client, PULL, request).code == OK
    assert unary(client, VERSION, b"").code == OK
    assert (stage.watch(images).count("answered", PULL), stage.watch().count("answered", PULL)) == (1, 0)
    assert (stage.watch(images).count("answered", VERSION), stage.watch().count("answered", VERSION)) == (0, 2)


def test_images_that_are_not_served_are_unimplemented_and_the_rest_works(stage: Stage) -> None:
    stage.both("--image-socket", "-")
    client = stage.client()
    replies = [unary(client, path, b"") for path in (IMAGE_FS, V1ALPHA2_IMAGES, VERSION)]
    assert [reply.code for reply in replies] == [UNIMPLEMENTED, UNIMPLEMENTED, OK]
    assert "--image-socket" in replies[0].text


def test_a_lost_image_socket_leaves_the_other_calls_alone(stage: Stage) -> None:
    images = stage.place / "i.sock"
    image_runtime = stage.starting_runtime(socket=images)
    _, relay = stage.both("--image-socket", images)
    client = stage.client()
    image_runtime.kill()
    relay.wait_log("runtime is gone")
    refused = unary(client, IMAGE_FS, b"")
    assert str(images) in refused.text
    assert unary(client, VERSION, b"").code == OK
    stage.runtime(socket=images)
    wait_until(lambda: unary(client, IMAGE_FS, b"").code == OK)


@pytest.mark.parametrize(("api", "other"), [("v1", "v1alpha2"), ("v1alpha2", "v1")])
def test_callers_and_runtimes_of_different_versions_understand_each_other(stage: Stage, api: str, other: str) -> None:
    stage.both(runtime_args=["--api", api])
    client = stage.client()
    for spoken in (api, other):
        reply = unary(client, f"/runtime.{spoken}.RuntimeService/Version", b"")
        assert v1.VersionResponse().parse(reply.message).runtime_api_version == api
        assert unary(client, f"/runtime.{spoken}.ImageService/ListImages", b"").code == OK
    assert stage.watch().count("answered", f"/runtime.{other}.RuntimeService/Version") == 0


def test_what_the_runtime_does_not_know_is_refused_in_its_own_words(stage: Stage) -> None:
    stage.both()
    direct, relayed = (
        unary(stage.client(socket=socket), UNKNOWN_METHOD, b"") for socket in (stage.runtime_socket, stage.relay_socket)
    )
    assert direct == relayed


def test_the_versions_of_a_runtime_are_learnt_anew_when_it_comes_back(stage: Stage) -> None:
    runtime, relay = stage.both(runtime_args=["--api", "v1alpha2"])
    client = stage.client()
    assert unary(client, VERSION, b"").code == OK
    assert runtime.stop() == 0
    stage.runtime("--api", "v1")
    relay.wait_log("runtime is back")
    reply = unary(client, V1ALPHA2_VERSION, b"")
    assert v1.VersionResponse().parse(reply.message).runtime_api_version == "v1"
