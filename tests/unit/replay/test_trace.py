from __future__ import annotations

import json

import attrs
import pytest

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.events import (
    ContainerExited,
    ContainerRequested,
    Event,
    PodAdded,
    PodStopped,
    ResizeRequested,
    Synchronised,
    UpdateFailed,
)
from crirm.model.resources import LinuxResources
from crirm.model.workload import ContainerId, ContainerKey, ContainerState, PodId, TopologyHint
from crirm.replay import trace
from crirm.replay.records import Start, read_start, start_record
from crirm.replay.trace import TraceError, TraceReader
from tests.unit.replay.scenes import BEGIN_S, Scene, container, pod, web


def read(text: str) -> TraceReader:
    return TraceReader.open(line.encode() for line in text.splitlines(keepends=True))


def test_what_was_written_is_read_back() -> None:
    scene = Scene()
    hints = (TopologyHint("/sys/a", CPUSet.of(1), NodeSet.of(0), frozenset({1, 0})),)
    events: list[Event] = [
        PodAdded(pod(labels={"app": "web"})),
        ContainerRequested(container("a", 1, 1, hints=hints, labels={"tier": "x"}, tags={"AVX512": "true"})),
        ResizeRequested(ContainerKey("a"), LinuxResources(cpu_shares=512), container("a", 0.5).requirements),
    ]
    scene.tell(PodAdded(pod("old")))
    scene.record().tell(*events)
    reader = read(scene.text)
    assert (reader.header.topology, reader.header.choice) == (scene.topology, scene.choice)
    assert list(reader.header.start.workload.pods) == ["old"]
    entries = list(reader.entries())
    assert [entry.event for entry in entries] == events
    assert [entry.at_s for entry in entries] == [BEGIN_S + 2, BEGIN_S + 3, BEGIN_S + 4]
    assert [entry.line for entry in entries] == [2, 3, 4]


def test_lists_of_the_runtime_describe_only_what_is_new() -> None:
    scene = web()
    stranger = attrs.evolve(container("n", 0.1), id=ContainerId("id-n"), state=ContainerState.RUNNING)
    pods = (pod(), pod("q"))
    for listed in (scene.listed("a", "b"), (*scene.listed("a", "b"), stranger)):
        scene.tell(Synchronised(pods, listed, frozenset({"other"})))
    first, second = (json.loads(line) for line in scene.lines[-2:])
    assert first["pods"][0] == "p"
    assert isinstance(first["pods"][1], dict)
    assert (second["pods"], second["containers"][:2]) == (["p", "q"], [["a", "running"], ["b", "running"]])
    assert second["containers"][2]["name"] == "n"
    last = list(read(scene.text).entries())[-1]
    assert last.event == Synchronised(pods, (*scene.listed("a", "b"), stranger), frozenset({"other"}))


def test_looks_that_bring_nothing_new_are_left_out() -> None:
    scene = web()
    before = len(scene.lines)
    everything = Synchronised((pod(),), scene.listed("a", "b", "s", "t"))
    scene.tell(everything, ContainerExited(ContainerKey("gone")))
    assert len(scene.lines) == before
    scene.tell(PodStopped(PodId("unknown")))
    assert len(scene.lines) == before + 1, "elsewhere it may mean something"


SECRET = "s3cr3t"


def test_what_the_core_does_not_read_is_left_out() -> None:
    scene = Scene().record()
    annotations = {
        "example.com/token": SECRET,
        "kubectl.kubernetes.io/last-applied-configuration": SECRET,
        "prefer-shared-cpus.cri-resource-manager.intel.com": "true",
    }
    scene.tell(PodAdded(pod(annotations=annotations, cgroup_parent=f"/kubepods/{SECRET}")))
    scene.run(container("a", 1, annotations={"io.kubernetes.container.hash": SECRET}))
    scene.tell(UpdateFailed(ContainerKey("a"), SECRET))
    events = scene.text
    scene.record().tell(Synchronised((pod("r", annotations=annotations),), ()))
    for text in (events, scene.text):
        assert SECRET not in text
        assert "prefer-shared-cpus" in text


def test_a_torn_last_line_is_left_out() -> None:
    text = web().text
    for cut in (1, 5, len(text.splitlines()[-1]) - 1):
        reader = read(text[:-cut])
        assert len(list(reader.entries())) == len(text.splitlines()) - 2
        assert "incomplete" in reader.notes[0]


def test_how_a_trace_ends_is_noted() -> None:
    scene = web()
    assert scene.writer is not None
    reader = read(scene.text)
    list(reader.entries())
    assert reader.notes == ["the trace has no end: it is still being written, or crirm was killed"]
    reader = read(scene.text + scene.writer.end(scene.now_s, "it is enough"))
    list(reader.entries())
    assert reader.notes == ["the trace is complete: it is enough"]


def first_with(**changes: object) -> str:
    record = json.loads(web().lines[0])
    record.update(changes)
    return json.dumps(record) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "line 1: the file is empty", id="empty"),
        pytest.param("hello\n", "line 1: not a trace of crirm, or an incomplete one: not JSON", id="text"),
        pytest.param("\x00" * 100, "line 1: not a trace of crirm", id="zeros"),
        pytest.param("[" * 100_000 + "\n", "line 1: not a trace", id="JSON that is too deep"),
        pytest.param("[1]\n", "line 1: not a JSON object", id="a list"),
        pytest.param('{"kind": "Pod"}\n', "line 1: not a trace of crirm; `crirm serve --record", id="other JSON"),
        pytest.param(first_with(format=2, crirm="9"), "format 2, expected 1; it was recorded by crirm 9", id="newer"),
        pytest.param(first_with(topology={}), "line 1: unreadable header: machine description", id="machine"),
        pytest.param(first_with(choice={"name": "magic"}), "unknown policy 'magic'; known are", id="policy"),
        pytest.param(first_with(choice=[]), "line 1: unreadable header", id="no policy"),
        pytest.param(first_with(start={}), "unreadable initial state", id="start"),
        pytest.param(first_with(at_s="now"), "not a time: 'now'", id="time"),
        pytest.param(first_with(at_s=1e300), "not a time", id="time beyond calendars"),
        pytest.param(web().lines[0] + "{}\n", "line 2: not an event", id="empty event"),
        pytest.param(web().lines[0] + "x\n", "line 2: the trace is damaged", id="damaged"),
        pytest.param(
            web().lines[0] + '{"at": 1, "event": "Moved", "decided": ""}\n', "unknown event 'Moved'", id="unknown"
        ),
        pytest.param(
            web().lines[0] + '{"at": 1, "event": "PodStopped", "decided": ""}\n', "line 2: not an event", id="half"
        ),
        pytest.param(
            web().lines[0] + '{"at": 1, "event": "Synchronised", "decided": "", "pods": ["x"], "containers": []}\n',
            "line 2: not an event",
            id="a list that names what was never described",
        ),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(TraceError) as caught:
        list(read(text).entries())
    assert said in str(caught.value)


def test_a_line_beyond_all_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_LINE_BYTES", 10)
    with pytest.raises(TraceError, match="line 1: is longer than"):
        read("x" * 10)


def test_requests_in_flight_when_the_trace_begins_are_kept() -> None:
    """Who was asked for twice is told again when it is there; a trace of before knows of none."""
    start = Start(tries={(PodId("p1"), "web", 3): 2})
    record = json.loads(json.dumps(start_record(start)))
    assert read_start(record) == start
    del record["tries"]
    assert read_start(record) == Start()
