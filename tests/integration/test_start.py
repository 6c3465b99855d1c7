"""``crirm serve`` from its start until it serves, or until it says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import unary
from tests.integration.pretenders import HTTP1, NOISE, pretender
from tests.integration.support import OK, VERSION, Stage, unprivileged

if TYPE_CHECKING:
    from collections.abc import Callable


def test_it_waits_for_the_runtime_and_serves_once_that_is_there(stage: Stage) -> None:
    relay = stage.starting_relay()
    relay.wait_log("waiting for the runtime")
    assert not stage.relay_socket.exists()
    stage.runtime()
    relay.wait_log('"serving"')
    assert len(relay.records("waiting for the runtime")) == 1
    assert unary(stage.client(), VERSION, b"").code == OK


def test_a_relay_socket_that_cannot_be_is_told_though_the_runtime_is_away(stage: Stage) -> None:
    place = stage.relay_socket.parent
    (place / "file").write_text("")
    relay = stage.starting_relay("--relay-socket", place / "file" / "below" / "relay.sock")
    assert relay.wait_exit() == 1
    assert f"{place}/file: not a directory; move it away, or choose another --relay-socket" in relay.log


def test_it_can_be_stopped_while_it_waits(stage: Stage) -> None:
    relay = stage.starting_relay()
    relay.wait_log("waiting for the runtime")
    assert relay.stop() == 0


def _regular_file(stage: Stage) -> None:
    stage.runtime_socket.write_text("not a socket")


def _speaks(greeting: bytes) -> Callable[[Stage], None]:
    return lambda stage: stage.cleanup.enter_context(pretender(stage.runtime_socket, greeting))


def _sim(*args: str) -> Callable[[Stage], None]:
    def start(stage: Stage) -> None:
        stage.runtime(*args)

    return start


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        pytest.param(_regular_file, ["not a socket", "--runtime-socket"], id="a regular file"),
        pytest.param(_speaks(NOISE), ["does not speak gRPC", "--runtime-socket"], id="noise"),
        pytest.param(_speaks(HTTP1), ["does not speak gRPC", "--runtime-socket"], id="an HTTP/1 server"),
        pytest.param(_sim("--fault", "Version:garbage"), ["Version", "not a CRI socket"], id="a Version that is none"),
        pytest.param(
            _sim("--name", "dockershim"), ["'dockershim'", "--allow-untested-runtimes"], id="an untested runtime"
        ),
    ],
)
def test_an_unusable_runtime_ends_the_start_with_one_sentence(
    stage: Stage, prepare: Callable[[Stage], None], words: list[str]
) -> None:
    prepare(stage)
    relay = stage.starting_relay()
    assert relay.wait_exit() == 1
    (sentence,) = relay.sentences()
    assert sentence.startswith("crirm: ")
    assert [str(stage.runtime_socket), *words] == [w for w in [str(stage.runtime_socket), *words] if w in sentence]
    assert not stage.relay_socket.exists()


def test_a_runtime_that_may_not_be_reached_ends_the_start_with_one_sentence(stage: Stage) -> None:
    stage.place.chmod(0o777)
    stage.runtime()
    stage.runtime_socket.chmod(0)
    relay = stage.starting_relay(prefix=unprivileged())
    assert relay.wait_exit() == 1
    (sentence,) = relay.sentences()
    assert str(stage.runtime_socket) in sentence
    assert "no permission" in sentence


def test_an_untested_runtime_is_used_when_it_is_allowed(stage: Stage) -> None:
    _, relay = stage.both("--allow-untested-runtimes", runtime_args=["--name", "dockershim"])
    assert [r["runtime"].split()[0] for r in relay.records("crirm is not tested with this runtime")] == ["dockershim"]
    assert unary(stage.client(), VERSION, b"").code == OK


def test_a_socket_whose_server_is_on_its_way_out_is_tried_again(stage: Stage) -> None:
    with pretender(stage.runtime_socket, b""):
        relay = stage.starting_relay()
        relay.wait_log("waiting for the runtime")
    stage.runtime()
    relay.wait_log('"serving"')


def test_a_runtime_that_is_not_ready_for_calls_yet_is_waited_for(stage: Stage) -> None:
    stage.runtime("--fault", 'Version:code=UNKNOWN,message="server is not initialized yet",times=3')
    relay = stage.relay()
    assert "not initialized yet" in relay.records("waiting for the runtime")[0]["reason"]
