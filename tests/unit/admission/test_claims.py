"""CPUs of a DRA driver in a request: from its CDI devices to the container, or a refusal."""

from __future__ import annotations

import pytest

from crirm.admission.admission import admitted
from crirm.admission.creation import CREATION
from crirm.cri import slice as cri
from crirm.model.claims import CPUClaim
from crirm.model.cpuset import CPUSet
from crirm.model.events import PodAdded
from crirm.model.refusal import RefusalCode, RefusedError
from tests.unit.admission.test_admission import asked, creation, told
from tests.unit.policy.test_pipeline import pod

DEVICE = "dra.k8s.io/cpu=claim-u1"


def request(*devices: str, **environment: str) -> cri.CreateContainerRequest:
    made = creation()
    made.config.cdi_devices = [cri.CdiDevice(device) for device in devices]
    made.config.envs = [cri.KeyValue(name, value.encode()) for name, value in environment.items()]
    return made


@pytest.mark.parametrize(
    ("made", "cdi", "claims"),
    [
        pytest.param(request(), {}, (), id="nothing of the kind"),
        pytest.param(request("nvidia.com/gpu=0"), {}, (), id="the device of another driver"),
        pytest.param(request(DRA_CPUSET_u1="0-7"), {}, (), id="a variable that the pod made up"),
        pytest.param(request(DEVICE), {DEVICE: ("DRA_CPUSET_u1=2-3",)}, ("2-3",), id="a device and its file"),
        pytest.param(request(DEVICE, DRA_CPUSET_u1="2"), {}, ("2",), id="a device and its variable"),
    ],
)
def test_the_container_has_claims_by(
    made: cri.CreateContainerRequest, cdi: dict[str, tuple[str, ...]], claims: tuple[str, ...]
) -> None:
    container = admitted(asked(told(PodAdded(pod("p1"))), made, cdi=cdi), CREATION).container
    assert container is not None
    assert container.claims == tuple(CPUClaim("u1", CPUSet.parse(cpus)) for cpus in claims)


def test_a_malformed_claim_is_refused_with_the_container_and_what_would_be_right() -> None:
    with pytest.raises(RefusedError) as refusal:
        admitted(asked(told(PodAdded(pod("p1"))), request(DEVICE), cdi={DEVICE: ("X=1",)}), CREATION)
    assert refusal.value.code is RefusalCode.BAD_DRA_CLAIM
    assert str(refusal.value).startswith("default/p1/c: CDI device")
    assert "expected DRA_CPUSET_u1=CPUS" in str(refusal.value)
