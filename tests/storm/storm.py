"""The storm: lives of crirm that all end with SIGKILL, one after another, over one runtime and one state directory."""

from __future__ import annotations

import random
import signal
import threading
import time
from typing import TYPE_CHECKING

import attrs

from crirm.cri.proto.runtime import v1
from tests.conformance.client import GrpcioClient
from tests.conformance.cri import NOT_FOUND, OK, V1, Cri, wait_until
from tests.storm.callers import Caller, Held, patient_reply
from tests.storm.judge import Kept, check_acknowledged, check_life, check_told, live, on_disk, runtimes_view

if TYPE_CHECKING:
    from tests.integration.support import Program
    from tests.storm.machines import Machine

CALLERS = 3
MOST_CALLS = 24  # in one life
WITHIN_S = 60.0
START_S = 1.2  # about; some are killed within


@attrs.define
class Figures:
    """What has been seen.

    Args:
        kills: SIGKILLs of crirm, each followed by all checks.
        unserved: those among them in a start, before anything was served.
        calls: answered.
        own: CPUs that acknowledged containers had to themselves when crirm was killed, over all kills.
        in_doubt: containers that a call was in flight for, likewise.
    """

    kills: int = 0
    unserved: int = 0
    calls: int = 0
    own: int = 0
    in_doubt: int = 0


@attrs.define
class Storm:
    """Lives of crirm on one machine.

    Args:
        machine: on which nothing runs yet, not even crirm.
        seed: of everything but the time that things take.
        figures: to add to.
    """

    machine: Machine
    seed: str
    figures: Figures = attrs.field(factory=Figures)
    held: dict[str, Held] = attrs.field(factory=dict)
    gone: set[str] = attrs.field(factory=set)
    lives: int = 0

    def rage(self, kills: int) -> None:
        """Kill crirm so many times, and let the last life end in peace."""
        until = self.figures.kills + kills
        relay = self.begin(random.Random(self.seed))
        while self.figures.kills < until:
            self.lives += 1
            dice = random.Random(f"{self.seed}-{self.lives}")
            self.blow(relay, dice)
            kept = self.judge_disk()
            self.change_behind_its_back(dice)
            relay = self.begin(dice)
            self.notice_ends()
            check_life(self.machine, kept, self.held, self.gone)
            self.tidy(dice)
        self.calm(relay)

    @property
    def settled(self) -> dict[str, Held]:
        """The containers that somebody was told of, and nothing was asked since."""
        return {uid: each for uid, each in self.held.items() if each.settled}

    def begin(self, dice: random.Random) -> Program:
        """Start crirm, sometimes at the second attempt."""
        while self.lives and dice.random() < 0.15:
            relay = self.machine.start()
            time.sleep(dice.uniform(0.2, 1) * START_S)
            relay.kill()
            self.figures.unserved += 1
            self.judge_disk()
        relay = self.machine.start()
        relay.wait_log('"serving"')
        return relay

    def blow(self, relay: Program, dice: random.Random) -> None:
        """Call from all sides and kill crirm at some instant."""
        killed = threading.Event()
        clients = [GrpcioClient(self.machine.stage.relay_socket) for _ in range(CALLERS)]
        callers = [self.caller(number, client, dice, killed) for number, client in enumerate(clients)]
        threads = [threading.Thread(target=caller.work, daemon=True) for caller in callers]
        for thread in threads:
            thread.start()
        enough = dice.randint(1, MOST_CALLS)
        wait_until(lambda: any(c.fault for c in callers) or sum(c.calls for c in callers) >= enough, WITHIN_S)
        time.sleep(dice.uniform(0, 0.03))  # at an instant that no call has chosen
        killed.set()
        if dice.random() < 0.1:
            relay.send(signal.SIGTERM)
            time.sleep(dice.uniform(0, 0.2))
        relay.kill()
        for thread in threads:
            thread.join(WITHIN_S)
            assert not thread.is_alive()
        for client in clients:
            client.close()
        self.take(callers)

    def caller(self, number: int, client: GrpcioClient, dice: random.Random, killed: threading.Event) -> Caller:
        """Return one that goes on with the containers which its predecessor has left."""
        own = {uid: each for uid, each in self.held.items() if uid.startswith(f"c{number}-")}
        name = f"c{number}-{self.lives}"
        return Caller(self.machine, Cri(client, V1), name, random.Random(dice.random()), own, killed)

    def take(self, callers: list[Caller]) -> None:
        """Note down how things were when crirm died."""
        for caller in callers:
            if caller.fault is not None:
                raise caller.fault
        self.held = {uid: each for caller in callers for uid, each in caller.held.items()}
        self.figures.calls += sum(caller.calls for caller in callers)
        self.figures.in_doubt += len(self.held) - len(self.settled)

    def judge_disk(self) -> Kept:
        """Check what the dead crirm has left."""
        self.figures.kills += 1
        self.notice_ends()
        kept = on_disk(self.machine)
        self.figures.own += check_acknowledged(kept, self.settled.values())
        check_told(self.machine, kept)
        return kept

    def change_behind_its_back(self, dice: random.Random) -> None:
        """End some container while nobody watches."""
        if self.settled and dice.random() < 0.3:
            one = self.held.pop(dice.choice(sorted(self.settled)))
            self.end(self.machine.direct, one.id, one.pod)
            self.gone.add(one.uid)

    def notice_ends(self) -> None:
        """Give up containers that have ended by themselves, as one does on containerd whose start was cut off."""
        there = runtimes_view(self.machine)
        for uid, each in self.settled.items():
            if uid not in there:
                each.settled, each.ending = False, True

    def end(self, cri: Cri, container: str, pod: str) -> None:
        """End a container and its pod, as far as they are there."""
        for method, request in (
            ("StopContainer", v1.StopContainerRequest(container_id=container)),
            ("RemoveContainer", v1.RemoveContainerRequest(container_id=container)),
            ("StopPodSandbox", v1.StopPodSandboxRequest(pod_sandbox_id=pod)),
            ("RemovePodSandbox", v1.RemovePodSandboxRequest(pod_sandbox_id=pod)),
        ):
            if getattr(request, "container_id", None) or getattr(request, "pod_sandbox_id", None):
                reply = patient_reply(cri, method, request)
                assert reply.code in {OK, NOT_FOUND}, f"{method}: {reply}"

    def tidy(self, dice: random.Random) -> None:
        """Settle what was in doubt, as the kubelet does: some is wanted, and the rest removed."""
        with_caller = self.calm_caller(dice)
        there = runtimes_view(self.machine)
        for one in [each for each in self.held.values() if not each.settled]:
            one.id = there.get(one.uid, "")
            if one.id and one.pod and not one.ending and dice.random() < 0.5 and with_caller.resize(one, one.cpus):
                continue
            with_caller.end(one)
        self.held = with_caller.held
        self.remove_strays(with_caller.cri)
        with_caller.cri.client.close()

    def calm_caller(self, dice: random.Random) -> Caller:
        """Return one that nobody disturbs."""
        client = GrpcioClient(self.machine.stage.relay_socket)
        return Caller(self.machine, Cri(client, V1), "calm", dice, dict(self.held), threading.Event())

    def remove_strays(self, cri: Cri) -> None:
        """Remove the pods whose ids nobody was told."""
        wanted = {each.pod for each in self.held.values()}
        pods = cri.call("ListPodSandbox", v1.ListPodSandboxRequest(), v1.ListPodSandboxResponse).items
        there = runtimes_view(self.machine)
        for pod in pods:
            if pod.id not in wanted:
                self.end(cri, there.get(pod.metadata.uid, ""), pod.id)

    def calm(self, relay: Program) -> None:
        """End everything, and find nothing left of it."""
        self.held.clear()
        client = GrpcioClient(self.machine.stage.relay_socket)
        self.remove_strays(Cri(client, V1))
        client.close()
        assert live(self.machine) == {}
        relay.stop()
        assert relay.records("stopped"), relay.log
        state = on_disk(self.machine).state
        assert (state.policy, dict(state.adjustments)) == (self.machine.policy.initial(), {})
