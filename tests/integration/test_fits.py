"""``crirm fits`` asks a daemon before the embedded runtime; what it says is what then happens, and no more."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.cri import OK
from tests.daemons import CRIRM
from tests.integration.deciding import make_node

if TYPE_CHECKING:
    from tests.integration.deciding import Node
    from tests.integration.support import Stage

pytestmark = pytest.mark.long

SMALL = ("--memory", "64Mi")


@pytest.fixture
def node(stage: Stage, request: pytest.FixtureRequest) -> Node:
    return make_node(stage, getattr(request, "param", "topology-aware"))


def fits(node: Node, *words: str) -> tuple[int, str, str]:
    """Run ``crirm fits``, and return the exit status, what it prints, and what it complains of."""
    argv = [str(CRIRM), "fits", *words, "--control-socket", str(node.stage.place / "r-control.sock")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def asked(node: Node, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, err = fits(node, *words, "--json")
    assert err == ""
    return code, json.loads(out)


@pytest.mark.parametrize("node", ["static", "topology-aware"], indirect=True)
def test_what_fits_is_then_placed_there_and_what_does_not_is_refused_in_the_same_words(node: Node) -> None:
    node.start()
    node.run("shares", 0.1)
    before = node.told(), node.ask("status")
    code, answer = asked(node, "--cpu", "3", *SMALL)
    assert (code, answer["fits"], answer["fitting"]) == (0, True, 1)
    code, refused = asked(node, "--cpu", "9", *SMALL)
    assert (code, refused["fits"], refused["copies"]) == (1, False, [])
    assert (node.told(), node.ask("status")) == before, "nothing has changed"
    assert all(entry["kind"] != "requested" or entry["pod"] == "default/shares" for entry in node.journal())
    placed = node.run("real", 3)
    assert node.told()[placed] == answer["copies"][0]["cpus"]
    code, refused = asked(node, "--cpu", "9", *SMALL)
    reply = node.create("big", 9)
    assert reply.code != OK
    told = refused["refused"]
    assert told["fits"], "there is always something smaller"
    assert reply.text.startswith(told["reason"].replace("fits-1", "big"))
    assert reply.text.endswith(f"{told['fits'][0]} [{told['code']}]")
    assert told["code"] == "too-few-exclusive-cpus"
    fewer = int(told["fits"][0].split()[1])
    assert node.create("smaller", 9 - fewer).code == OK


def test_copies_fill_the_node_one_after_the_other(node: Node) -> None:
    node.start()
    code, answer = asked(node, "--cpu", "2", *SMALL, "--count", "5")
    assert (code, answer["count"], answer["fitting"], answer["refused"]["copy"]) == (1, 5, 3, 4)
    code, out, err = fits(node, "--cpu", "2", *SMALL, "--count", "5")
    assert (code, err) == (1, "")
    assert out.startswith("3 of 5 would fit, says policy topology-aware\n")
    assert "\ncode       too-few-exclusive-cpus (docs/refusals.md)\nwould fit  with 1 CPU fewer\n" in out
    assert len(node.told()) == 0


def test_others_that_would_change_are_named(node: Node) -> None:
    node.start()
    node.run("shares", 0.1)
    code, out, _ = fits(node, "--cpu", "6", *SMALL)
    assert code == 0
    assert "other containers that would change:\n  default/shares/main: CPUs " in out


def test_annotations_and_classes_count(node: Node) -> None:
    node.start()
    _, exclusive = asked(node, "--cpu", "2", *SMALL)
    _, shared = asked(node, "--cpu", "2", *SMALL, "--annotation", "prefer-shared-cpus=true")
    _, burstable = asked(node, "--qos", "burstable", "--cpu", "500m", "--memory-limit", "1Gi")
    _, reserved = asked(node, "--cpu", "500m", *SMALL, "--namespace", "kube-system")
    granted = [answer["copies"][0]["granted"].split(" ")[0] for answer in (exclusive, shared, burstable, reserved)]
    assert granted == ["exclusive", "shared", "shared", "reserved"]
    code, bad = asked(node, "--cpu", "2", *SMALL, "--annotation", "prefer-shared-cpus=perhaps")
    assert (code, bad["refused"]["code"]) == (1, "bad-annotation")


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        pytest.param(("--cpu", "2"), 1, "a Guaranteed pod needs cpu and memory", id="half a Guaranteed pod"),
        pytest.param(("--cpu", "two", *SMALL), 1, "'two' is not a quantity", id="no amount"),
        pytest.param(("--cpu", "2", *SMALL, "--annotation", "x"), 2, "write NAME=VALUE", id="no annotation"),
        pytest.param(("--cpu", "2", *SMALL, "--annotation", "x=1"), 1, "no such annotation", id="not one of ours"),
        pytest.param(("--cpu", "2", *SMALL, "--count", "100000"), 1, "write 1 to 256", id="too many"),
    ],
)
def test_what_means_nothing_is_said_to(node: Node, words: tuple[str, ...], code: int, complaint: str) -> None:
    node.start()
    status, out, err = fits(node, *words)
    assert (status, out) == (code, "")
    assert complaint in err


def test_without_a_daemon_nothing_is_claimed(node: Node) -> None:
    status, out, err = fits(node, "--cpu", "2", *SMALL)
    assert (status, out) == (1, "")
    assert "crirm is not running" in err
