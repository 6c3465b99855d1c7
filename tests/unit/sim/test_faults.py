from __future__ import annotations

import pytest
from grpclib.const import Status

from crirm.sim.faults import Fault, Faults, FaultSyntaxError, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("Status:hang", Fault("Status", hang=True), id="a flag"),
        pytest.param("*:delay=0.5", Fault("*", delay_s=0.5), id="a delay, everywhere"),
        pytest.param(
            "CreateContainer:code=UNAVAILABLE,message=not now,times=2",
            Fault("CreateContainer", code=Status.UNAVAILABLE, message="not now", times=2),
            id="a status, twice",
        ),
        pytest.param('A:message="a, b",code=ABORTED', Fault("A", code=Status.ABORTED, message="a, b"), id="quotes"),
        pytest.param("A:oversize=20MiB", Fault("A", oversize_bytes=20 << 20), id="a size with a unit"),
        pytest.param("A:oversize=7", Fault("A", oversize_bytes=7), id="a size in bytes"),
        pytest.param("A:details=x,code=INTERNAL", Fault("A", code=Status.INTERNAL, details=b"x"), id="details"),
        pytest.param("A:acts,disconnect", Fault("A", acts=True, disconnect=True), id="after the work is done"),
        pytest.param("A:garbage", Fault("A", garbage=True), id="garbage"),
        pytest.param("A:unknown_fields", Fault("A", unknown_fields=True), id="unknown fields"),
    ],
)
def test_parse(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("Status", "write METHOD:OPTION", id="no option"),
        pytest.param(":hang", "write METHOD:OPTION", id="no method"),
        pytest.param("A:explode", "unknown option 'explode'; use one of acts, code, delay", id="an unknown option"),
        pytest.param("A:code=NOPE", "invalid value 'NOPE' for 'code'", id="an unknown status"),
        pytest.param("A:times=0", "invalid value '0' for 'times'", id="never"),
        pytest.param("A:times=x", "invalid value 'x' for 'times'", id="no number"),
        pytest.param("A:delay", "invalid value None for 'delay'", id="a missing value"),
        pytest.param("A:hang=1", "invalid value '1' for 'hang'", id="a value for a flag"),
        pytest.param("A:oversize=1GB", "invalid value '1GB' for 'oversize'", id="an unknown unit"),
        pytest.param("A:HANG", "cannot read 'HANG'", id="no option name"),
        pytest.param('A:message="a"b', "cannot read", id="something behind a quote"),
    ],
)
def test_parse_refuses(text: str, reason: str) -> None:
    with pytest.raises(FaultSyntaxError) as caught:
        parse_fault(text)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fault_strikes_its_method_as_often_as_it_says() -> None:
    faults = Faults()
    faults.add(Fault("A", times=2, hang=True))
    faults.add(Fault("*", garbage=True))
    assert faults.take("B") == Fault("*", garbage=True)
    assert [(taken := faults.take("A")) is not None and taken.hang for _ in range(3)] == [True, True, False]


def test_no_faults_after_clear() -> None:
    faults = Faults()
    faults.add(Fault("*", hang=True))
    faults.clear()
    assert faults.take("A") is None
