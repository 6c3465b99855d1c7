"""The traces that are measured: four that are plain, and three that are like a kind of node.

The shape of ``azure`` is that of a public trace: sizes and lifetimes of the virtual machines in AzurePublicDatasetV1
(https://github.com/Azure/AzurePublicDataset), which E. Cortez et al. describe in "Resource Central: Understanding and
Predicting Workloads for Improved Resource Management in Large Cloud Platforms", SOSP 2017. The shares were counted
in the copy that https://github.com/huaweicloud/trace_generation_rnn holds of it: 1,200,998 sizes and 259,159 lifetimes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import attrs

from bench.placement.traces import GIB, Host, Item, Shape, burstable, exclusive

if TYPE_CHECKING:
    import random

_AZURE_SIZES: Final = ((1, 0.45), (2, 0.28), (4, 0.11), (8, 0.16))
"""CPUs, and the share of containers."""
_AZURE_LIVES: Final = ((0.0, 1 / 12), (0.53, 5 / 12), (0.76, 2), (0.90, 14), (0.94, 48), (1.0, 240))
"""Shares of containers that live no longer than so many hours; between these, by the logarithm."""


def _between(low: int, high: int) -> Shape:
    def make(draw: random.Random, host: Host, number: int) -> Item:
        return exclusive(number, draw.randint(low, high), draw, host)

    return Shape("plain", f"{low} to {high} CPUs", 0.75, make)


def _mixed(draw: random.Random, host: Host, number: int) -> Item:
    return exclusive(number, draw.choice((3, 5, 7)), draw, host)


def _mostly_burstable(draw: random.Random, host: Host, number: int) -> Item:
    if draw.random() < 0.7:
        return burstable(number, draw.randint(1, 30) * 100, draw, host)
    return exclusive(number, draw.randint(2, 8), draw, host)


def _azure(draw: random.Random, host: Host, number: int) -> Item:
    cpus = draw.choices([size for size, _ in _AZURE_SIZES], [share for _, share in _AZURE_SIZES])[0]
    return exclusive(number, cpus, draw, host, most=0.75)


def _azure_life(draw: random.Random) -> float:
    at = draw.random()
    for (below, low), (above, high) in pairwise(_AZURE_LIVES):
        if at <= above:
            return float(low * (high / low) ** ((at - below) / (above - below)))
    raise AssertionError


def _gpu(draw: random.Random, host: Host, number: int) -> Item:
    """Return a job at one of the machine's GPUs, of which each node has one, or one without."""
    if draw.random() < 0.5:
        job = exclusive(number, draw.choice((4, 6, 8, 10)), draw, host, most=1)
        return attrs.evolve(job, device=draw.randrange(len(host.cpus)))
    return exclusive(number, draw.randint(1, 6), draw, host)


_PLAIN: Final = _between(2, 12)
SHAPES: Final = (
    attrs.evolve(_PLAIN, text="2 to 12 CPUs, 75 % load"),
    attrs.evolve(_PLAIN, key="full", text="the same, 90 %", load=0.9),
    Shape("odd", "3, 5 or 7 CPUs, 85 % load", 0.85, _mixed),
    attrs.evolve(_PLAIN, key="mixed", text="plain, with 6 Burstable of 500m", first=6),
    Shape("burstable", "70 % Burstable, the others 2 to 8 CPUs", 0.85, _mostly_burstable),
    Shape("azure", "few large, many small, heavy-tailed lives", 0.85, _azure, lives=_azure_life),
    Shape("gpu", "half of them with one of the nodes' GPUs", 0.8, _gpu),
)
HOSTS: Final = {
    2: Host("1p.1d.2n.16c.2t mem=128Gi", (), 128 * GIB),
    4: Host("2p.1d.2n.8c.2t mem=64Gi", (), 64 * GIB, packages=2),
    8: Host("2p.1d.4n.8c.2t mem=64Gi", (), 64 * GIB, packages=2),
}
"""By NUMA nodes; their CPUs follow from what the policies leave for containers, see `play`."""
