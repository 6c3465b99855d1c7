from __future__ import annotations

from fractions import Fraction
from typing import Any

import attrs
import pytest

from crirm.model.workload import ContainerKey
from crirm.policy.topology_aware.modes import Mode
from crirm.policy.topology_aware.ranking import (
    Rank,
    Rule,
    Score,
    Suits,
    difference,
    finest,
    general,
    last,
    particular,
    values,
)
from crirm.policy.topology_aware.request import CPUClass, CPURequest, MemoryRequest, Request

SHARED = CPURequest(CPUClass.NORMAL, 0, 500, isolate=False, shares=512)
EXCLUSIVE = CPURequest(CPUClass.NORMAL, 2, 0, isolate=False, shares=2048)
ISOLATED = CPURequest(CPUClass.NORMAL, 1, 0, isolate=True, shares=1024)
MIXED = CPURequest(CPUClass.NORMAL, 1, 500, isolate=True, shares=1536)
RESERVED = CPURequest(CPUClass.RESERVED, 0, 500, isolate=False, shares=512)

POOL = Score(pool=1, memory=True, depth=1, reserved=-1, shared=1000, isolated=0, colocated=0, affinity=0)
HALF, LITTLE, NONE = Fraction(1, 2), Fraction(1, 4), Fraction(0)


def rank(score: Score, request: Request, suits: Suits | None = None) -> Rank:
    suits = suits or Suits()
    more = finest(suits) if request.mode is Mode.PACK and request.cpu.full else ()
    return general(score, request) + particular(score, suits, request) + more + last(score.pool)


def request_for(cpu: CPURequest) -> Request:
    return Request(ContainerKey("c"), "c", cpu, MemoryRequest(None, 0, 0))


@pytest.mark.parametrize(
    ("cpu", "winner", "loser", "rule", "measures"),
    [
        pytest.param(SHARED, {}, {"memory": False, "affinity": 9}, Rule.MEMORY, (True, False), id="memory comes first"),
        pytest.param(
            SHARED, {"shared": 1}, {"shared": 0, "affinity": 9}, Rule.SHARED_SUFFICE, (True, False), id="room"
        ),
        pytest.param(
            ISOLATED,
            {"shared": -5},
            {"isolated": -1, "shared": 900},
            Rule.ISOLATED_SUFFICE,
            (True, False),
            id="isolated CPUs come before shared ones",
        ),
        pytest.param(
            MIXED,
            {"shared": 0, "depth": 2},
            {"shared": 1},
            Rule.DEPTH,
            (2, 1),
            id="who gets exclusive CPUs need not leave any",
        ),
        pytest.param(RESERVED, {"reserved": 0}, {"reserved": -1}, Rule.RESERVED_SUFFICE, (True, False), id="reserved"),
        pytest.param(
            SHARED,
            {"affinity": HALF},
            {"kinds": True, "hints": (HALF, HALF)},
            Rule.AFFINITY,
            (0.5, 0),
            id="affinity",
        ),
        pytest.param(
            SHARED, {"depth": 0}, {"kinds": False, "depth": 2}, Rule.KINDS, (True, False), id="kinds of memory"
        ),
        pytest.param(
            SHARED,
            {"hints": (HALF, HALF)},
            {"hints": (LITTLE, LITTLE), "depth": 3},
            Rule.HINTS,
            (0.5, 0.25),
            id="nearness",
        ),
        pytest.param(
            SHARED,
            {"hints": (NONE, HALF)},
            {"hints": (NONE, LITTLE), "depth": 3},
            Rule.SOME_HINTS,
            (0.5, 0.25),
            id="nearness to some",
        ),
        pytest.param(
            SHARED,
            {"hints": (HALF, HALF), "colocated": 7},
            {"hints": (HALF, HALF), "pool": 2},
            Rule.NUMBER,
            (1, 2),
            id="equally near pools are not compared by what is left",
        ),
        pytest.param(
            SHARED,
            {"hints": (NONE, NONE)},
            {"hints": (NONE, NONE), "colocated": 1, "pool": 0},
            Rule.COLOCATED,
            (0, 1),
            id="pools far from everything are",
        ),
        pytest.param(SHARED, {"depth": 2}, {"colocated": -1}, Rule.DEPTH, (2, 1), id="depth"),
        pytest.param(
            SHARED,
            {"staying": True, "colocated": 5},
            {"staying": False},
            Rule.STAYING,
            (True, False),
            id="where the container is already",
        ),
        pytest.param(
            RESERVED,
            {"reserved": 900, "colocated": 2},
            {"reserved": 500, "colocated": 1},
            Rule.RESERVED_EACH,
            (300, 250),
            id="reserved CPUs per container",
        ),
        pytest.param(
            ISOLATED,
            {"isolated": 2},
            {"isolated": 1, "pool": 0},
            Rule.ISOLATED_LEFT,
            (2, 1),
            id="isolated CPUs left",
        ),
        pytest.param(
            ISOLATED,
            {"isolated": 1},
            {"isolated": 1, "shared": 5000, "pool": 2},
            Rule.NUMBER,
            (1, 2),
            id="then the number",
        ),
        pytest.param(
            EXCLUSIVE,
            {"shared": 3000, "colocated": 3},
            {"shared": 2000},
            Rule.SHARED_LEFT,
            (3000, 2000),
            id="CPUs to slice off",
        ),
        pytest.param(EXCLUSIVE, {"colocated": 3}, {"pool": 2}, Rule.NUMBER, (1, 2), id="whatever runs there already"),
        pytest.param(SHARED, {"shared": 10}, {"colocated": 1}, Rule.COLOCATED, (0, 1), id="fewer containers"),
        pytest.param(SHARED, {"shared": 1500}, {"pool": 0}, Rule.SHARED_LEFT, (1500, 1000), id="shared CPUs left"),
        pytest.param(SHARED, {}, {"pool": 2}, Rule.NUMBER, (1, 2), id="the lower number"),
    ],
)
def test_rule(
    cpu: CPURequest, winner: dict[str, Any], loser: dict[str, Any], rule: Rule, measures: tuple[float, float]
) -> None:
    request = request_for(cpu)
    better, worse = (rank(attrs.evolve(POOL, **about), request) for about in (winner, loser))
    assert values(better) > values(worse)
    assert (rule, *measures) == difference(better, worse)
