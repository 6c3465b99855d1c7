"""What happens in a run, as data: a machine, a runtime, and steps, of which any may be left out."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - attrs resolves field types at run time
from typing import Any

import attrs


@attrs.frozen
class Step:
    """Something that somebody does, or that goes wrong.

    Args:
        at_s: seconds after the beginning.
        kind: the name of a method of ``steps.Steps``.
        args: its arguments; plain JSON.
    """

    at_s: float
    kind: str
    args: Mapping[str, Any] = attrs.field(factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.args.items())
        return f"{self.at_s:8.3f} s  {self.kind}({told})"


@attrs.frozen
class Scenario:
    """A run.

    Args:
        seed: for everything that steps leave open: how long calls take, whose turn it is.
        host: in the language of ``crirm sim --host``.
        policy: at the beginning.
        runtime: one of ``habits.HABITS``.
        streams: as many does the runtime take at once on one connection; 0: it sets no limit.
        evented: whether the kubelet listens to events, and lists rarely, or lists every second.
        steps: in order of time.
        last_s: when the pods that are left are deleted.
        call_s: the kubelet's patience with a call.
    """

    seed: int
    host: str
    policy: str
    runtime: str
    steps: tuple[Step, ...]
    streams: int = 0
    evented: bool = False
    last_s: float = 120.0
    call_s: float = 120.0

    def to_json(self) -> str:
        """Return it as a text that `from_json` reads."""
        return json.dumps({**attrs.asdict(self), "steps": [[s.at_s, s.kind, dict(s.args)] for s in self.steps]})

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        """Read what `to_json` has written."""
        values = json.loads(text)
        return cls(**{**values, "steps": tuple(Step(*step) for step in values["steps"])})

    def __str__(self) -> str:
        limit = f", {self.streams} streams" if self.streams else ""
        pleg = "events" if self.evented else "lists"
        pleg += "" if self.call_s == 120.0 else f" and waits {self.call_s:g} s"
        head = f"seed {self.seed}: policy {self.policy} on {self.host}, {self.runtime}{limit}, the kubelet uses {pleg}"
        return "\n".join([head, *(f"  {step}" for step in self.steps), f"  {self.last_s:8.3f} s  all pods are deleted"])
