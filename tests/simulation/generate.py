"""Scenarios from seeds: a machine, a runtime, pods, and of all kinds of faults only some, which then meet often.

Of everything at once each fault would hide the others, so each seed has its own few (swarm testing).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.policy.annotations import HIDE_HYPERTHREADS, KEEP, MOVE_COST, PREFER_SHARED_CPUS
from tests.simulation.habits import HABITS
from tests.simulation.scenario import Scenario, Step
from tests.simulation.steps import CONFIGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOSTS: Final = (
    "1p.8c.1t mem=32Gi",
    "2p.4c.1t mem=16Gi",
    "1p.2n.4c.2t mem=16Gi",
    "2p.4c.2t mem=16Gi isolated=6-7",
    "1p.4c.2t mem=32Gi",
)
CALLS: Final = (
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "StopPodSandbox",
)
BURST_S, PAUSE_S = 30.0, 30.0
EVERY_S = 10.0
_AFTER: Final = ("reset", "hang up", "kill")


@attrs.define
class _Burst:
    """Some seconds in which much happens."""

    rng: random.Random
    begun_s: float
    number: int
    pods: list[dict[str, Any]]  # all that were made so far

    def at_s(self, until: float = 1.0) -> float:
        return round(self.begun_s + self.rng.uniform(0.0, BURST_S * until), 3)

    def some(self, most: int) -> range:
        return range(self.rng.randint(1, most))

    def a_pod(self) -> str:
        return str(self.rng.choice(self.pods)["name"])

    # --- users ---------------------------------------------------------------------------------------------------

    def run_pods(self) -> Iterator[Step]:
        for index in range(self.rng.randint(3, 7)):
            pod = self.pod(f"pod-{self.number}{index}")
            self.pods.append(pod)
            yield Step(self.at_s(), "pod", pod)

    def annotated(self) -> Iterator[Step]:
        """Pods with an annotation that only one of the policies reads, and cannot; or of whole cores."""
        for index in self.some(2):
            noted = self.rng.choice([{f"{PREFER_SHARED_CPUS}/pod": "perhaps"}, {HIDE_HYPERTHREADS: "true"}])
            pod = {**self.pod(f"noted-{self.number}{index}"), "annotations": noted}
            self.pods.append(pod)
            yield Step(self.at_s(), "pod", pod)

    def kept(self) -> Iterator[Step]:
        """Pods that keep what they have, and others that are cheap or dear to move."""
        for index in self.some(3):
            keep = {f"{KEEP}/pod": self.rng.choice(["cpus", "cpus", "memory", "all"])}
            cost = {f"{MOVE_COST}/pod": self.rng.choice(["0", "0.5", "20"])}
            pod = {**self.pod(f"kept-{self.number}{index}"), "annotations": self.rng.choice([keep, keep, cost])}
            self.pods.append(pod)
            yield Step(self.at_s(), "pod", pod)

    def pod(self, name: str) -> dict[str, Any]:
        rng = self.rng
        qos = rng.choice(["guaranteed", "guaranteed", "burstable", "burstable", "besteffort"])
        containers = [self._container(qos, "abc"[index]) for index in range(rng.choice([1, 1, 1, 2, 2, 3]))]
        if len(containers) > 1 and rng.random() < 0.5:
            first = containers[0]
            first["kind"] = rng.choice(["init", "sidecar"])
            first["lifetime_s"] = round(rng.uniform(0.2, 4.0), 3) if first["kind"] == "init" else None
        pod: dict[str, Any] = {"name": name, "qos": qos, "containers": containers}
        if rng.random() < 0.6:
            pod["lifetime_s"] = round(rng.uniform(3.0, 40.0), 3)
        if rng.random() < 0.3:
            pod["restart"] = False
        if rng.random() < 0.1:
            pod["namespace"] = "kube-system"
        return pod

    def _container(self, qos: str, name: str) -> dict[str, Any]:
        rng = self.rng
        amounts = {
            "guaranteed": [1000, 1000, 2000, 2000, 3000, 1500, 500],
            "burstable": [100, 250, 500, 1200],
            "besteffort": [0],
        }
        container: dict[str, Any] = {"name": name, "millicpu": rng.choice(amounts[qos])}
        if rng.random() < 0.25:
            container["lifetime_s"] = round(rng.uniform(1.0, 30.0), 3)
        return container

    def resizes(self) -> Iterator[Step]:
        for _ in self.some(4):
            pod = self.rng.choice(self.pods)
            one = self.rng.choice(pod["containers"])
            if pod["qos"] != "besteffort":
                millicpu = self.rng.choice([500, 1000, 1500, 2000, 3000])
                yield Step(self.at_s(), "resize", {"pod": pod["name"], "container": one["name"], "millicpu": millicpu})

    def second_sandboxes(self) -> Iterator[Step]:
        for _ in self.some(2):
            yield Step(self.at_s(), "second_sandbox", {"pod": self.a_pod(), "for_s": round(self.rng.uniform(1, 10), 3)})

    def configurations(self) -> Iterator[Step]:
        for _ in self.some(2):
            yield Step(
                self.at_s(),
                "configure",
                {"config": self.rng.choice(list(CONFIGS))},
            )

    def adjustments(self) -> Iterator[Step]:
        for _ in self.some(2):
            spec = {"scope": [{"containers": [{"key": "pod/qosclass", "operator": "NotIn", "values": ["BestEffort"]}]}],
                    "resources": {"limits": {"cpu": str(self.rng.choice([1, 2, "500m"]))}}}  # fmt: skip
            yield Step(self.at_s(), "adjust", {"document": {"more": spec} if self.rng.random() < 0.7 else {}})

    def subscribers(self) -> Iterator[Step]:
        yield Step(self.at_s(), "subscribe", {"for_s": round(self.rng.uniform(5, 30), 3)})

    # --- faults --------------------------------------------------------------------------------------------------

    def mishaps(self, what: tuple[str, ...], longest_s: float = 0.0) -> Iterator[Step]:
        for _ in self.some(4):
            args: dict[str, Any] = {"method": self.rng.choice(CALLS), "what": self.rng.choice(what)}
            if longest_s:
                args["delay_s"] = round(self.rng.uniform(0.05, longest_s), 3)
            yield Step(self.at_s(), "mishap", args)

    def resets(self) -> Iterator[Step]:
        return self.mishaps(("reset", "reset before", "hang up"))

    def refusals(self) -> Iterator[Step]:
        return self.mishaps(("refuse",))

    def slow_calls(self) -> Iterator[Step]:
        return self.mishaps(("slow", "late"), 5.0)

    def very_late(self) -> Iterator[Step]:
        """Creations that take longer than the kubelet waits (see `scenario_of`)."""
        for _ in self.some(3):
            args = {"method": "CreateContainer", "what": self.rng.choice(["slow", "slow", "late", "drop"])}
            yield Step(self.at_s(), "mishap", {**args, "delay_s": round(self.rng.uniform(8.0, 40.0), 3)})

    def half_answers(self) -> Iterator[Step]:
        return self.mishaps(("half", "half", "stuck"))

    def garbage(self) -> Iterator[Step]:
        return self.mishaps(("garbage",))

    def kills(self) -> Iterator[Step]:
        yield Step(self.at_s(), "kill")
        yield from self.mishaps(("kill", "kill before"))

    def drops(self) -> Iterator[Step]:
        for _ in self.some(2):
            yield Step(self.at_s(), "drop")

    def cuts(self) -> Iterator[Step]:
        """One connection of the many that there are, while the others live."""
        for _ in self.some(4):
            whose = self.rng.choice(["caller", "caller", "pool", "kubelet"])
            reset = self.rng.random() < 0.4
            yield Step(self.at_s(), "cut", {"whose": whose, "which": self.rng.randrange(8), "reset": reset})

    def restarts(self) -> Iterator[Step]:
        yield Step(self.at_s(), "restart_runtime", {"down_s": round(self.rng.uniform(0.1, 12.0), 3)})

    def _lasting(self, kind: str, **args: Any) -> Iterator[Step]:
        for _ in self.some(2):
            more = {name: round(self.rng.uniform(*value), 3) for name, value in args.items()}
            yield Step(self.at_s(0.8), kind, {**more, "for_s": round(self.rng.uniform(1.0, 15.0), 3)})

    def slow_lists(self) -> Iterator[Step]:
        return self._lasting("slow_lists", by_s=(0.2, 4.0))

    def slow_updates(self) -> Iterator[Step]:
        return self._lasting("slow_updates", by_s=(0.05, 3.0))

    def failing_updates(self) -> Iterator[Step]:
        return self._lasting("failing_updates")

    def lost_events(self) -> Iterator[Step]:
        return self._lasting("lose_events")

    def half_frames(self) -> Iterator[Step]:
        return self._lasting("half_frames")

    def full_disks(self) -> Iterator[Step]:
        return self._lasting("full_disk")

    def hanging_disks(self) -> Iterator[Step]:
        return self._lasting("hanging_disk")

    def clocks(self) -> Iterator[Step]:
        for _ in self.some(2):
            yield Step(self.at_s(), "clock", {"by_s": self.rng.choice([-86400.0, -60.0, 3600.0, 86400.0 * 365])})

    def offline(self) -> Iterator[Step]:
        for _ in self.some(2):
            longest_s = self.rng.choice([30.0, 200.0])  # the latter beyond the next quiet moment
            args = {"cpu": self.rng.randrange(1, 8), "for_s": round(self.rng.uniform(1.0, longest_s), 3)}
            yield Step(self.at_s(), "offline", args)

    def drifts(self) -> Iterator[Step]:
        yield Step(
            self.at_s(), "drift", {"which": self.rng.randrange(8), "cpus": self.rng.choice(["0-3", "1", "0-7", "2-3"])}
        )


FAMILIES: Final[dict[str, Callable[[_Burst], Iterator[Step]]]] = {
    "resizes": _Burst.resizes,
    "annotations": _Burst.annotated,
    "kept": _Burst.kept,
    "second sandboxes": _Burst.second_sandboxes,
    "configurations": _Burst.configurations,
    "adjustments": _Burst.adjustments,
    "subscribers": _Burst.subscribers,
    "resets": _Burst.resets,
    "refusals": _Burst.refusals,
    "slow calls": _Burst.slow_calls,
    "very late": _Burst.very_late,
    "garbage": _Burst.garbage,
    "kills": _Burst.kills,
    "drops": _Burst.drops,
    "cuts": _Burst.cuts,
    "half answers": _Burst.half_answers,
    "half frames": _Burst.half_frames,
    "restarts": _Burst.restarts,
    "slow lists": _Burst.slow_lists,
    "slow updates": _Burst.slow_updates,
    "failing updates": _Burst.failing_updates,
    "lost events": _Burst.lost_events,
    "full disks": _Burst.full_disks,
    "hanging disks": _Burst.hanging_disks,
    "clocks": _Burst.clocks,
    "drifts": _Burst.drifts,
    "CPUs offline": _Burst.offline,
}
USUAL, STREAMS = 0.25, "streams"


def scenario_of(seed: int, only: frozenset[str] | None = None) -> Scenario:
    """Return the scenario of *seed*.

    Args:
        seed: any number.
        only: families of faults, all of which are in it and no others; None: the seed chooses. ``streams`` stands for
            a runtime that takes few streams at once.
    """
    rng = random.Random(seed)
    host, runtime = rng.choice(HOSTS), rng.choice(sorted(HABITS))
    policy = rng.choice(["static", "static", "static", "topology-aware", "topology-aware", "topology-aware"])
    chosen = {name for name in FAMILIES if rng.random() < USUAL} if only is None else set(only)
    streams = rng.choice([1, 4]) if STREAMS in chosen or (only is None and rng.random() < 0.15) else 0
    call_s = 10.0 if "very late" in chosen else 120.0
    evented, pods, steps = rng.random() < 0.4, list[dict[str, Any]](), list[Step]()
    begun_s = 2.0
    for number in range(2):
        burst = _Burst(rng, begun_s, number, pods)
        steps += burst.run_pods()
        for name, family in FAMILIES.items():
            if name in chosen:
                steps += family(burst)
        begun_s += BURST_S + PAUSE_S
        steps.append(Step(begun_s - 1.0, "check"))
    steps.sort(key=lambda step: step.at_s)
    return Scenario(seed, host, policy, runtime, tuple(steps[:-1]), streams, evented, begun_s - 1.0, call_s)


def busy(seed: int, hours: float) -> Scenario:
    """Return a busy node on which nothing goes wrong: a pod life every ten seconds."""
    rng = random.Random(seed)
    burst, steps = _Burst(rng, 0.0, 0, []), list[Step]()
    for index in range(int(hours * 3600 / EVERY_S)):
        pod = {**burst.pod(f"pod-{index}"), "lifetime_s": round(rng.uniform(5.0, 60.0), 3)}
        steps.append(Step(2.0 + index * EVERY_S, "pod", pod))
    last_s = 3600 * hours + 70.0
    return Scenario(seed, HOSTS[3], "topology-aware", "containerd-2.1", tuple(steps), evented=True, last_s=last_s)
