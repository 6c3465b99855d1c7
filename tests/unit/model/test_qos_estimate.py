"""The class of a pod, from what is asked for its containers."""

from __future__ import annotations

import pytest

from crirm.model.qos import QoSClass
from crirm.model.qos_estimate import class_by, classed
from crirm.model.resources import LinuxResources
from crirm.model.workload import Pod, PodId

GIB = 1 << 30
G, B, E = QoSClass.GUARANTEED, QoSClass.BURSTABLE, QoSClass.BEST_EFFORT


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        pytest.param(LinuxResources(2048, 200_000, 100_000, GIB, -997), G, id="Guaranteed"),
        pytest.param(LinuxResources(2048, 0, 100_000, GIB, -997), G, id="Guaranteed, by a kubelet without quotas"),
        pytest.param(LinuxResources(262144, 30_000_000, 100_000, GIB, -997), G, id="Guaranteed, 300 CPUs"),
        pytest.param(LinuxResources(512, 100_000, 100_000, GIB, 970), B, id="Burstable"),
        pytest.param(LinuxResources(1024, 100_000, 100_000, GIB, 3), B, id="Burstable, with nearly all memory"),
        pytest.param(LinuxResources(1024, 100_000, 100_000, GIB, 999), B, id="limits of one container say nothing"),
        pytest.param(LinuxResources(2, 0, 100_000, 0, 999), B, id="one without requests in a Burstable pod"),
        pytest.param(LinuxResources(2, 0, 100_000, 0, 1000), E, id="BestEffort"),
        pytest.param(LinuxResources(102, 0, 100_000, GIB, -997), G, id="critical, memory limited: as Guaranteed"),
        pytest.param(LinuxResources(102, 100_000, 100_000, GIB, -997), B, id="critical, limits above requests"),
        pytest.param(LinuxResources(102, 0, 100_000, 0, -997), B, id="critical, without limits"),
        pytest.param(LinuxResources(2, 0, 100_000, 0, -997), E, id="critical, without anything"),
        pytest.param(LinuxResources(1024, 100_000, 100_000, GIB, 0), G, id="no kubelet, limits as requests"),
        pytest.param(LinuxResources(1024, 0, 0, GIB, 0), B, id="no kubelet, no CPU limit"),
        pytest.param(LinuxResources(), E, id="no kubelet, nothing asked for"),
    ],
)
def test_scores_and_resources_tell_the_class(resources: LinuxResources, qos: QoSClass) -> None:
    assert class_by(resources) is qos


@pytest.mark.parametrize(("told", "qos"), [pytest.param(True, E, id="told"), pytest.param(False, G, id="not told")])
def test_only_a_class_that_is_not_told_follows_from_resources(told: bool, qos: QoSClass) -> None:
    pod = Pod(PodId("p"), "u", "p", "default", E, qos_told=told)
    assert classed(pod, LinuxResources(1024, 100_000, 100_000, GIB, -997)).qos is qos
