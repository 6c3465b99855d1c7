"""kill -9 in the middle of calls: whoever was told of a container keeps its CPUs, and nobody shares them."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import attrs

from crirm.cri.proto.runtime import v1
from crirm.model.cpuset import CPUSet
from tests.conformance.cri import OK, V1, Cri, wait_until
from tests.integration.test_state import Node, make_node

if TYPE_CHECKING:
    from tests.integration.support import Program, Stage

CALLERS = 3
ROUNDS = 3
RESERVED = 0  # whoever may run here shares CPUs


@attrs.define
class Caller:
    """Creates containers with CPUs of their own, and ends some, until crirm is gone."""

    node: Node
    name: str
    dice: random.Random
    held: list[str] = attrs.field(factory=list)
    number: int = 0
    done: int = 0

    def work(self) -> None:
        while True:
            self.number += 1
            try:
                if self.held and self.dice.random() < 0.5:
                    self.end(self.dice.choice(self.held))
                else:
                    self.held.append(self.node.run(f"{self.name}-{self.number}", self.dice.choice((1, 1, 0.1))))
                self.done += 1
            except AssertionError:  # refused for want of CPUs, or crirm is gone
                if not self.alive():
                    return
                if self.held:
                    self.end(self.held[0])

    def end(self, container: str) -> None:
        self.held.remove(container)
        try:
            self.node.end(container)
        except AssertionError:
            return

    def alive(self) -> bool:
        return self.node.cri.reply("Version", v1.VersionRequest()).code == OK


def storm(relay: Program, callers: list[Caller], steps: int) -> set[str]:
    """Kill crirm after so many *steps* of the callers; return the containers that they were told of and did not end."""
    enough = sum(caller.done for caller in callers) + steps
    threads = [threading.Thread(target=caller.work, daemon=True) for caller in callers]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(caller.done for caller in callers) >= enough, within_s=60)
    relay.kill()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return {container for caller in callers for container in caller.held}


def enforced(node: Node) -> dict[str, str]:
    """The CPUs that the runtime has been told, by container."""
    runtime = Cri(node.stage.client(socket=node.stage.runtime_socket), V1)
    listed = runtime.call("ListContainers", v1.ListContainersRequest(), v1.ListContainersResponse).containers
    told = {}
    for container in listed:
        request = v1.ContainerStatusRequest(container_id=container.id)
        status = runtime.call("ContainerStatus", request, v1.ContainerStatusResponse).status
        told[container.id] = status.resources.linux.cpuset_cpus
    return told


def rounds(node: Node, count: int) -> int:
    """Play *count* lives of crirm, and return how many containers were found to have kept CPUs of their own."""
    relay, kept, dice = node.start(), 0, random.Random(4)
    callers = [Caller(node, f"c{number}", random.Random(number)) for number in range(CALLERS)]
    for _ in range(count):
        acknowledged = storm(relay, callers, dice.randint(3, 9))
        before = enforced(node)
        relay = node.start()
        after = {each: CPUSet.parse(cpus) for each, cpus in node.told().items() if cpus}
        promised = {each: CPUSet.parse(before[each]) for each in acknowledged}
        own = {each: cpus for each, cpus in promised.items() if RESERVED not in cpus}
        assert own == {each: after[each] for each in own}, relay.log
        owned = [cpu for cpus in after.values() if RESERVED not in cpus for cpu in cpus]
        assert len(set(owned)) == len(owned), "two owners"
        kept += len(own)
    return kept


def test_acknowledged_grants_survive_kill_9(stage: Stage) -> None:
    assert rounds(make_node(stage), ROUNDS) > 0
