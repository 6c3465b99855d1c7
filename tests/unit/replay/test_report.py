from __future__ import annotations

import json

import attrs
import pytest

from crirm.model.events import ContainerExited, ContainerRemoved, PodAdded, ResizeDone, ResizeFailed, ResizeRequested
from crirm.model.resources import LinuxResources
from crirm.model.workload import ContainerKey
from crirm.policy.api import Choice
from crirm.replay.diff import Difference, Figure, compare
from crirm.replay.report import ReportError, policy_text, read_report, report_record
from tests.unit.replay.scenes import AWARE, BEGIN_S, STATIC, Scene, container, pod, replayed, web


def test_every_container_has_its_outcome() -> None:
    scene = web()
    scene.tell(ContainerExited(ContainerKey("b")))
    report = replayed(scene.text).report
    said = {
        one.name.rpartition("/")[2]: (one.state, one.pool, one.cpus, one.own, one.mems, one.changes)
        for one in report.outcomes
    }
    assert said == {
        "a": ("runs", "socket #1", "4-5", "4-5", "1", 0),
        "b": ("ended", "socket #0", "1-2", "1-2", "0", 0),
        "s": ("runs", "socket #1", "6-7", "", "1", 0),
        "t": ("runs", "socket #0", "1-3", "", "0", 1),
        "big": ("refused", "", None, "", None, 0),
    }
    assert (report.count("runs"), report.count("ended"), report.count("refused")) == (3, 1, 1)
    assert [(one.name, one.what) for one in report.refusals] == [("default/p/big", "create")]
    assert "wants 4 exclusive CPUs" in report.refusals[0].sentence


def test_changes_by_others_are_counted_own_ones_are_not() -> None:
    scene = two(Scene("1p.6c.1t mem=8Gi").record())
    before = replayed(scene.text).report
    assert {one.name: one.changes for one in before.outcomes} == {"default/p/s": 1, "default/p/a": 0}
    scene.tell(ResizeRequested(ContainerKey("a"), LinuxResources(), container("a", 3).requirements))
    scene.tell(ResizeDone(ContainerKey("a")))
    scene.tell(ContainerRemoved(ContainerKey("a")))
    report = replayed(scene.text).report
    assert {one.name: one.changes for one in report.outcomes} == {"default/p/s": 3, "default/p/a": 0}
    assert report.outcomes[1].own == "1-3", "what it had last"
    assert report.updates == 3


def two(scene: Scene) -> Scene:
    """A container that shares, and one with CPUs to itself."""
    scene.tell(PodAdded(pod()))
    scene.run(container("s", 0.5))
    scene.run(container("a", 2))
    return scene


def test_a_resize_that_is_undone_leaves_the_pool_as_it_was() -> None:
    scene = two(Scene("2p.4c.1t mem=8Gi").record())
    before = {one.name: one.pool for one in replayed(scene.text).report.outcomes}
    asked = ResizeRequested(ContainerKey("a"), LinuxResources(), container("a", 6).requirements)
    assert scene.tell(asked).refusal is None
    assert {one.name: one.pool for one in replayed(scene.text).report.outcomes} == {**before, "default/p/a": "root"}
    scene.tell(ResizeFailed(ContainerKey("a")))
    assert {one.name: one.pool for one in replayed(scene.text).report.outcomes} == before


def test_the_fullest_moment_is_the_first_with_the_most_cpu_asked_for() -> None:
    scene = web()
    full_s = scene.now_s
    for name in ("a", "b", "s"):
        scene.tell(ContainerRemoved(ContainerKey(name)))
    report = replayed(scene.text).report
    assert BEGIN_S < report.fullest.at_s < full_s
    assert (report.fullest.containers, report.end.containers) == (4, 1)
    assert report.end.at_s == report.to_s == scene.now_s


def test_a_report_survives_json() -> None:
    report = replayed(web().text).report
    assert read_report(json.loads(json.dumps(report_record(report)))) == report


@pytest.mark.parametrize(
    ("record", "said"),
    [
        pytest.param([], "not a report", id="a list"),
        pytest.param({}, "not a report", id="an empty object"),
        pytest.param({"format": 9}, "unsupported report format 9, expected 1", id="another version"),
        pytest.param({"format": 1, "crirm": 1}, "not a report", id="half of one"),
    ],
)
def test_what_is_no_report_is_refused(record: object, said: str) -> None:
    with pytest.raises(ReportError, match=said):
        read_report(record)


def test_a_policy_is_told_with_what_is_not_the_default() -> None:
    assert policy_text(Choice("none")) == "none"
    changed = attrs.evolve(AWARE, options=attrs.evolve(AWARE.options, pin_memory=False), overflow=True)
    assert policy_text(changed) == "topology-aware, reserved 1000m of CPU, PinMemory False, overflow allowed"


def test_replays_on_the_same_inputs_do_not_differ() -> None:
    one, other = (replayed(web().text).report for _ in range(2))
    found = compare(one, other)
    assert found.containers == ()
    assert found.same == 5
    assert all(figure.one == figure.other for figure in found.figures)


def test_what_differs_is_told_container_by_container() -> None:
    text = web().text
    found = compare(replayed(text).report, replayed(text, choice=STATIC).report)
    differing = {each.name: (each.one, each.other) for each in found.containers}
    assert differing["default/p/a"] == (
        "socket #1, exclusive CPUs 4-5, memory 1",
        "exclusive, exclusive CPUs 1-2, any memory (far: 1)",
    )
    figures = {figure.what: figure for figure in found.figures}
    assert figures["end: that may use remote memory"].one == 0
    assert figures["end: that may use remote memory"].other > 0


def test_a_container_that_only_one_of_them_knows_differs() -> None:
    scene = web()
    less = replayed(scene.text).report
    scene.run(container("more", 0.1))
    found = compare(less, replayed(scene.text).report)
    assert [(each.name, each.one) for each in found.containers] == [("default/p/more", "")]
    assert isinstance(found.containers[0], Difference)
    assert found.figures[0] == Figure("containers running at the end", 4, 5)


def test_a_weight_that_differs_is_told_where_nothing_else_does() -> None:
    report = replayed(web().text).report
    heavier = attrs.evolve(report.outcomes[0], cpu_shares=7)
    found = compare(report, attrs.evolve(report, outcomes=(heavier, *report.outcomes[1:])))
    assert [
        (each.one.partition(", weight ")[2], each.other.partition(", weight ")[2]) for each in found.containers
    ] == [("2048, quota -1", "7, quota -1")]
