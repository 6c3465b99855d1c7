"""The router of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from grpclib.const import Status
from structlog.testing import capture_logs

from crirm.daemon.relay.link import Link
from crirm.daemon.relay.router import Relay, is_endless, log
from crirm.daemon.relay.runtime_info import RuntimeInfo
from crirm.rpc.calls import Refusal
from crirm.rpc.server import Route
from crirm.rpc.tap import Latency, Outcome
from tests.unit.daemon.fake_pool import FakePool

if TYPE_CHECKING:
    from crirm.rpc.client import Pool

V1_STATUS = b"/runtime.v1.RuntimeService/Status"
V1ALPHA2_STATUS = b"/runtime.v1alpha2.RuntimeService/Status"
V1_IMAGES = b"/runtime.v1.ImageService/ListImages"


class CountingLink(Link):
    """A link that counts who asks it to hurry."""

    kicks = 0

    def kick(self) -> None:
        self.kicks += 1


def link_to(socket_path: str, *api_versions: str) -> CountingLink:
    """A link that is up, unless it speaks no version."""
    link = CountingLink("RuntimeService", cast("Pool", FakePool([{}], socket_path)), allow_untested=False)
    link.info = RuntimeInfo("containerd", "v1.7", api_versions) if api_versions else None
    return link


@pytest.mark.parametrize(
    ("versions", "path", "sent"),
    [
        pytest.param(("v1",), V1_STATUS, V1_STATUS, id="the same version"),
        pytest.param(("v1", "v1alpha2"), V1ALPHA2_STATUS, V1ALPHA2_STATUS, id="a version that the runtime has too"),
        pytest.param(("v1",), V1ALPHA2_STATUS, V1_STATUS, id="an old caller, a new runtime"),
        pytest.param(("v1alpha2",), V1_STATUS, V1ALPHA2_STATUS, id="a new caller, an old runtime"),
        pytest.param(("v1alpha2",), b"/runtime.v1.Later/New", b"/runtime.v1alpha2.Later/New", id="a later service"),
        pytest.param(("v1",), b"/runtime.v2.RuntimeService/Status", b"/runtime.v2.RuntimeService/Status", id="v2"),
        pytest.param(("v1",), b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Check", id="another API"),
        pytest.param(("v1",), b"", b"", id="no path at all"),
        pytest.param(("v1",), b"/\xff\xfe/x", b"/\xff\xfe/x", id="a path that is no text"),
    ],
)
def test_calls_go_to_the_runtime_in_a_version_that_it_has(versions: tuple[str, ...], path: bytes, sent: bytes) -> None:
    link = link_to("/c.sock", *versions)
    assert Relay(link, link).route(path) == Route(link.pool, sent)


@pytest.mark.parametrize(
    ("path", "goes_to"),
    [
        pytest.param(V1_IMAGES, "/i.sock", id="images"),
        pytest.param(b"/runtime.v1alpha2.ImageService/PullImage", "/i.sock", id="images of old"),
        pytest.param(V1_STATUS, "/c.sock", id="all else"),
        pytest.param(b"/grpc.health.v1.Health/Check", "/c.sock", id="another API"),
    ],
)
def test_image_calls_may_have_a_socket_of_their_own(path: bytes, goes_to: str) -> None:
    route = Relay(link_to("/c.sock", "v1", "v1alpha2"), link_to("/i.sock", "v1", "v1alpha2")).route(path)
    assert isinstance(route, Route)
    assert goes_to == route.pool.socket_path


def test_each_socket_has_versions_of_its_own() -> None:
    relay = Relay(link_to("/c.sock", "v1"), link_to("/i.sock", "v1alpha2"))
    image_route, runtime_route = relay.route(V1_IMAGES), relay.route(V1ALPHA2_STATUS)
    assert isinstance(image_route, Route)
    assert isinstance(runtime_route, Route)
    assert (image_route.path, runtime_route.path) == (b"/runtime.v1alpha2.ImageService/ListImages", V1_STATUS)


def test_images_that_are_not_served_are_refused_with_the_flag() -> None:
    refusal = Relay(link_to("/c.sock", "v1"), None).route(V1_IMAGES)
    assert isinstance(refusal, Refusal)
    assert refusal.status is Status.UNIMPLEMENTED
    assert "--image-socket" in refusal.message


def test_a_runtime_that_is_away_is_unavailable_and_looked_for() -> None:
    away = link_to("/c.sock")
    relay = Relay(away, link_to("/i.sock", "v1"))
    refusal = relay.route(V1_STATUS)
    assert isinstance(refusal, Refusal)
    assert refusal.status is Status.UNAVAILABLE
    assert "/c.sock" in refusal.message
    assert away.kicks == 1
    assert isinstance(relay.route(V1_IMAGES), Route)


@pytest.mark.parametrize(
    ("path", "endless"),
    [
        (b"/runtime.v1.RuntimeService/GetContainerEvents", True),
        (b"/runtime.v1alpha2.RuntimeService/GetContainerEvents", True),
        (b"/runtime.v1.RuntimeService/StreamContainers", False),
        (b"", False),
    ],
)
def test_only_events_never_end_by_themselves(path: bytes, endless: bool) -> None:
    assert endless is is_endless(path)


@pytest.mark.parametrize(("status", "shown"), [(0, "OK"), (14, "UNAVAILABLE"), (99, 99)])
def test_finished_calls_are_shown_to_those_who_debug(status: int, shown: object) -> None:
    outcome = Outcome(status, "", Latency(0.001, 0.02, 0.0003))
    with capture_logs() as records:
        Relay(link_to("/c.sock", "v1"), None).finished(V1_STATUS, outcome)
    assert not records or records[0]["status"] == shown
    assert log.debug_on == bool(records)
