from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crirm.daemon.settings import Settings
from crirm.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_defaults_are_those_that_existing_nodes_use() -> None:
    settings = Settings()
    assert settings.relay_socket == "/var/run/cri-resmgr/cri-resmgr.sock"
    assert settings.runtime_socket == "/var/run/containerd/containerd.sock"
    assert (settings.image_socket, settings.pid_file, settings.allow_untested_runtimes) == ("default", None, False)


@pytest.mark.parametrize("field", ["relay_socket", "runtime_socket", "image_socket"])
def test_sockets_lose_their_prefix(field: str) -> None:
    given: Any = {field: "unix:///run/x.sock"}
    assert getattr(Settings(**given), field) == "/run/x.sock"


@pytest.mark.parametrize("word", ["default", "-"])
def test_words_for_the_image_socket_stay(word: str) -> None:
    assert Settings(image_socket=word).image_socket == word


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        pytest.param({"relay_socket": "x"}, "relay socket 'x': not an absolute path", id="relay socket"),
        pytest.param({"runtime_socket": "tcp://h:1"}, "runtime socket 'tcp://h:1': CRI needs", id="runtime socket"),
        pytest.param({"runtime_socket": "-"}, "needs a container runtime", id="no runtime"),
        pytest.param({"relay_socket": "-"}, "relay socket '-'", id="no relay"),
        pytest.param({"image_socket": "none"}, "image socket 'none'", id="image socket"),
        pytest.param({"grace_s": -1.0}, "grace -1.0: not a valid number of seconds", id="grace below 0"),
        pytest.param(
            {"grace_s": float("nan")}, "grace nan: not a valid number of seconds", id="grace that is no number"
        ),
        pytest.param({"dump_count_period_s": 0.0}, "above 0", id="no time between sums"),
        pytest.param({"dump_rules": "fll:.*"}, "did you mean full?", id="dump rules"),
        pytest.param({"dump_file": "cri.dump"}, "dump file 'cri.dump': not an absolute path; write /", id="dump file"),
        pytest.param({"pid_file": "/run/"}, "PID file '/run/': names a directory", id="PID file"),
        pytest.param(
            {"relay_socket": "/run/a.sock", "runtime_socket": "unix:///run/a.sock"},
            "runtime socket /run/a.sock: this is the relay socket",
            id="a loop",
        ),
        pytest.param(
            {"relay_socket": "/run/a.sock", "image_socket": "/run/./x/../a.sock"},
            "image socket /run/./x/../a.sock: this is the relay socket",
            id="a loop by another name",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(**given)
    assert complaint in str(caught.value)


def test_a_loop_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="this is the relay socket"):
        Settings(relay_socket=f"{tmp_path}/a.sock", runtime_socket=f"{tmp_path}/link/a.sock")
