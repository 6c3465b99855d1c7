from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import (
    LinuxResources,
    Requirements,
    estimate,
    millicpu_to_quota,
    millicpu_to_shares,
    oom_score_adj_to_memory_request,
    quota_to_millicpu,
    requirements,
    shares_to_millicpu,
    with_bound,
)

GIB = 1 << 30
NODE = Bytes(256 * GIB)


def kubelet_oom_score_adj(request: int, capacity: int) -> int:
    """Return the kubelet's value for a Burstable container."""
    value = 1000 - 1000 * request // capacity
    if value < 3:
        return 3
    return 999 if value == 1000 else value


def test_shares_give_back_every_request_that_they_can_tell() -> None:
    wrong = [m for m in range(3, 256_001) if shares_to_millicpu(millicpu_to_shares(MilliCPU(m))) != m]
    assert wrong == []


@pytest.mark.parametrize("request_", [0, 1, 2])
def test_requests_up_to_2_m_look_like_none(request_: int) -> None:
    assert millicpu_to_shares(MilliCPU(request_)) == 2
    assert shares_to_millicpu(2) == 0


@pytest.mark.parametrize(
    ("shares", "request_"), [(0, 0), (1, 0), (2, 0), (3, 3), (33, 33), (102, 100), (1024, 1000), (262144, 256_000)]
)
def test_shares(shares: int, request_: int) -> None:
    assert shares_to_millicpu(shares) == request_


def test_shares_end_at_256_cpus() -> None:
    assert millicpu_to_shares(MilliCPU(300_000)) == 262144


@pytest.mark.parametrize("cpus", [255, 256, 257, 300, 512, 1024])
def test_with_a_quota_the_request_of_a_guaranteed_container_has_no_end(cpus: int) -> None:
    told = LinuxResources(millicpu_to_shares(MilliCPU(1000 * cpus)), 100_000 * cpus, 100_000)
    whole = MilliCPU(1000 * cpus)
    assert estimate(told, QoSClass.GUARANTEED, NODE) == Requirements(whole, whole)
    burstable = estimate(told, QoSClass.BURSTABLE, NODE)
    assert (burstable.cpu_request, burstable.cpu_limit) == (min(whole, 256_000), whole), "a limit is no request"


@pytest.mark.parametrize(
    ("resources", "bound", "quota_us"),
    [
        pytest.param(LinuxResources(262144, -1, 100_000), 300, 30_000_000, id="its CPUs are its limit"),
        pytest.param(LinuxResources(262144, 0, 0), 300, 30_000_000, id="at the default period"),
        pytest.param(LinuxResources(262144, 40_000_000, 100_000), 512, 40_000_000, id="it has a quota, so it shares"),
        pytest.param(LinuxResources(2048, -1, 100_000), 2, -1, id="shares tell"),
        pytest.param(LinuxResources(262144, -1, 100_000), 0, 0, id="bound to nothing"),
    ],
)
def test_the_cpus_of_a_running_container_tell_what_shares_do_not(
    resources: LinuxResources, bound: int, quota_us: int
) -> None:
    assert with_bound(resources, bound).cpu_quota_us == quota_us


@given(st.integers(1, 1_000_000), st.integers(1000, 1_000_000))
def test_quota_gives_back_every_limit_above_the_kubelets_minimum(limit: int, period_us: int) -> None:
    quota = millicpu_to_quota(MilliCPU(limit), period_us)
    told = quota_to_millicpu(quota, period_us)
    assert told == limit if quota > 1000 else told is not None and told >= limit


@pytest.mark.parametrize(
    ("quota_us", "period_us", "limit"),
    [
        pytest.param(-1, 100_000, None, id="no limit"),
        pytest.param(0, 0, None, id="not set"),
        pytest.param(150_000, 100_000, 1500, id="one CPU and a half"),
        pytest.param(150_000, 0, 1500, id="the default period"),
        pytest.param(5_000, 10_000, 500, id="a short period"),
        pytest.param(1000, 100_000, 10, id="the minimum"),
    ],
)
def test_quota(quota_us: int, period_us: int, limit: int | None) -> None:
    assert quota_to_millicpu(quota_us, period_us) == limit


def test_no_limit_has_no_quota() -> None:
    assert millicpu_to_quota(MilliCPU(0), 0) == 0


@given(st.integers(0, 2 * NODE), st.integers(GIB, NODE))
def test_memory_estimate_is_the_least_request_with_that_score(request_: int, capacity: int) -> None:
    score = kubelet_oom_score_adj(request_, capacity)
    told = oom_score_adj_to_memory_request(score, Bytes(capacity))
    assert told <= max(request_, 0)
    if score < 999:
        assert kubelet_oom_score_adj(told, capacity) == score
        assert kubelet_oom_score_adj(told - 1, capacity) == score + 1


@pytest.mark.parametrize("score", [-999, -997, 0, 2, 999, 1000])
def test_other_scores_tell_no_memory_request(score: int) -> None:
    assert oom_score_adj_to_memory_request(score, NODE) == 0


@pytest.mark.parametrize(
    ("resources", "qos", "expected"),
    [
        pytest.param(
            LinuxResources(2048, 200_000, 100_000, GIB, -997),
            QoSClass.GUARANTEED,
            Requirements(MilliCPU(2000), MilliCPU(2000), Bytes(GIB), Bytes(GIB)),
            id="guaranteed: requests are limits",
        ),
        pytest.param(
            LinuxResources(2048, -1, 100_000, GIB, -997),
            QoSClass.GUARANTEED,
            Requirements(MilliCPU(2000), MilliCPU(2000), Bytes(GIB), Bytes(GIB)),
            id="guaranteed: the limit stands though the kubelet dropped the quota",
        ),
        pytest.param(
            LinuxResources(2, 0, 100_000, 0, -997),
            QoSClass.GUARANTEED,
            Requirements(),
            id="guaranteed by the pod alone",
        ),
        pytest.param(
            LinuxResources(512, 100_000, 100_000, GIB, 999),
            QoSClass.BURSTABLE,
            Requirements(MilliCPU(500), MilliCPU(1000), Bytes(0), Bytes(GIB)),
            id="burstable: no memory request to be seen",
        ),
        pytest.param(
            LinuxResources(512, 0, 0, 0, 750),
            QoSClass.BURSTABLE,
            Requirements(MilliCPU(500), None, Bytes(64 * GIB), None),
            id="burstable: a quarter of the memory, no limits",
        ),
        pytest.param(
            LinuxResources(512, 0, 0, GIB, 750),
            QoSClass.BURSTABLE,
            Requirements(MilliCPU(500), None, Bytes(GIB), Bytes(GIB)),
            id="burstable: a memory request is never above the limit",
        ),
        pytest.param(
            LinuxResources(2, 0, 0, 0, 1000), QoSClass.BEST_EFFORT, Requirements(), id="best effort: nothing at all"
        ),
        pytest.param(LinuxResources(), QoSClass.BURSTABLE, Requirements(), id="nothing known"),
    ],
)
def test_estimate(resources: LinuxResources, qos: QoSClass, expected: Requirements) -> None:
    assert estimate(resources, qos, NODE) == expected
    assert requirements(resources, qos, NODE) == expected


ANNOTATED = Requirements(
    MilliCPU(500), MilliCPU(1000), Bytes(200 << 20), Bytes(GIB), (("cmk.intel.com/exclusive-cores", 1),)
)
SENT = LinuxResources(512, 100_000, 100_000, GIB, 999)


@pytest.mark.parametrize(
    ("resources", "annotated", "expected"),
    [
        pytest.param(SENT, ANNOTATED, ANNOTATED, id="the memory request comes from the annotation"),
        pytest.param(LinuxResources(), ANNOTATED, ANNOTATED, id="all of it where the runtime tells nothing"),
        pytest.param(
            attrs.evolve(SENT, cpu_shares=2),
            attrs.evolve(ANNOTATED, cpu_request=MilliCPU(1)),
            attrs.evolve(ANNOTATED, cpu_request=MilliCPU(1)),
            id="a request of 1 m, which shares cannot tell from none",
        ),
        pytest.param(
            attrs.evolve(SENT, cpu_shares=2048),
            ANNOTATED,
            attrs.evolve(ANNOTATED, cpu_request=MilliCPU(2000)),
            id="CPU resized since: the kubelet is right",
        ),
        pytest.param(
            attrs.evolve(SENT, cpu_quota_us=300_000),
            ANNOTATED,
            attrs.evolve(ANNOTATED, cpu_limit=MilliCPU(3000)),
            id="CPU limit resized since",
        ),
        pytest.param(
            attrs.evolve(SENT, cpu_quota_us=-1), ANNOTATED, ANNOTATED, id="the limit stands though there is no quota"
        ),
        pytest.param(
            attrs.evolve(SENT, memory_limit_bytes=100 << 20),
            ANNOTATED,
            attrs.evolve(ANNOTATED, memory_limit=Bytes(100 << 20), memory_request=Bytes(100 << 20)),
            id="memory limit resized since: the request is not above it",
        ),
        pytest.param(
            SENT,
            Requirements(),
            Requirements(MilliCPU(500), MilliCPU(1000), Bytes(0), Bytes(GIB)),
            id="an empty entry takes nothing away",
        ),
    ],
)
def test_annotation_corrects(resources: LinuxResources, annotated: Requirements, expected: Requirements) -> None:
    assert requirements(resources, QoSClass.BURSTABLE, NODE, annotated) == expected
