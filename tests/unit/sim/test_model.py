from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.sim.console import LogFiles
from crirm.sim.states import CREATED, EXITED, RUNNING
from tests.unit.sim.nodes import Node, container_config, pod_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crirm.sim.containers import Record
    from crirm.sim.pods import Pod


@pytest.fixture
def node() -> Node:
    return Node()


def create(pod_id: str, config: v1.ContainerConfig, pod: v1.PodSandboxConfig) -> v1.CreateContainerRequest:
    return v1.CreateContainerRequest(pod_id, config, pod)


# What is refused

NO_METADATA = v1.PodSandboxConfig()


@attrs.frozen
class Scene:
    node: Node
    pod: Pod
    c: Record  # runs


REFUSED: list[object] = [
    pytest.param(
        lambda s: s.node.model.run_pod(NO_METADATA, ""),
        Status.UNKNOWN,
        "sandbox config must include metadata",
        id="a pod without metadata",
    ),
    pytest.param(
        lambda s: s.node.pod("pod"),
        Status.FAILED_PRECONDITION,
        'failed to reserve sandbox name "pod_default_uid-pod_0": name "pod_default_uid-pod_0" is reserved for "POD"',
        id="the same pod and attempt twice",
    ),
    pytest.param(
        lambda s: s.node.model.run_pod(pod_config("new"), "kata"),
        Status.UNKNOWN,
        'unable to get OCI runtime for sandbox "NEW": no runtime for "kata" is configured',
        id="an unknown runtime handler",
    ),
    pytest.param(
        lambda s: s.node.model.create_container(create("nope", container_config("true"), s.pod.config)),
        Status.NOT_FOUND,
        'failed to find sandbox id "nope": not found',
        id="a container in no pod",
    ),
    pytest.param(
        lambda s: s.node.model.create_container(create(s.pod.id, v1.ContainerConfig(), s.pod.config)),
        Status.UNKNOWN,
        "container config must include metadata",
        id="a container without metadata",
    ),
    pytest.param(
        lambda s: s.node.model.create_container(create(s.pod.id, container_config("true"), NO_METADATA)),
        Status.UNKNOWN,
        "pod sandbox config must include metadata",
        id="a container whose pod has no metadata",
    ),
    pytest.param(
        lambda s: s.node.container(s.pod, "true"),
        Status.FAILED_PRECONDITION,
        'failed to reserve container name "c_pod_default_uid-pod_0"; check if another CreateContainer request is in '
        'progress: name "c_pod_default_uid-pod_0" is reserved for "CONTAINER"',
        id="the same container and attempt twice",
    ),
    pytest.param(
        lambda s: s.node.model.create_container(
            create(s.pod.id, container_config("true", name="x", image="nope:1"), s.pod.config)
        ),
        Status.NOT_FOUND,
        'failed to resolve image "nope:1": not found',
        id="an unknown image",
    ),
    pytest.param(
        lambda s: s.node.model.start_container("nope"),
        Status.NOT_FOUND,
        'an error occurred when try to find container "nope": not found',
        id="start of no container",
    ),
    pytest.param(
        lambda s: s.node.model.start_container(s.c.id),
        Status.UNKNOWN,
        'failed to set starting state for container "CONTAINER": container is in CONTAINER_RUNNING state',
        id="start twice",
    ),
    pytest.param(
        lambda s: s.node.model.update_container("nope", v1.LinuxContainerResources()),
        Status.NOT_FOUND,
        "failed to find container: not found",
        id="update of no container",
    ),
    pytest.param(
        lambda s: s.node.model.reopen_log(s.node.container(s.pod, "true", name="new").id),
        Status.UNKNOWN,
        "container is not running",
        id="the log of a container that does not run",
    ),
    pytest.param(
        lambda s: s.node.model.stop_pod(""),
        Status.UNKNOWN,
        'an error occurred when try to find sandbox "": prefix can\'t be empty',
        id="stop of a pod without a name",
    ),
    pytest.param(
        lambda s: s.node.model.update_pod("nope", v1.LinuxContainerResources(), v1.LinuxContainerResources()),
        Status.NOT_FOUND,
        "failed to find sandbox: not found",
        id="update of no pod",
    ),
]


@pytest.mark.parametrize(("act", "status", "message"), REFUSED)
def test_refused(node: Node, act: Callable[[Scene], object], status: Status, message: str) -> None:
    pod = node.pod("pod")
    record = node.running(pod, "sleep", "inf")
    with pytest.raises(GRPCError) as caught:
        act(Scene(node, pod, record))
    text = (caught.value.message or "").replace(pod.id, "POD").replace(record.id, "CONTAINER")
    assert (caught.value.status, text.replace("a0000002" + "0" * 56, "NEW")) == (status, message)


def test_refusals_change_nothing(node: Node) -> None:
    pod = node.pod()
    version = node.model.version
    with pytest.raises(GRPCError):
        node.pod()
    with pytest.raises(GRPCError):
        node.model.create_container(create(pod.id, container_config("true", image="nope:1"), pod.config))
    assert (node.model.version, len(node.model.pods), len(node.model.containers)) == (version, 1, 0)
    node.container(pod, "true")  # its name was not kept


def test_create_in_a_stopped_pod_is_refused(node: Node) -> None:
    pod = node.pod()
    node.model.stop_pod(pod.id)
    with pytest.raises(GRPCError, match=f"no running task found: task {pod.id} not found") as caught:
        node.container(pod, "true")
    assert caught.value.status is Status.NOT_FOUND


# How processes end


@pytest.mark.parametrize(
    ("argv", "after_s", "code", "reason"),
    [
        pytest.param(["true"], 0, 0, "Completed", id="true, at once"),
        pytest.param(["false"], 0, 1, "Error", id="false, at once"),
        pytest.param(["sleep", "5"], 5, 0, "Completed", id="sleep, when it has slept"),
        pytest.param(["sh", "-c", "sleep 1; sleep 2; exit 7"], 3, 7, "Error", id="a script, in its time"),
    ],
)
def test_process_ends_by_itself(node: Node, argv: list[str], after_s: float, code: int, reason: str) -> None:
    record = node.running(node.pod(), *argv)
    if after_s:
        node.tick(after_s - 0.001)
        assert record.is_running
        node.tick(0.001)
        node.tick(0)
    assert (record.state, record.exit_code, record.reason) == (EXITED, code, reason)
    assert record.finished_ns - record.started_ns == int(after_s * 10**9)


def test_unknown_program_of_a_known_image_does_not_start(node: Node) -> None:
    record = node.container(node.pod(), "/does/not/exist")
    with pytest.raises(GRPCError, match='exec: "/does/not/exist": stat /does/not/exist: no such file or directory'):
        node.model.start_container(record.id)
    assert (record.state, record.exit_code, record.reason, record.started_ns) == (EXITED, 128, "StartError", 0)


def test_unknown_program_of_a_pulled_image_runs_for_ever(node: Node) -> None:
    pod = node.pod()
    node.model.pull_image("nginx")
    config = container_config("nginx", "-g", "daemon off;", image="nginx")
    record = node.model.create_container(create(pod.id, config, pod.config))
    node.model.start_container(record.id)
    node.tick(1e6)
    assert record.is_running
    node.model.ask_to_stop(record)
    assert (record.state, record.exit_code) == (EXITED, 0)


@pytest.mark.parametrize(
    ("argv", "init", "state", "code"),
    [
        pytest.param(["sleep", "inf"], True, RUNNING, 0, id="process 1 without a handler goes on"),
        pytest.param(["sleep", "inf"], False, EXITED, 143, id="others die of it"),
        pytest.param(["sh", "-c", "trap 'exit 3' TERM; sleep inf"], True, EXITED, 3, id="a handler decides"),
    ],
)
def test_ask_to_stop(node: Node, argv: list[str], init: bool, state: v1.ContainerState, code: int) -> None:
    record = node.running(node.pod(), *argv, init=init)
    node.model.ask_to_stop(record)
    assert (record.state, record.exit_code) == (state, code)


def test_killed_container_keeps_its_code(node: Node) -> None:
    record = node.running(node.pod(), "sleep", "5")
    node.model.kill(record)
    node.tick(10)
    node.model.kill(record)
    assert (record.state, record.exit_code, record.pid) == (EXITED, 137, 0)


def test_image_command_fills_in(node: Node) -> None:
    pod = node.pod()
    record = node.container(pod)
    assert record.argv == ("sh",)


def test_those_who_wait_for_an_exit_are_told_once(node: Node) -> None:
    record = node.running(node.pod(), "sleep", "1")
    told: list[str] = []
    record.on_exit.append(lambda: told.append("exit"))
    node.tick(1)
    node.model.kill(record)
    assert told == ["exit"]


def test_output_goes_to_the_log(tmp_path: Path) -> None:
    logs = LogFiles()
    node = Node(logs)
    pod = node.pod(log_directory=str(tmp_path))
    node.running(pod, "sh", "-c", "echo out; sleep 1; echo err >&2", log_path="c/0.log")
    node.tick(1)
    lines = (tmp_path / "c" / "0.log").read_text().splitlines()
    logs.close_all()
    assert lines == ["2023-11-14T22:13:20.000000000Z stdout F out", "2023-11-14T22:13:21.000000000Z stderr F err"]


def test_log_that_cannot_be_opened_fails_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    node = Node(LogFiles())
    record = node.container(node.pod(log_directory=str(tmp_path / "file")), "true", log_path="c.log")
    with pytest.raises(GRPCError, match=r"failed to create and open log file: open .*/file/c\.log: "):
        node.model.start_container(record.id)
    assert (record.state, record.exit_code) == (EXITED, 128)


# Pods and their containers


def test_stop_pod_kills_its_containers_and_no_others(node: Node) -> None:
    one, two = node.pod("one"), node.pod("two")
    mine, other = node.running(one, "sleep", "inf"), node.running(two, "sleep", "inf")
    node.model.stop_pod(one.id[:8])
    node.model.stop_pod(one.id)
    assert (one.is_ready, mine.exit_code, other.state) == (False, 137, RUNNING)


def test_remove_pod_removes_its_containers_and_frees_its_name(node: Node) -> None:
    pod = node.pod()
    node.running(pod, "sleep", "inf")
    node.model.remove_pod(pod.id)
    node.model.remove_pod(pod.id)
    assert (len(node.model.pods), len(node.model.containers)) == (0, 0)
    node.container(node.pod(), "true")


def test_remove_container_kills_it(node: Node) -> None:
    record = node.running(node.pod(), "sleep", "inf")
    node.model.remove_container(record.id)
    node.model.remove_container(record.id)
    assert (record.state, record.exit_code, len(node.model.containers)) == (EXITED, 137, 0)


def test_stopping_and_removing_what_is_not_there_is_fine(node: Node) -> None:
    node.model.stop_pod("nope")
    node.model.remove_pod("nope")
    node.model.remove_container("nope")


# What answers say


def test_status_follows_update_and_image(node: Node) -> None:
    record = node.running(node.pod(), "sleep", "inf")
    assert node.model.status_of(record) is node.model.status_of(record)
    node.model.update_container(record.id, v1.LinuxContainerResources(cpu_shares=7))
    assert node.model.status_of(record).resources.linux.cpu_shares == 7
    assert node.model.status_of(record).image_ref.startswith("docker.io/library/busybox@sha256:")
    node.model.remove_image("busybox")
    assert node.model.status_of(record).image_ref == record.image_id


def test_unknown_fields_of_a_config_come_back(node: Node) -> None:
    pod = node.pod()
    config = container_config("true")
    config.metadata = v1.ContainerMetadata().parse(bytes(config.metadata) + b"\xf8\x7f\x01")
    record = node.model.create_container(create(pod.id, config, pod.config))
    assert b"\xf8\x7f\x01" in bytes(node.model.status_of(record))


def test_update_pod_keeps_what_is_not_sent(node: Node) -> None:
    pod = node.pod()
    node.model.update_pod(pod.id, v1.LinuxContainerResources(cpu_shares=2), v1.LinuxContainerResources())
    node.model.update_pod(pod.id, v1.LinuxContainerResources(), v1.LinuxContainerResources(cpu_shares=3))
    assert (pod.overhead and pod.overhead.cpu_shares, pod.resources and pod.resources.cpu_shares) == (2, 3)


@pytest.mark.parametrize(
    ("host_network", "has_ip"), [pytest.param(False, True, id="own"), pytest.param(True, False, id="the node's")]
)
def test_pod_ip(node: Node, host_network: bool, has_ip: bool) -> None:
    mode = v1.NamespaceMode(v1.NamespaceMode.NODE if host_network else v1.NamespaceMode.POD)
    security = v1.LinuxSandboxSecurityContext(namespace_options=v1.NamespaceOption(network=mode))
    pod = node.pod(linux=v1.LinuxPodSandboxConfig(security_context=security))
    assert bool(pod.ip) is has_ip


def test_events_tell_the_whole_life(node: Node) -> None:
    pod = node.pod()
    record = node.running(pod, "sleep", "1")
    node.tick(1)
    node.model.remove_pod(pod.id)
    assert node.event_kinds() == [
        ("CREATED", pod.id),
        ("STARTED", pod.id),
        ("CREATED", record.id),
        ("STARTED", record.id),
        ("STOPPED", record.id),
        ("STOPPED", pod.id),
        ("DELETED", record.id),
        ("DELETED", pod.id),
    ]


def test_event_shows_the_state_of_its_moment(node: Node) -> None:
    subscription = node.model.events.subscribe(lambda: None, 0)
    node.running(node.pod(), "true")
    states = [[status.state for status in event.containers_statuses] for event in subscription.queue]
    assert states == [[], [], [CREATED], [RUNNING], [EXITED]]
    assert all(event.pod_sandbox_status.metadata.name == "pod" for event in subscription.queue)
