"""The screens of ``crirm explain`` at 80 columns."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from crirm.cli import explain, printing
from crirm.cli.explain_text import _names, runner_up


def verdict(pool: str, shared: int = 8000, rule: str = "", own: float = 0, other: float = 0, why: str = "") -> Any:
    facts = [["shared_milli", shared], ["exclusive_cpus", shared // 1000 - 1], ["memory_bytes", 8 << 30]]
    return {"pool": pool, "facts": facts, "lost_to": "", "rule": rule, "own": own, "other": other, "why": why}


CHOSEN = verdict("NUMA node #3")
TIES = [verdict(f"NUMA node #{n}", rule="pool_number", own=n, other=3, why="tie with NUMA node #3") for n in (4, 5, 7)]
LESS = verdict(
    "NUMA node #0", 7000, "shared_left_milli", 4500, 5000, "would leave 4500m of shared CPUs; NUMA node #3 leaves 5"
)
HIGHER = verdict("root", 60500, "depth", 0, 3, "higher in the pool tree than NUMA node #3 (depth 0, not 3)")
NONE = verdict("NUMA node #1", 2000, "exclusive_cpus", 1, 7, "too few exclusive CPUs: 1; NUMA node #3 has 7")
NEW = verdict("NUMA node #2", 8000, "a_rule_of_tomorrow", 1, 2, "something that only a newer crirm knows of")


def entry(*verdicts: Any, **more: Any) -> Any:
    trail = {
        "key": "k",
        "policy": "topology-aware",
        "asked": "3 exclusive CPUs; up to 64Mi of any memory",
        "chosen": "NUMA node #3",
        "granted": "exclusive CPUs 12-13,44; memory of NUMA nodes 3",
        "verdicts": list(verdicts),
        "moves": [],
        "notes": [],
    }
    return {"name": "default/db/main", "at_s": 0.0, "trail": {**trail, **more}, "since": []}


KERNEL = {
    "cgroup": "/sys/fs/cgroup/kubepods/burstable/pod0123abcd/c1",
    "version": "v2",
    "cpus": "12-13,44",
    "mems": "3",
    "memory_bytes": {"0": 16 << 20, "3": 48 << 20},
    "memory_source": "memory.numa_stat",
    "remote_nodes": "0",
    "remote_bytes": 16 << 20,
    "pressure_percent": {"avg10": 12.5, "avg60": 8.0, "avg300": 1.25},
    "throttling": {"periods": 300, "throttled": 12, "throttled_us": 1_500_000},
    "missing": [],
    "findings": ["16 MiB of its memory (25 %) is remote: on NUMA node 0, not near its CPUs"],
}
NOTHING = {**KERNEL, "pressure_percent": None, "throttling": None, "memory_bytes": {}, "findings": []}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "screen_width", lambda **_: 80)
    monkeypatch.setattr("crirm.cli.explain_text.local_time", lambda _: "2026-11-29 14:44:22+00:00")


def screen(monkeypatch: pytest.MonkeyPatch, *entries: Any, words: tuple[str, ...] = ()) -> str:
    monkeypatch.setattr(explain, "ask", lambda *_, **__: {"explained": list(entries), "refused": []})
    result = CliRunner().invoke(explain.command, ["db", *words], catch_exceptions=False)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    return result.output


def test_the_whole_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        screen(monkeypatch, entry(CHOSEN, *TIES, LESS, HIGHER, NONE))
        == """\
default/db/main
  placed     2026-11-29 14:44:22+00:00, by policy topology-aware
  requested  3 exclusive CPUs; up to 64Mi of any memory
  pool       NUMA node #3
  assigned   exclusive CPUs 12-13,44; memory of NUMA nodes 3
  why        NUMA nodes #4-5,7 were as good, and NUMA node #3 comes first; of
             the others NUMA node #0 was next: would leave 4500m of shared CPUs;
             NUMA node #3 leaves 5

what each pool had before, and what decided between it and the chosen one:
pool               shared  exclusive  memory  decided by
                     CPUs       CPUs   bytes
NUMA node #3            8          7     8Gi  chosen
NUMA nodes #4-5,7       8          7     8Gi  equal, but later
NUMA node #0            7          6     8Gi  leaves 4.5 shared, not 5
root                 60.5         59     8Gi  higher in the tree
NUMA node #1            2          1     8Gi  too few exclusive
"""
    )


def test_what_the_kernel_has(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch, {**entry(CHOSEN), "kernel": KERNEL}, words=("--analyze",))
    assert (
        shown.partition("\nin the kernel")[2]
        == """\
, cgroup v2
  cgroup     /sys/fs/cgroup/kubepods/burstable/pod0123abcd/c1
  effective  CPUs 12-13,44; memory of NUMA nodes 3
  CPU wait   12.5 % of the last 10 s, 8 % of 1 min, 1.25 % of 5 min
  throttled  in 12 of 300 periods, 1.5 s in all
  finding    16 MiB of its memory (25 %) is remote: on NUMA node 0, not near its
             CPUs

NUMA node  memory  share
0          16 MiB   25 %
3          48 MiB   75 %
remote     16 MiB   25 %
(from memory.numa_stat; remote: on nodes not near its CPUs)
"""
    )


@pytest.mark.parametrize(
    ("kernel", "last"),
    [
        pytest.param(NOTHING, "  finding    kernel and decision agree, and nothing slows it", id="all is well"),
        pytest.param(
            {**NOTHING, "missing": ["CPU pressure: boot with psi=1"]},
            "  finding    the kernel tells nothing that differs",
            id="something is not known",
        ),
    ],
)
def test_when_nothing_is_found(kernel: Any, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch, {**entry(CHOSEN), "kernel": kernel}, words=("--analyze",))
    assert shown.splitlines()[-1] == last
    assert all(f"  missing    {one}" in shown for one in kernel["missing"])


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        pytest.param([], "", id="no other"),
        pytest.param(
            TIES[:1], "NUMA node #4 was as good, and NUMA node #3 comes first", id="one equal pool, and nothing else"
        ),
        pytest.param(
            [LESS],
            "NUMA node #0 was next: would leave 4500m of shared CPUs; NUMA node #3 leaves 5",
            id="one that is worse",
        ),
        pytest.param(
            [NONE],
            "no other pool can hold it; NUMA node #1: too few exclusive CPUs: 1; NUMA node #3 has 7",
            id="none that can",
        ),
    ],
)
def test_the_runner_up(others: list[Any], sentence: str) -> None:
    assert runner_up([CHOSEN, *others]) == sentence


def test_a_rule_without_a_short_name_is_told_in_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "something that only a newer crirm" in " ".join(screen(monkeypatch, entry(CHOSEN, NEW)).split())


@pytest.mark.parametrize(
    ("pools", "name"),
    [
        (["root"], "root"),
        (["NUMA node #1", "NUMA node #2", "NUMA node #9"], "NUMA nodes #1-2,9"),
        (["die #0/0", "die #0/1"], "dies #0/0-1"),
        (["die #0/0", "die #1/0"], "die #0/0, die #1/0"),
        (["die #0/0", "die #0/1", "die #1/0"], "die #0/0 and 2 more"),
        (["package", "root"], "package, root"),
    ],
)
def test_pools_that_are_alike_share_a_name(pools: list[str], name: str) -> None:
    assert _names(pools) == name


def test_long_names_and_moves_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "kube-system/a-rather-long-deployment-name-7d9c9b8f6d-x2x4z/main"
    move = {
        "name": name,
        "at_s": 0.0,
        "what": "CPUs",
        "before": "0-7",
        "after": "0,3-7",
        "why": f"{name} took CPUs 1-2",
    }
    long = {**entry(CHOSEN, moves=[move], notes=["a note " * 20]), "name": name, "since": [move]}
    shown = screen(monkeypatch, long, long)
    assert shown.count(name) >= 4
