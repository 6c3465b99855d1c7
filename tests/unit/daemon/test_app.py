"""How the daemon obeys signals and how it ends, in virtual time."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from crirm.daemon.app import STOPPING, Daemon, Stop, _drain, _relay
from crirm.daemon.configuration.in_force import InForce, Source
from crirm.daemon.decider import Decider
from crirm.daemon.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

    from crirm.rpc.calls import Refusal
    from crirm.rpc.server import Server

GRACE_S = 10.0


@attrs.define
class FakeServer:
    """Is idle and has sent everything after so many seconds."""

    idle_after_s: float
    sent_after_s: float = 0.0
    calls: list[bytes] = attrs.field(factory=lambda: [b"/a.B/Slow"])
    refusal: Refusal | None = None

    def shut_gate(self, refusal: Refusal, _endless: Callable[[bytes], bool]) -> None:
        self.refusal = refusal

    async def wait_idle(self) -> None:
        await trio.sleep(self.idle_after_s)
        self.calls.clear()

    async def hang_up(self, _reason: str) -> None:
        await trio.sleep(self.sent_after_s)


@pytest.mark.parametrize(
    ("idle_after_s", "sent_after_s", "insisted_after_s", "takes_s", "cut_off"),
    [
        pytest.param(0, 0, None, 0, False, id="nothing to wait for"),
        pytest.param(3, 0, None, 3, False, id="the last call ends within the grace"),
        pytest.param(3, 4, None, 7, False, id="its answer is read within the grace"),
        pytest.param(3, 30, None, GRACE_S, False, id="its answer is not read"),
        pytest.param(30, 0, None, GRACE_S, True, id="the grace is over"),
        pytest.param(8, 0, 5, 5, True, id="somebody insists"),
    ],
)
async def test_calls_in_flight_get_their_grace(
    idle_after_s: float,
    sent_after_s: float,
    insisted_after_s: float | None,
    takes_s: float,
    cut_off: bool,
    autojump_clock: MockClock,
) -> None:
    server, stop = FakeServer(idle_after_s, sent_after_s), Stop()
    began_s = trio.current_time()
    with capture_logs() as records:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, cast("Server", server), stop, GRACE_S)
            if insisted_after_s is not None:
                await trio.sleep(insisted_after_s)
                stop.insisted.set()
    assert trio.current_time() - began_s == pytest.approx(takes_s)
    assert server.refusal == STOPPING
    told = [record["calls"] for record in records if record["event"] == "cut off calls in flight"]
    assert told == ([["/a.B/Slow"]] if cut_off else [])


@pytest.mark.parametrize(
    ("numbers", "asked", "insisted"),
    [
        pytest.param([signal.SIGTERM], True, False, id="SIGTERM asks"),
        pytest.param([signal.SIGINT], True, False, id="and so does SIGINT"),
        pytest.param([signal.SIGTERM, signal.SIGTERM], True, True, id="twice insists"),
        pytest.param([signal.SIGINT, signal.SIGTERM], True, True, id="whichever they are"),
        pytest.param([signal.SIGTERM, signal.SIGHUP], True, False, id="SIGHUP does not"),
        pytest.param([signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR1], False, False, id="others ask for nothing"),
    ],
)
async def test_signals_are_obeyed(numbers: list[int], asked: bool, insisted: bool, autojump_clock: MockClock) -> None:
    async def arrive() -> AsyncIterator[int]:
        for number in numbers:
            yield number

    stop = Stop()
    daemon = Daemon(Settings(), InForce(Source.OPTIONS, "", Settings()), stop, None)
    await daemon.obey(arrive())
    assert (stop.asked.is_set(), stop.insisted.is_set()) == (asked, insisted)


@pytest.mark.parametrize(
    ("image_socket", "images"),
    [
        pytest.param("default", "/c.sock", id="the runtime's"),
        pytest.param("/c.sock", "/c.sock", id="the runtime's, written out"),
        pytest.param("/i.sock", "/i.sock", id="another"),
        pytest.param("-", None, id="none"),
    ],
)
def test_images_have_a_link_of_their_own_only_where_they_need_one(image_socket: str, images: str | None) -> None:
    settings = Settings(relay_socket="/r.sock", runtime_socket="/c.sock", image_socket=image_socket)
    relay = _relay(settings, Decider())
    assert (relay.images.pool.socket_path if relay.images else None) == images
    assert (relay.images is relay.runtime) == (images == "/c.sock")
