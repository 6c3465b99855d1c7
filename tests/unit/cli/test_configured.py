"""The policy that options choose."""

from __future__ import annotations

import pytest

from crirm.cli.configured import choice_from_options
from crirm.cli.cri_resmgr import settings_of
from crirm.cli.cri_resmgr_flags import FLAGS
from crirm.cli.goflags import parse
from crirm.errors import UsageError
from crirm.model.cpuset import CPUSet
from crirm.policy.api import Choice, Constraints, CPUConstraint


@pytest.mark.parametrize(
    ("available", "reserved", "constraints"),
    [
        pytest.param(None, None, Constraints(), id="nothing said"),
        pytest.param(
            "2-7",
            "750m",
            Constraints(CPUConstraint(cpus=CPUSet.parse("2-7")), CPUConstraint(millicpu=750)),  # type: ignore[arg-type] # NewType
            id="a list and an amount",
        ),
    ],
)
def test_options_choose_too(available: str | None, reserved: str | None, constraints: Constraints) -> None:
    assert Choice("static", constraints, choice_from_options("static", None, None, "/").options) == choice_from_options(
        "static", available, reserved, "/"
    )


@pytest.mark.parametrize(
    ("name", "reserved", "sentence"),
    [
        pytest.param("topolgy-aware", None, "no such policy", id="no such policy"),
        pytest.param("balloons", None, "no such policy", id="one that comes later"),
        pytest.param("static", "many", "--reserved-cpus many", id="no amount"),
    ],
)
def test_what_cannot_be_chosen_is_named(name: str, reserved: str | None, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        choice_from_options(name, None, reserved, "/")


def test_the_flags_of_the_first_version_choose_as_they_did() -> None:
    argv = ["--policy", "topology-aware", "-reserved-resources=cpu=750m", "--available-resources", "cpu=0-3"]
    policy = settings_of(parse(argv, FLAGS), {}).policy
    assert ("topology-aware", 750, CPUSet.parse("0-3")) == (
        policy.name,
        policy.constraints.reserved.millicpu,
        policy.constraints.available.cpus,
    )
