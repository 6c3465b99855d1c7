"""Which configuration is in force and how it changes, step by step, through the real ``cri-resmgr``."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from crirm.cri.proto.runtime import v1
from crirm.kube.proto.v1 import SetConfigReply, SetConfigRequest
from tests.conformance.client import unary
from tests.conformance.cri import OK, V1, Cri, wait_until
from tests.daemons import CRIRM
from tests.integration.deciding import make_node

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.integration.deciding import Node
    from tests.integration.support import Program, Stage

pytestmark = pytest.mark.long

RESMGR = CRIRM.with_name("cri-resmgr")
STATIC = "policy:\n  Active: static\n  ReservedResources: {CPU: 'cpuset:0'}\n"
TOPOLOGY_AWARE = STATIC.replace("static", "topology-aware")
NONE = "policy: {Active: none}\n"
STATIC_MAP = {"policy": "Active: static\nReservedResources: {CPU: 'cpuset:0'}\n"}
TOPOLOGY_AWARE_MAP = {"policy": STATIC_MAP["policy"].replace("static", "topology-aware")}


@attrs.define
class Resmgr:
    """``cri-resmgr`` on the machine of a node."""

    node: Node
    program: Program | None = None

    @property
    def place(self) -> Path:
        return self.node.stage.place

    def argv(self, *flags: object) -> list[object]:
        sockets = ["--relay-socket", self.node.stage.relay_socket, "--runtime-socket", self.node.stage.runtime_socket]
        where = ["--host-root", self.place / "host", "--relay-dir", self.node.state, "-pid-file", ""]
        return [RESMGR, *sockets, *where, *flags]

    def start(self, *flags: object, environment: Mapping[str, str] | None = None) -> Program:
        """Start it with *flags* in place of the one before, if that runs."""
        self.end()
        self.program = self.node.stage.run(self.argv(*flags), {"LOGGER_FORMAT": "json", **(environment or {})})
        self.program.wait_log('"serving"')
        self.node._cri = Cri(self.node.stage.client(), V1)
        return self.program

    def end(self) -> None:
        if self.program is not None:
            assert self.program.stop() == 0
            self.program = None

    def once(self, *flags: object) -> tuple[int, str]:
        """Run it with *flags* until it ends by itself."""
        argv = [str(word) for word in self.argv(*flags)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        return done.returncode, done.stdout + done.stderr

    def file(self, name: str, text: str) -> Path:
        path = self.place / name
        path.write_text(text)
        return path

    def set_config(self, data: Mapping[str, str]) -> str:
        """Send *data* as the node agent does, and return what was wrong with it."""
        client = self.node.stage.client(socket=self.place / "r-config.sock")
        reply = unary(client, "/v1.Config/SetConfig", bytes(SetConfigRequest(node_name="n", config=dict(data))))
        assert reply.code == OK, reply
        return SetConfigReply().parse(reply.message).error

    def status(self) -> Any:
        return self.node.ask("status")

    def policy(self) -> str:
        return str(self.status()["policy"])

    def diff(self, text: str, *options: str) -> tuple[int, Any]:
        path = self.file("diff.yaml", text)
        argv = [str(CRIRM), "config", "diff", str(path), "--json", "--control-socket", f"{self.place}/r-control.sock"]
        done = subprocess.run([*argv, *options], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


@pytest.fixture
def resmgr(stage: Stage) -> Resmgr:
    return Resmgr(make_node(stage))


def pinning(resmgr: Resmgr) -> dict[str, tuple[str, str]]:
    """What the runtime has for every container: CPUs and memory nodes."""
    cri = Cri(resmgr.node.stage.client(socket=resmgr.node.stage.runtime_socket), V1)
    found = {}
    for each in cri.call("ListContainers", v1.ListContainersRequest(), v1.ListContainersResponse).containers:
        request = v1.ContainerStatusRequest(container_id=each.id)
        linux = cri.call("ContainerStatus", request, v1.ContainerStatusResponse).status.resources.linux
        found[each.id] = (linux.cpuset_cpus, linux.cpuset_mems)
    return found


# --- a local file ------------------------------------------------------------------------------------------------


def test_a_forced_file_is_read_again_on_its_signal_and_by_itself(resmgr: Resmgr) -> None:
    file = resmgr.file("forced.cfg", STATIC)
    program = resmgr.start("--force-config", file)
    container = resmgr.node.run("a", 1)
    assert not (resmgr.place / "r-config.sock").exists(), "the interface of the agent is off"
    before = pinning(resmgr)[container]

    file.write_text(STATIC.replace("cpuset:0", f"cpuset:0,{before[0]}"))  # its CPU is to be reserved from now on
    program.send(signal.SIGHUP)
    program.wait_log('"configuration active"')
    assert pinning(resmgr)[container] not in {before, ("", "")}

    file.write_text(TOPOLOGY_AWARE)
    program.wait_log('"configuration active"', times=2)
    assert resmgr.policy() == "topology-aware"
    assert pinning(resmgr)[container][1] in {"0", "1"}, "its memory is bound too"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("policy: {Actve: static}\n", "Active", id="an unknown key"),
        pytest.param("policy: [", "line", id="no YAML"),
        pytest.param(STATIC.replace("cpuset:0", "cpuset:0-7"), "leaves no CPU", id="nothing left for containers"),
        pytest.param(STATIC.replace("cpuset:0", "cpuset:0-5"), "would not fit", id="a container that runs has no room"),
    ],
)
def test_a_file_that_cannot_be_used_leaves_all_as_it_was(text: str, reason: str, resmgr: Resmgr) -> None:
    file = resmgr.file("forced.cfg", STATIC)
    program = resmgr.start("--force-config", file)
    for name, cpus in (("a", 2), ("b", 2), ("c", 1)):
        resmgr.node.run(name, cpus)
    before = pinning(resmgr)
    file.write_text(text)
    program.send(signal.SIGHUP)
    program.wait_log("configuration rejected")
    (record,) = program.records("configuration rejected, keeping the previous one")
    assert reason in record["reason"]
    assert (pinning(resmgr), resmgr.policy()) == (before, "static")
    assert resmgr.status()["configuration"]["rejected"]["reason"] == record["reason"]
    resmgr.node.run("d", 1)  # it still decides


def test_a_forced_file_that_cannot_be_used_ends_the_start(resmgr: Resmgr) -> None:
    code, said = resmgr.once("--force-config", resmgr.file("bad.cfg", "policy: {Actve: static}\n"))
    assert (code, "Active" in said) == (1, True)
    code, said = resmgr.once("--force-config", resmgr.place / "missing.cfg")
    assert (code, "missing.cfg: cannot be read" in said) == (1, True)


def test_the_environment_is_in_force_wherever_the_file_is_silent(resmgr: Resmgr) -> None:
    file = resmgr.file("forced.cfg", NONE)
    program = resmgr.start("--force-config", file, environment={"LOGGER_DEBUG": "relay"})

    def relay_tells() -> bool:
        before = len(program.records("call ended"))
        for _ in range(2):  # the first is over when the second is answered
            resmgr.node.cri.call("Version", v1.VersionRequest(), v1.VersionResponse)
        return len(program.records("call ended")) > before

    assert relay_tells()
    file.write_text(NONE + "logger: {Debug: 'off:relay'}\n")
    program.wait_log('"configuration active"')
    assert not relay_tells()
    file.write_text(NONE)
    program.wait_log('"configuration active"', times=2)
    assert relay_tells()


# --- the node agent ----------------------------------------------------------------------------------------------


def test_what_the_agent_sends_outlives_a_restart_until_it_is_reset(resmgr: Resmgr) -> None:
    fallback = resmgr.file("fallback.cfg", STATIC)
    resmgr.start("--fallback-config", fallback)
    assert (resmgr.policy(), resmgr.status()["configuration"]["source"]) == ("static", "fallback file")

    two_reserved = {"policy": STATIC_MAP["policy"].replace("cpuset:0", "cpuset:0-1")}
    assert resmgr.set_config(two_reserved) == ""
    assert resmgr.status()["configuration"]["source"] == "node agent"
    container = resmgr.node.run("a", 1)
    assert pinning(resmgr)[container][0] == "2"

    resmgr.start("--fallback-config", fallback)
    assert resmgr.status()["configuration"]["source"] == "saved from the node agent"
    assert resmgr.once("--reset-config")[0] == 1, "not beside a daemon that runs"

    resmgr.start("--force-config", fallback)
    assert resmgr.status()["configuration"]["source"] == "forced file"

    resmgr.end()
    code, said = resmgr.once("--reset-config")
    assert (code, "saved configuration removed" in said) == (0, True)
    resmgr.start("--fallback-config", fallback)
    assert resmgr.status()["configuration"]["source"] == "fallback file"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param({}, "empty", id="an empty one"),
        pytest.param({"policy": "Actve: static\n"}, "Active", id="an unknown key"),
        pytest.param({"policy": "Active: static\n"}, "ReservedResources", id="something that is missing"),
        pytest.param(TOPOLOGY_AWARE_MAP, "to topology-aware", id="another policy"),
    ],
)
def test_the_agent_is_told_why_its_configuration_is_rejected(
    data: Mapping[str, str], reason: str, resmgr: Resmgr
) -> None:
    resmgr.start("--fallback-config", resmgr.file("fallback.cfg", STATIC))
    resmgr.node.run("a", 1)
    before = pinning(resmgr)
    said = resmgr.set_config(data)
    assert reason in said
    told = resmgr.status()["configuration"]
    assert (told["source"], told["rejected"]["reason"]) == ("fallback file", said)
    assert pinning(resmgr) == before
    assert resmgr.set_config(STATIC_MAP) == ""
    assert resmgr.status()["configuration"]["rejected"] is None


def test_the_first_configuration_of_the_agent_may_choose_the_policy(resmgr: Resmgr) -> None:
    """Nothing is placed and nothing was configured: there is no policy that it would switch."""
    resmgr.start()
    container = resmgr.node.run("a", 1)
    assert pinning(resmgr)[container] == ("", "")
    assert resmgr.set_config(STATIC_MAP) == ""
    assert pinning(resmgr)[container][0] == "1"
    other = resmgr.node.run("b", 1)
    assert pinning(resmgr)[other][0] == "2"


def test_a_configuration_may_allow_live_switching(resmgr: Resmgr) -> None:
    resmgr.start("--fallback-config", resmgr.file("fallback.cfg", STATIC + "  AllowLiveSwitch: true\n"))
    container = resmgr.node.run("a", 1)
    assert resmgr.set_config(TOPOLOGY_AWARE_MAP) == ""
    assert resmgr.policy() == "topology-aware"
    assert pinning(resmgr)[container][1] in {"0", "1"}
    assert "to static while crirm runs" in resmgr.set_config(STATIC_MAP), "the one in force now does not allow it"


# --- changing the policy -----------------------------------------------------------------------------------------


def test_the_policy_may_change_at_the_start_unless_that_is_disabled(resmgr: Resmgr) -> None:
    """The sequence of the setup guide: stop, reset, change, start."""
    resmgr.start("--force-config", resmgr.file("a.cfg", STATIC))
    container = resmgr.node.run("a", 1)
    resmgr.start("--force-config", resmgr.file("b.cfg", TOPOLOGY_AWARE))
    wait_until(lambda: pinning(resmgr)[container][1] in {"0", "1"})

    file, fixed = resmgr.file("c.cfg", STATIC), "--disable-policy-switch"
    assert "does not run" not in resmgr.once("--reset-policy")[1]
    assert resmgr.once("--reset-policy")[0] == 1, "not beside a daemon that runs"
    resmgr.end()
    code, said = resmgr.once("--force-config", file, fixed)
    assert (code, "topology-aware is active" in said) == (2, True), said
    assert resmgr.once("--reset-policy")[0] == 0
    resmgr.start("--force-config", file, fixed)
    assert resmgr.policy() == "static"
    program = resmgr.start("--force-config", file, fixed)
    file.write_text(TOPOLOGY_AWARE)
    program.wait_log("configuration rejected")
    assert resmgr.policy() == "static"


def test_what_the_policy_of_a_new_start_does_not_bind_is_free_again(resmgr: Resmgr) -> None:
    resmgr.start("--force-config", resmgr.file("a.cfg", TOPOLOGY_AWARE))
    alone, shared = resmgr.node.run("a", 1), resmgr.node.run("b", 0.1)
    assert {one[1] for one in pinning(resmgr).values()} <= {"0", "1"}
    resmgr.start("--force-config", resmgr.file("b.cfg", STATIC))
    wait_until(lambda: [pinning(resmgr)[each][1] for each in (alone, shared)] == ["0-1", "0-1"])
    unbound = TOPOLOGY_AWARE + "  topology-aware: {PinCPU: false}\n"
    resmgr.start("--force-config", resmgr.file("c.cfg", unbound))
    wait_until(lambda: [pinning(resmgr)[each][0] for each in (alone, shared)] == ["0-7", "0-7"])


# --- looking before activating -----------------------------------------------------------------------------------


def test_a_difference_is_told_and_changes_nothing_until_activated(resmgr: Resmgr) -> None:
    resmgr.start("--force-config", resmgr.file("forced.cfg", STATIC))
    containers = [resmgr.node.run("a", 1), resmgr.node.run("b", 2)]
    before = pinning(resmgr)
    code, told = resmgr.diff(STATIC.replace("cpuset:0", "cpuset:0-1"))
    assert (code, told["refused"], [one["name"] for one in told["changes"]]) == (0, "", ["default/a/main"])
    assert told["changes"][0]["before"]["cpus"] == before[containers[0]][0]
    assert pinning(resmgr) == before

    code, told = resmgr.diff(STATIC.replace("cpuset:0", "cpuset:0-1"), "--activate")
    assert (code, told["activated"]) == (0, True)
    after = pinning(resmgr)
    assert after[containers[0]][0] == told["changes"][0]["after"]["cpus"]
    assert after[containers[1]] == before[containers[1]]


def test_what_would_not_fit_is_named_and_not_activated(resmgr: Resmgr) -> None:
    resmgr.start("--force-config", resmgr.file("forced.cfg", STATIC))
    for name in "abc":
        resmgr.node.run(name, 2)
    before = pinning(resmgr)
    code, told = resmgr.diff(STATIC.replace("cpuset:0", "cpuset:0-4"), "--activate")
    assert (code, len(told["unfit"])) == (1, 2)
    assert "would not fit" in told["refused"]
    assert pinning(resmgr) == before
    code, said = resmgr.diff("policy: {Actve: x}\n")
    assert (code, "Active" in said) == (1, True)


def test_placing_ends_and_begins_again(resmgr: Resmgr) -> None:
    resmgr.start("--force-config", resmgr.file("forced.cfg", STATIC))
    container = resmgr.node.run("a", 1)
    assert resmgr.diff(NONE, "--activate")[0] == 0
    assert (resmgr.policy(), pinning(resmgr)[container]) == ("none", ("0-7", ""))
    free = resmgr.node.run("b", 1)
    assert pinning(resmgr)[free] == ("", "")
    assert resmgr.diff(STATIC, "--activate")[0] == 0
    assert {pinning(resmgr)[each][0] for each in (container, free)} == {"1", "2"}


def test_what_the_runtime_refuses_is_undone(stage: Stage) -> None:
    resmgr = Resmgr(make_node(stage, "static", "--fault", "UpdateContainerResources:code=INTERNAL,message=no,times=1"))
    resmgr.start("--force-config", resmgr.file("forced.cfg", STATIC))
    container = resmgr.node.run("a", 1)
    before = pinning(resmgr)
    code, told = resmgr.diff(STATIC.replace("cpuset:0", "cpuset:0-1"), "--activate")
    assert (code, "refused to update" in told["refused"]) == (1, True)
    assert pinning(resmgr) == before
    assert resmgr.node.told()[container] == before[container][0]


def test_a_container_on_its_way_while_placing_ends_is_free_too(stage: Stage) -> None:
    resmgr = Resmgr(make_node(stage, "static", "--fault", "CreateContainer:delay=2,times=1"))
    resmgr.start("--force-config", resmgr.file("forced.cfg", STATIC))
    with ThreadPoolExecutor() as pool:
        coming = pool.submit(resmgr.node.run, "a", 1)
        wait_until(lambda: resmgr.status()["containers"] != [])
        assert resmgr.diff(NONE, "--activate")[1]["activated"]
        container = coming.result()
    wait_until(lambda: pinning(resmgr)[container][0] == "0-7")


def test_a_caller_that_does_not_wait_for_its_configuration_ends_nothing(stage: Stage) -> None:
    resmgr = Resmgr(make_node(stage, "static", "--fault", "UpdateContainerResources:delay=1"))
    program = resmgr.start("--force-config", resmgr.file("forced.cfg", STATIC))
    resmgr.node.run("a", 1)
    question = {"ask": "activate", "name": "x", "config": STATIC.replace("cpuset:0", "cpuset:0-1")}
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(f"{resmgr.place}/r-control.sock")
        caller.sendall(json.dumps(question).encode() + b"\n")
    program.wait_log('"configuration active"')
    resmgr.node.run("b", 1)


def test_configurations_change_while_containers_come_and_go(resmgr: Resmgr) -> None:
    """Whatever policy a container was begun under, in the end it has what the last one decided."""
    resmgr.start("--force-config", resmgr.file("forced.cfg", STATIC))
    stays = [resmgr.node.run("a", 1), resmgr.node.run("b", 0.1)]
    over = threading.Event()

    def come_and_go(name: str) -> int:
        count = 0
        while not over.is_set():
            count += 1
            resmgr.node.end(resmgr.node.run(f"{name}{count}", 1))
        return count

    with ThreadPoolExecutor() as pool:
        comers = [pool.submit(come_and_go, name) for name in ("x", "y")]
        try:
            for text in (TOPOLOGY_AWARE, NONE, TOPOLOGY_AWARE, STATIC, NONE, STATIC):
                code, told = resmgr.diff(text, "--activate")
                assert (code, told["refused"]) == (0, "")
        finally:
            over.set()
        assert all(comer.result() > 0 for comer in comers)
    assert set(resmgr.node.told()) == set(stays)
    wait_until(lambda: {each: one[0] for each, one in pinning(resmgr).items()} == resmgr.node.told())
