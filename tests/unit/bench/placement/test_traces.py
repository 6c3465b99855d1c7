from __future__ import annotations

import pytest

from bench.placement.play import with_cpus
from bench.placement.shapes import HOSTS, SHAPES
from bench.placement.traces import Host, Item, Shape, Step, steps

CASES = [
    pytest.param(shape, host, id=f"{shape.key}, {nodes} nodes") for shape in SHAPES for nodes, host in HOSTS.items()
]


def over(host: Host, present: list[Item]) -> bool:
    devices = [item.device for item in present if item.device is not None]
    return (
        sum(item.millicpu for item in present) > 1000 * host.total
        or sum(item.request for item in present) > host.memory * len(host.cpus)
        or len(set(devices)) < len(devices)
    )


@pytest.mark.parametrize(("shape", "host"), CASES)
def test_all_present_fit_the_machine_and_each_fits_one_empty_node(shape: Shape, host: Host) -> None:
    host = with_cpus(host)
    present: dict[str, Item] = {}
    arrived = 0
    for step in steps(shape, host, seed=3, arrivals=120):
        if step.leaves:
            assert present.pop(step.item.name) == step.item
            continue
        assert step.item.name not in present
        assert step.item.millicpu <= 1000 * min(host.cpus)
        assert step.item.request <= step.item.memory <= host.memory
        present[step.item.name] = step.item
        assert not over(host, list(present.values()))
        arrived += 1
    assert arrived == 120 + shape.first


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.key)
def test_a_seed_makes_the_same_trace_again_and_another_seed_another(shape: Shape) -> None:
    def made(seed: int) -> tuple[Step, ...]:
        return steps(shape, with_cpus(HOSTS[4]), seed, 50)

    assert made(1) == made(1)
    assert made(1) != made(2)
