"""Claims of a DRA driver: what counts as one, and what is wrong with the others."""

from __future__ import annotations

import pytest

from crirm.model.claims import ClaimError, CPUClaim, all_cpus, claim_devices, claim_of
from crirm.model.cpuset import CPUSet

DEVICE = "dra.k8s.io/cpu=claim-u1"


def claim(cpus: str, uid: str = "u1") -> CPUClaim:
    return CPUClaim(uid, CPUSet.parse(cpus))


@pytest.mark.parametrize(
    ("edits", "environment", "cpus"),
    [
        pytest.param(("DRA_CPUSET_u1=0-3,8",), {}, "0-3,8", id="the CDI file tells the CPUs"),
        pytest.param(("A=1", "DRA_CPUSET_u2=5", "DRA_CPUSET_u1=2"), {}, "2", id="other variables are others' matter"),
        pytest.param(("DRA_CPUSET_u1=2-3",), {"DRA_CPUSET_u1": "2,3"}, "2-3", id="the pod may say the same"),
        pytest.param(None, {"DRA_CPUSET_u1": "4"}, "4", id="without a file the environment tells them"),
    ],
)
def test_a_claim_is(edits: tuple[str, ...] | None, environment: dict[str, str], cpus: str) -> None:
    assert claim_of(DEVICE, edits, environment) == claim(cpus)


@pytest.mark.parametrize(
    ("device", "edits", "environment", "sentence"),
    [
        pytest.param(
            "dra.k8s.io/cpu=cpu7", (), {}, "CDI device 'dra.k8s.io/cpu=cpu7' names no claim; expected", id="no claim"
        ),
        pytest.param("dra.k8s.io/cpu=claim-", (), {}, "expected dra.k8s.io/cpu=claim-UID", id="no uid"),
        pytest.param(DEVICE, None, {}, "no CDI file tells its CPUs; crirm needs to read", id="nobody tells"),
        pytest.param(DEVICE, ("B=1",), {}, "its CDI file does not set DRA_CPUSET_u1; expected", id="not in its file"),
        pytest.param(DEVICE, ("DRA_CPUSET_u1=a-b",), {}, "'a-b'", id="no list"),
        pytest.param(DEVICE, ("DRA_CPUSET_u1=",), {}, "gives no CPUs; expected a list such as 0-3,8", id="empty"),
        pytest.param(
            DEVICE,
            ("DRA_CPUSET_u1=0-1",),
            {"DRA_CPUSET_u1": "0-63"},
            "gives CPUs 0-1, but the pod sets DRA_CPUSET_u1 to '0-63'; remove the variable",
            id="the pod wants more than it was given",
        ),
    ],
)
def test_a_malformed_claim_says_what_is_wrong(
    device: str, edits: tuple[str, ...] | None, environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ClaimError) as error:
        claim_of(device, edits, environment)
    assert sentence in str(error.value)


def test_only_devices_of_the_driver_are_claims_each_once() -> None:
    devices = ["nvidia.com/gpu=0", DEVICE, DEVICE, "dra.k8s.io/cpu=x", "dra.k8s.io/cpux=claim-u1"]
    assert claim_devices(devices) == (DEVICE, "dra.k8s.io/cpu=x")


def test_the_cpus_of_claims_are_those_of_each() -> None:
    assert all_cpus([claim("0-1"), claim("3", "u2")]) == CPUSet.parse("0-1,3")
    assert all_cpus([]) == CPUSet()
