"""What strangers send in any length leaves little behind: in the state, in the journal, in the log, in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.cri.proto.runtime import v1
from crirm.daemon.placement.effects import EffectsWorker
from crirm.daemon.placement.engine import OTHERS_KEPT, REFUSALS_KEPT, Engine
from crirm.daemon.state.persistence import open_persistence
from crirm.logs import LogSettings, configure
from crirm.model.annotations import MOST_CHARS, kept
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.trail import Move, Trail
from crirm.model.workload import ContainerKey, PodId
from tests.unit.daemon.lives import FACTS, Process, ignore
from tests.unit.daemon.nodes import FakeNode, FakeRuntime, create_request, good, pod_request
from tests.unit.policy.counting import Counting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import trio

LONG = 250_000
CREATES = 30
NS = "cri-resource-manager.intel.com"


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log"
    configure(LogSettings(log_file=str(path)))
    yield path
    configure(LogSettings())


def size(place: Path) -> int:
    return sum(file.stat().st_size for file in place.iterdir()) if place.is_dir() else place.stat().st_size


def amount(text: str) -> str:
    return json.dumps({"containers": {"c": {"requests": {"cpu": text}}}})


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({"intel.com/resources": amount("x" * LONG)}, id="an amount that is none"),
        pytest.param({"intel.com/resources": '{"' + "x" * LONG}, id="no JSON"),
        pytest.param({f"topologyhints.{NS}": "x" * LONG}, id="no boolean"),
        pytest.param({"notes.example.com": "x" * LONG, "intel.com/resources": "{"}, id="another's annotation"),
    ],
)
async def test_a_refused_create_adds_little(
    nursery: trio.Nursery, annotations: dict[str, str], tmp_path: Path, log_file: Path
) -> None:
    home, node = tmp_path / "state", FakeNode(nursery)
    kept_state = open_persistence(str(home), node.engine, EffectsWorker(node.engine, FakeRuntime(), ignore), FACTS)
    node.engine.listen((kept_state,))
    answer = good(v1.RunPodSandboxResponse(pod_sandbox_id="p1"))
    node.call("RunPodSandbox", pod_request(annotations=annotations), answer)
    await kept_state._write()
    state, log = size(home), size(log_file)
    for _ in range(CREATES):
        held, _ = node.call("CreateContainer", create_request(mounts=("/data",)))
        assert held.refused is not None
        await kept_state._write()
    assert kept_state.store is not None
    kept_state.store.close()
    assert size(log_file) - log < CREATES * 1000
    assert size(home) - state < CREATES * 20_000, "SQLite's log has whole pages, and is written over"
    assert len(node.engine.refusals) == 1


@pytest.mark.parametrize(
    ("annotations", "left"),
    [
        pytest.param({"a": "b", f"x.{NS}": "1", "intel.com/resources": "{}"}, [f"x.{NS}", "intel.com/resources"],
                     id="what no policy reads is not kept"),
        pytest.param({f"{i}.{NS}": "x" * 100_000 for i in range(9)}, [f"0.{NS}", f"1.{NS}"],
                     id="no more than Kubernetes allows"),
    ],
)  # fmt: skip
def test_of_a_pods_annotations_few_are_kept(annotations: dict[str, str], left: list[str]) -> None:
    assert sorted(left) == sorted(kept(annotations))
    assert sum(len(key) + len(value) for key, value in kept(annotations).items()) <= MOST_CHARS


def test_refusals_are_forgotten_after_enough_others() -> None:
    engine = Engine(Counting(8))
    for number in range(REFUSALS_KEPT + 5):
        engine.refuse(PodId("p"), f"c{number}", RefusedError(RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, "no room"))
    assert len(engine.refusals) == REFUSALS_KEPT
    assert "p/c4" not in engine.refusals


def test_a_refusal_is_a_sentence_whatever_it_quotes() -> None:
    assert len(str(RefusedError(RefusalCode.BAD_ANNOTATION, "x" * LONG))) < 1100


def test_a_trail_names_some_of_the_others_and_counts_the_rest(first: Process) -> None:
    moves = tuple(Move(ContainerKey(f"k{i}"), "CPUs", "0-1", "0", "so") for i in range(OTHERS_KEPT + 3))
    trail = Trail(ContainerKey("k"), "counting", "", "", "", moves=moves)
    first.engine._keep(1.0, trail)
    stored = first.engine.trails[ContainerKey("k")].trail
    assert attrs.evolve(trail, moves=moves[:OTHERS_KEPT], notes=("3 more containers changed",)) == stored
    first.kill()
