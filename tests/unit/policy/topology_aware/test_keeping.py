"""The contract: what a container keeps does not change, and whatever would have to change it goes elsewhere."""

from __future__ import annotations

import json

import pytest

from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalCode
from crirm.model.workload import ContainerKey
from crirm.policy.annotations import Keep
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.nodes import Eventful, claiming, node
from tests.unit.policy.topology_aware.support import NS

CPUS = {f"keep.{NS}": "cpus"}
MEMORY = {f"keep.{NS}": "memory"}
ALL = {f"keep.{NS}": "all"}
BURSTABLE = QoSClass.BURSTABLE


def sharing(annotations: dict[str, str] = CPUS) -> Eventful:
    """Return a node on which ``k`` shares the CPUs 4-7 of NUMA node 1."""
    one = node()
    one.run("k", 1500, qos=BURSTABLE, annotations=annotations)
    assert one.cpus("k") == "4-7"
    return one


def test_no_cpu_that_it_shares_becomes_exclusive_while_another_will_do() -> None:
    one = sharing()
    one.run("x", 2000)
    assert (one.cpus("k"), one.cpus("x")) == ("4-7", "1-2")


def test_what_would_need_one_is_refused_and_told_who_keeps_them() -> None:
    one = sharing()
    one.run("x", 3000)
    refusal = one.ask("y", 1000).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.OTHERS_KEEP_CPUS
    assert "default/k/c keeps the shared CPUs 4-7 that it runs on (annotation keep)" in str(refusal)
    assert one.cpus("k") == "4-7"


def test_it_shares_them_with_others() -> None:
    one = sharing()
    one.run("x", 2000, qos=BURSTABLE)
    one.run("y", 2000, qos=BURSTABLE)
    assert one.cpus("k") == "4-7"


def test_what_its_pool_gets_back_others_use() -> None:
    one = node()
    one.run("x", 2000)
    assert one.cpus("x") == "4-5"
    one.run("y", 3000)
    one.run("k", 500, qos=BURSTABLE, annotations=CPUS)
    one.run("z", 500, qos=BURSTABLE)
    assert (one.cpus("k"), one.cpus("z")) == ("6-7", "6-7")
    one.end("x")
    assert (one.cpus("k"), one.cpus("z")) == ("6-7", "4-7")
    one.run("x2", 2000)
    assert (one.cpus("k"), one.cpus("z"), one.cpus("x2")) == ("6-7", "6-7", "4-5")


@pytest.mark.parametrize(
    ("before", "after", "cpus"),
    [
        pytest.param(2000, 3000, "4-6", id="grows in place"),
        pytest.param(3000, 2000, "4-5", id="shrinks in place"),
    ],
)
def test_its_own_resize_keeps_it_where_it_is(before: int, after: int, cpus: str) -> None:
    one = node()
    one.run("k", before, annotations=CPUS)
    assert one.resize("k", after).refusal is None
    assert one.cpus("k") == cpus


def test_its_own_resize_is_refused_where_it_would_have_to_move() -> None:
    one = node("2p.1n.4c mem=8Gi")
    one.run("k", 2000, annotations=CPUS)
    one.run("x", 1000, annotations=CPUS)
    before = one.cpus("k")
    refusal = one.resize("k", 5000).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.KEEPS_ITS_PLACE
    assert str(refusal).startswith("default/k/c keeps its CPUs (annotation keep), and socket #1 has no room")
    assert one.cpus("k") == before


def test_memory_is_not_lifted_and_who_would_do_that_goes_elsewhere_or_is_refused() -> None:
    one = node(options=TopologyAwareOptions(pin_cpu=False))
    one.run("k", 500, 6, qos=BURSTABLE, limit=6, annotations=MEMORY)
    kept = one.mems("k")
    one.run("x", 500, 1, qos=BURSTABLE, limit=7)
    assert one.mems("x") != kept
    refusal = one.ask("y", 500, 1, qos=BURSTABLE, limit=7).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.OTHERS_KEEP_MEMORY
    assert "default/k/c keeps memory that both might need (annotation keep)" in str(refusal)
    assert one.mems("k") == kept


def test_who_would_run_on_reserved_cpus_is_refused_for_kept_memory_as_well() -> None:
    one = node()
    one.run("k", 500, 6, qos=BURSTABLE, limit=6, annotations=MEMORY)
    reserved = {f"prefer-reserved-cpus.{NS}": "true"}
    refusal = one.ask("x", 100, 1, qos=BURSTABLE, limit=7, annotations=reserved).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.OTHERS_KEEP_MEMORY
    assert "default/k/c keeps memory that both might need (annotation keep)" in str(refusal)


def test_memory_that_is_kept_is_not_narrowed_either() -> None:
    one = node()
    one.run("x", 500, 1, qos=BURSTABLE, limit=8)
    one.run("y", 500, 1, qos=BURSTABLE, limit=8)
    one.run("k", 500, 1, qos=BURSTABLE, limit=4, annotations=ALL)
    assert one.mems("k") == "0-1"
    one.end("x")
    one.end("y")
    assert one.mems("k") == "0-1"


def test_it_is_kept_over_a_restart() -> None:
    one = sharing(ALL)
    one.run("x", 2000, 1)
    saved = json.loads(json.dumps(one.policy.save(one.state.policy)))
    restored = one.policy.restore(saved, one.state.workload)
    assert (restored.state, restored.dropped) == (one.state.policy, {})
    assert restored.state.granted(ContainerKey("k")).keep is Keep.ALL


def test_an_older_grant_keeps_nothing() -> None:
    one = sharing()
    saved = json.loads(json.dumps(one.policy.save(one.state.policy)))
    for field in ("keep", "kept", "mems"):
        del saved["k"][1][field]
    assert one.policy.restore(saved, one.state.workload).state.granted(ContainerKey("k")).keep is Keep.NOTHING


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({f"keep.{NS}": "cpu"}, id="no such thing"),
        pytest.param({f"move-cost.{NS}": "-1"}, id="a negative cost"),
        pytest.param({f"move-cost.{NS}": "dear"}, id="no number"),
        pytest.param({f"move-cost.{NS}": "nan"}, id="not a number"),
        pytest.param({**MEMORY, f"cold-start.{NS}": "duration: 60s"}, id="memory that a cold start changes"),
    ],
)
def test_what_cannot_be_is_refused(annotations: dict[str, str]) -> None:
    refusal = node().ask("k", 1000, annotations=annotations).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.BAD_ANNOTATION


@pytest.mark.parametrize(
    ("annotations", "cpus", "code"),
    [
        pytest.param(CPUS, "6", RefusalCode.OTHERS_KEEP_CPUS, id="CPUs that another keeps are not handed over"),
        pytest.param(MEMORY, "6", None, id="who keeps only memory shrinks off the CPUs"),
        pytest.param(MEMORY, "5-7", None, id="who keeps only memory goes to the pool above, and its memory stays"),
    ],
)
def test_claims_of_a_dra_driver_break_nothing_that_is_kept(
    annotations: dict[str, str], cpus: str, code: RefusalCode | None
) -> None:
    one = sharing(annotations)
    mems = one.mems("k")
    refusal = claiming(one, "d", cpus).refusal
    assert (refusal and refusal.code) == code
    assert one.mems("k") == mems
    assert (one.cpus("k") == "4-7") == (code is not None)


def test_claims_take_no_cpu_that_is_kept_where_its_pool_has_others() -> None:
    one = node()
    one.run("x", 2000)
    assert one.cpus("x") == "4-5"
    one.run("y", 3000)
    one.run("k", 500, qos=BURSTABLE, annotations=CPUS)
    one.end("x")
    assert one.cpus("k") == "6-7"
    refusal = claiming(one, "d", "6-7").refusal
    assert refusal is not None
    assert str(refusal) == (
        "default/d/c: its DRA claims give it CPUs 6-7, but default/k/c keeps the shared CPUs 6-7 that it runs on "
        "(annotation keep) [others-keep-cpus]"
    )


def test_claims_do_not_make_room_for_memory_that_another_keeps() -> None:
    one = node()
    one.run("k", 1000, 6, annotations=MEMORY)
    there = one.mems("k")
    refusal = claiming(one, "d", "5" if there == "1" else "2", memory=4).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.OTHERS_KEEP_MEMORY
    assert one.mems("k") == there


def test_who_runs_on_claims_keeps_its_memory() -> None:
    one = node()
    claiming(one, "d", "5", memory=5, annotations=MEMORY)
    assert one.mems("d") == "1"
    one.run("x", 2000, 6)
    assert one.ask("y", 2000, 4).refusal is not None or one.mems("y") != "1"
    assert one.mems("d") == "1"
