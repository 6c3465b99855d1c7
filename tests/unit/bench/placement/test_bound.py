from __future__ import annotations

import attrs
import pytest

from bench.placement.bestfit import Crossed, best_fit
from bench.placement.bound import Bound, bound
from bench.placement.onemove import Moved, one_move
from bench.placement.traces import GIB, Host, Item, Step

HOST = Host("", (8, 8), 16 * GIB)


def trace(*words: str) -> tuple[Step, ...]:
    """Return a trace: ``a5`` arrives with 5 CPUs, ``a5/12`` also with 12 GiB, ``-a`` leaves."""
    items: dict[str, Item] = {}
    found = []
    for word in words:
        if word.startswith("-"):
            found.append(Step(items[word[1]], leaves=True))
            continue
        cpus, _, memory = word[1:].partition("/")
        items[word[0]] = Item(word[0], 1000 * int(cpus), int(memory or 1) * GIB, int(memory or 1) * GIB)
        found.append(Step(items[word[0]]))
    return tuple(found)


@pytest.mark.parametrize(
    ("steps", "memory", "expected"),
    [
        pytest.param(trace("a5", "b5", "c3", "d3"), False, Bound(0, 0, 0), id="all can be whole"),
        pytest.param(
            trace("a5", "b5", "c5"), False, Bound(1, 1, 0), id="three of 5 CPUs in two nodes of 8: one cannot"
        ),
        pytest.param(trace("a3", "b4", "c5", "d4"), False, Bound(0, 0, 0), id="repacked, the fourth can be"),
        pytest.param(
            trace("a5", "b5", "c5", "-c", "d5"),
            False,
            Bound(1, 2, 0),
            id="who knows the future spreads the one that stays",
        ),
        pytest.param(trace("a2/9", "b2/9", "c2/9"), False, Bound(0, 0, 0), id="CPUs alone would fit"),
        pytest.param(trace("a2/9", "b2/9", "c2/9"), True, Bound(1, 1, 0), id="memory does not"),
    ],
)
def test_bound(steps: tuple[Step, ...], memory: bool, expected: Bound) -> None:
    assert bound(HOST, steps, memory=memory) == expected


def test_what_is_undecided_is_counted_and_makes_the_figures_enclose_more() -> None:
    steps = trace("a3", "b4", "c5", "d4")
    assert bound(HOST, steps, memory=False) == Bound(0, 0, 0)
    assert bound(HOST, steps, memory=False, limit=1) == Bound(0, 1, 2)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(trace("a5", "b3", "c8"), Crossed(0, 0), id="the tightest node that fits"),
        pytest.param(trace("a4", "b5", "c5", "d2"), Crossed(1, 0), id="without moves, one is spread"),
        pytest.param(trace("a4/12", "b1/12"), Crossed(0, 0), id="a node with memory before a tighter one without"),
        pytest.param(trace("a4/12", "b6/12", "c2/8"), Crossed(0, 1), id="memory of two nodes where none has enough"),
        pytest.param(trace("a5", "b5", "c5", "-c", "d3"), Crossed(1, 0), id="who leaves gives all back"),
    ],
)
def test_best_fit(steps: tuple[Step, ...], expected: Crossed) -> None:
    assert best_fit(HOST, steps) == expected


def test_best_fit_goes_next_to_the_device_or_is_spread() -> None:
    first, second, third = (attrs.evolve(step.item, device=1) for step in trace("a2", "b5", "c4"))
    assert best_fit(HOST, [Step(first), Step(second)]) == Crossed(0, 0)
    assert best_fit(HOST, [Step(first), Step(second), Step(third)]) == Crossed(1, 0)
    assert best_fit(HOST, [Step(first), Step(second), Step(attrs.evolve(third, device=None))]) == Crossed(0, 0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(trace("a3", "b4", "c5", "d4"), Moved(0, 1), id="another makes room for it"),
        pytest.param(trace("a5", "b5", "c5"), Moved(1, 0), id="nobody can"),
        pytest.param(trace("a5", "b5", "c5", "-a"), Moved(1, 1), id="a spread one comes together when another leaves"),
    ],
)
def test_one_move(steps: tuple[Step, ...], expected: Moved) -> None:
    assert one_move(HOST, steps) == expected
