"""Grants of an earlier process on a machine that has changed since."""

from __future__ import annotations

import json

from crirm.model.workload import ContainerKey
from tests.unit.policy.topology_aware.invariants import check
from tests.unit.policy.topology_aware.support import GIB, Node, make_policy

LARGER, SMALLER = "2p.4c mem=4Gi", "2p.4c mem=2Gi"


def boot(host: str) -> Node:
    return Node(make_policy(host, "cpuset:0"))


def test_where_memory_is_missing_the_last_are_promised_none_but_keep_their_cpus() -> None:
    before = boot(LARGER)
    for name in ("a", "b", "c"):
        before.add(name, 1000, 2)
    saved = json.loads(json.dumps(before.policy.save(before.state)))
    after = boot(SMALLER)
    restored = after.policy.restore(saved, before.workload)
    assert restored.dropped == {}
    assert list(restored.weakened) == ["c"]
    assert "short by 2Gi" in restored.weakened[ContainerKey("c")]
    needs = {key: grant.memory.need for filed in restored.state.grants for key, grant in filed.items()}
    assert needs == {"a": 2 * GIB, "b": 2 * GIB, "c": 0}
    assert {key: str(one.cpus) for key, one in restored.adjustments.items()} == {
        k: str(v.cpus) for k, v in before.has.items()
    }
    check(after.policy, restored.state)


def test_who_was_promised_nothing_is_left_as_it_is() -> None:
    before = boot(LARGER)
    before.add("a", 1000, 4)
    before.add("b", 1000, 0)
    restored = boot(SMALLER).policy.restore(before.policy.save(before.state), before.workload)
    assert (restored.dropped, restored.weakened) == ({}, {})


def test_what_is_restored_goes_when_it_is_released() -> None:
    before, after = boot(LARGER), boot(SMALLER)
    for name in ("a", "b", "c"):
        before.add(name, 1000, 2)
    restored = after.policy.restore(before.policy.save(before.state), before.workload)
    after.state, after.workload, after.has = restored.state, before.workload, dict(restored.adjustments)
    for name in ("c", "a", "b"):
        after.remove(name)
    assert after.state == after.policy.initial()
