"""Those who call while crirm is killed, each with containers of its own, and what they were told of these."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from crirm.cri.proto.runtime import v1
from tests.conformance.cri import NOT_FOUND, OK, RESOURCE_EXHAUSTED
from tests.storm.machines import resources

if TYPE_CHECKING:
    import random
    import threading

    import betterproto

    from tests.conformance.client import Reply
    from tests.conformance.cri import Cri
    from tests.storm.machines import Machine

MOST = 5  # containers of one caller
STARTING = "is in starting state"
STARTS_WITHIN_S, LOOK_EVERY_S = 30.0, 0.05


class GoneError(Exception):
    """crirm was killed under a call."""


def patient_reply(cri: Cri, method: str, request: betterproto.Message) -> Reply:
    """Call until containerd is done with a start that was cut off."""
    until_s = time.monotonic() + STARTS_WITHIN_S
    while True:
        reply = cri.reply(method, request)
        if STARTING not in reply.text or time.monotonic() > until_s:
            return reply
        time.sleep(LOOK_EVERY_S)


@attrs.define
class Held:
    """A container that somebody wants to have.

    Args:
        uid: of its pod, for this container alone.
        cpus: that it asks for.
        settled: whether the last answer about it said that it has them, and nothing was asked since.
        ending: whether its end was asked for; a container that was never started is not shown as ended by runtimes.
    """

    uid: str
    cpus: float
    pod: str = ""
    id: str = ""
    settled: bool = False
    ending: bool = False


@attrs.define
class Caller:
    """Creates, resizes and ends containers until crirm is gone.

    Args:
        machine: says in which words.
        cri: to crirm.
        dice: decides what comes next.
        held: its containers, by the uid of their pods.
        killed: set before crirm is killed; until then every call must be answered.
    """

    machine: Machine
    cri: Cri
    name: str
    dice: random.Random
    held: dict[str, Held]
    killed: threading.Event
    number: int = 0
    calls: int = 0
    fault: BaseException | None = None

    def work(self) -> None:
        """Go on until crirm is gone, or gives an answer that cannot be."""
        try:
            while True:
                self.step()
        except GoneError:
            return
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.fault = error

    def step(self) -> None:
        """Do one thing."""
        mine = [each for each in self.held.values() if each.settled]
        luck = self.dice.random()
        if not mine or (luck < 0.5 and len(mine) < MOST):
            if not self.run() and mine:
                self.end(self.dice.choice(mine))
        elif luck < 0.65:
            self.resize(self.dice.choice(mine), self.dice.choice(self.machine.sizes))
        else:
            self.end(self.dice.choice(mine))

    def run(self) -> bool:
        """Run another container; tell whether there was room."""
        self.number += 1
        new = Held(f"{self.name}-{self.number}", self.dice.choice(self.machine.sizes))
        self.held[new.uid] = new
        config = self.machine.pod(new.uid)
        reply = self.ask("RunPodSandbox", v1.RunPodSandboxRequest(config=config))
        new.pod = v1.RunPodSandboxResponse().parse(reply.message).pod_sandbox_id
        container = self.machine.container(new.uid, new.cpus)
        request = v1.CreateContainerRequest(pod_sandbox_id=new.pod, sandbox_config=config, config=container)
        reply = self.ask("CreateContainer", request, RESOURCE_EXHAUSTED)
        if reply.code != OK:
            self.end(new)
            return False
        new.id = v1.CreateContainerResponse().parse(reply.message).container_id
        new.settled = True
        self.ask("StartContainer", v1.StartContainerRequest(container_id=new.id))
        return True

    def resize(self, one: Held, cpus: float) -> bool:
        """Ask for another size; tell whether there was room."""
        one.settled = False
        request = v1.UpdateContainerResourcesRequest(container_id=one.id, linux=resources(cpus))
        fits = self.ask("UpdateContainerResources", request, RESOURCE_EXHAUSTED).code == OK
        one.settled = True
        if fits:
            one.cpus = cpus
        return fits

    def end(self, one: Held) -> None:
        """End a container and its pod, whatever there is of them."""
        one.settled, one.ending = False, True
        if one.id:
            for method in ("StopContainer", "RemoveContainer"):
                self.ask(method, v1.StopContainerRequest(container_id=one.id), NOT_FOUND)
        if one.pod:
            for method in ("StopPodSandbox", "RemovePodSandbox"):
                self.ask(method, v1.StopPodSandboxRequest(pod_sandbox_id=one.pod), NOT_FOUND)
        del self.held[one.uid]

    def ask(self, method: str, request: betterproto.Message, *allowed: int) -> Reply:
        """Call, and expect one of the answers that there can be."""
        reply = patient_reply(self.cri, method, request)
        if reply.code not in (OK, *allowed) and self.killed.is_set():
            raise GoneError
        assert reply.code in (OK, *allowed), f"{method}: {reply}"
        self.calls += 1
        return reply
