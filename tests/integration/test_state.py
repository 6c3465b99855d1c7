"""What is decided survives the process: the same CPUs after any end, not those that a new start would choose."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from crirm.cri.proto.runtime import v1
from crirm.daemon.state.persistence import FAILED_OPEN
from tests.conformance.cri import OK, RESOURCE_EXHAUSTED, V1, Cri, wait_until
from tests.integration.deciding import Node, crirm, make_node

if TYPE_CHECKING:
    from tests.integration.support import Stage

pytestmark = pytest.mark.long


@pytest.fixture
def node(stage: Stage, request: pytest.FixtureRequest) -> Node:
    return make_node(stage, getattr(request, "param", "static"))


def scattered(node: Node) -> dict[str, str]:
    """Assignments with holes, which nobody would choose who sees all containers at once."""
    containers = [node.run(f"u{number}", cpus) for number, cpus in enumerate((1, 1, 0.1, 1, 2))]
    node.end(containers[0])
    node.end(containers[3])
    told = node.told()
    assert len(told) == 3
    return told


def wait_journal(node: Node, text: str) -> None:
    wait_until(lambda: any(text in json.dumps(entry) for entry in node.journal()))


def given_back(node: Node) -> set[tuple[str, str]]:
    """Whose CPUs were given back since the last start, and which."""
    told = node.journal()
    start = max(index for index, entry in enumerate(told) if entry["kind"] == "crirm started")
    ends = [e for e in told[start:] if e["kind"] in {"exited", "removed"} or e["outcome"] == "removed"]
    return {(entry["pod"], entry["cpus"]) for entry in ends if entry["cpus"]}


ends = pytest.mark.parametrize("end", [pytest.param(True, id="SIGTERM"), pytest.param(False, id="SIGKILL")])


@ends
@pytest.mark.parametrize("node", ["static", "topology-aware"], indirect=True)
def test_every_container_keeps_its_cpus(node: Node, end: bool) -> None:
    relay = node.start()
    before = scattered(node)
    explained = node.ask("explain", "u1/main")
    if end:
        assert relay.stop() == 0
    else:
        relay.kill()
    relay = node.start()
    assert before == node.told()
    assert explained == node.ask("explain", "u1/main")
    assert relay.records("restored saved state")[0]["reassigned"] == 0
    assert node.create("u9", 5).code == RESOURCE_EXHAUSTED


@pytest.mark.parametrize("node", ["static", "topology-aware"], indirect=True)
def test_without_the_state_they_stay_where_the_runtime_has_them_but_nobody_knows_why(node: Node) -> None:
    """The latter is how the test above can fail."""
    relay = node.start()
    before = scattered(node)
    explained = node.ask("explain", "u1/main")
    assert relay.stop() == 0
    node.start("--state-dir", "")
    assert before == node.told()
    assert explained != node.ask("explain", "u1/main")


def test_what_has_ended_meanwhile_gives_its_cpus_back(node: Node) -> None:
    relay = node.start()
    gone, kept = node.run("u1", 1), node.run("u2", 1)
    before = node.told()
    relay.kill()
    runtime = Cri(node.stage.client(socket=node.stage.runtime_socket), V1)
    for method in ("StopContainer", "RemoveContainer"):
        assert runtime.reply(method, v1.StopContainerRequest(container_id=gone)).code == OK
    node.start()
    assert {kept: before[kept]} == node.told()
    assert {node.run("u3", 1): before[gone], kept: before[kept]} == node.told()
    # The lists tell of it, or the runtime's events do, whichever comes first.
    wait_until(lambda: {("default/u1", before[gone])} == given_back(node))


def test_containers_of_another_policy_are_placed_anew(node: Node) -> None:
    relay = node.start()
    before = scattered(node)
    assert relay.stop() == 0
    node.policy = "topology-aware"
    relay = node.start()
    assert node.told().keys() == before.keys()
    assert relay.records("restored saved state")[0]["reassigned"] == 3


def test_a_damaged_file_is_set_aside(node: Node) -> None:
    relay = node.start()
    containers = scattered(node).keys()
    assert relay.stop() == 0
    (node.state / "state.db").write_bytes(b"no database, but long enough to be looked at" * 100)
    relay = node.start()
    assert containers == node.told().keys()
    assert len(list(node.state.glob("state.db.damaged-*"))) == 1
    assert (
        "is not a database"
        in relay.records("saved state is unusable, renamed it and starting with an empty state")[0]["reason"]
    )


def test_where_nothing_can_be_kept_crirm_says_so_and_goes_on(node: Node) -> None:
    node.state.mkdir()
    node.state.chmod(0o777)
    relay = node.start()
    node.run("u1", 1)
    (record,) = relay.records(FAILED_OPEN)
    assert "writable by other users" in record["reason"]
    assert list(node.state.iterdir()) == []
    node.state.chmod(0o755)
    relay.wait_log("saving state works again")
    before = node.told()
    relay.kill()
    node.start()
    assert before == node.told()


def test_a_second_daemon_does_not_decide_about_the_same_containers(node: Node) -> None:
    """It would place them all anew, if it did not see that their state is in use."""
    node.start()
    before = scattered(node)
    second = node.stage.starting_relay(
        "--relay-socket",
        node.stage.place / "another.sock",
        "--policy",
        "static",
        "--reserved-cpus",
        "1",
        "--state-dir",
        node.state,
        "--host-root",
        node.stage.place / "host",
    )
    assert second.wait_exit() != 0
    assert "in use by another crirm" in second.log
    assert before == node.told()


def test_what_has_come_meanwhile_gets_cpus(node: Node) -> None:
    relay = node.start()
    kept = node.run("u1", 1)
    before = node.told()
    relay.kill()
    node.past_crirm()
    come = node.run("u2", 1)
    node.start()
    told = node.told()
    assert told.keys() == {kept, come}
    assert told[kept] == before[kept]
    assert told[come] not in {"", told[kept]}
    wait_journal(node, "found, CPUs")


def test_what_still_fits_stays_where_it_is(node: Node) -> None:
    """The reserved CPUs are others now, and one container sits on one of them."""
    relay = node.start()
    containers = [node.run(f"u{number}", 1) for number in range(3)]
    before = node.told()
    assert relay.stop() == 0
    relay = node.start("--reserved-cpus", f"cpuset:{before[containers[1]]}")
    after = node.told()
    moved = {each for each in containers if after[each] != before[each]}
    assert moved == {containers[1]}
    assert after[containers[1]] not in before.values()
    assert relay.records("restored saved state")[0]["reassigned"] == 1


def test_the_journal_tells_what_has_happened(node: Node) -> None:
    node.start()
    container = node.run("u1", 1)
    node.run("u2", 0.1)
    node.end(container)
    assert node.create("u3", 9).code == RESOURCE_EXHAUSTED
    wait_journal(node, "refused")
    kinds = [entry["kind"] for entry in node.journal("--pod", "default/u1", "--container", "main")]
    assert kinds == ["requested", "created", "started", "exited", "removed"]
    (refused,) = node.journal("--pod", "u3", "--container", "main", "--since", "10m")
    assert "wants 9 exclusive CPUs" in refused["outcome"]
    assert node.journal("--since", "2099-01-01") == []
    assert "default/u1/main" in crirm("journal", "--state-dir", str(node.state))
