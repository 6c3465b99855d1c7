"""Who tells events to everybody."""

from __future__ import annotations

import pytest

from crirm.daemon.observation.event_habits import tells_everybody


@pytest.mark.parametrize(
    ("name", "version", "everybody"),
    [
        pytest.param("containerd", "v1.7.24", False, id="containerd 1.7 has one channel"),
        pytest.param("containerd", "1.7.24~ds1", False, id="as Debian writes it"),
        pytest.param("containerd", "v2.0.0-rc.3", True, id="containerd 2.0"),
        pytest.param("containerd", "2.1.4+ds1", True, id="containerd 2.1 as Debian writes it"),
        pytest.param("cri-o", "1.32.9", False, id="CRI-O may panic when crirm leaves"),
        pytest.param("cri-o", "1.33.0", True, id="CRI-O 1.33"),
        pytest.param("cri-o", "2.0.0", True, id="whatever comes after it"),
        pytest.param("crirm-sim", "0.1.0", True, id="the embedded runtime"),
        pytest.param("crirm-sim-one-channel", "0.1.0", False, id="the embedded runtime with one channel"),
        pytest.param("docker", "27.0.0", False, id="an unknown runtime"),
        pytest.param("containerd", "unknown", False, id="an unknown version"),
        pytest.param("containerd", "²", False, id="no digits of a number"),
        pytest.param("containerd", None, False, id="no version"),
        pytest.param(None, None, False, id="no name"),
    ],
)
def test_only_runtimes_that_are_known_to_tell_everybody_are_subscribed_to(
    name: str | None, version: str | None, everybody: bool
) -> None:
    assert tells_everybody(name, version) is everybody
