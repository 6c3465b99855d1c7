"""Decisions as canonical JSON: equal decisions are equal bytes, in whatever process they were made."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, Final

from crirm.model.decision import Decision, Effect, State
from crirm.model.record_json import to_record
from crirm.policy.api import Policy

DIGEST_BYTES: Final = 8


def canonical(document: Any) -> str:
    """Return the canonical JSON of *document*."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def decision_record(decision: Decision) -> dict[str, Any]:
    """Return *decision* without its state, as JSON."""
    refusal = decision.refusal
    return {
        "adjustment": to_record(decision.adjustment),
        "refusal": refusal and {"reason": refusal.reason.name, "code": refusal.code.value, "sentence": refusal.full},
        "effects": [_effect(effect) for effect in decision.effects],
        "trails": to_record(decision.trails),
        "moves": to_record(decision.moves),
    }


def state_record(policy: Policy, state: State) -> dict[str, Any]:
    """Return the decisions in *state*, as JSON."""
    return {
        "adjustments": {key: to_record(one) for key, one in state.adjustments.items()},
        "grants": to_record(policy.save(state.policy)),
    }


def digest(decision: Decision) -> str:
    """Return a short digest of a decision, independent of its wording."""
    refusal = decision.refusal
    decided = [
        to_record(decision.adjustment),
        refusal and refusal.reason.name,
        [_effect(effect) for effect in decision.effects],
        [[trail.key, trail.chosen] for trail in decision.trails],
    ]
    return blake2b(canonical(decided).encode(), digest_size=DIGEST_BYTES).hexdigest()


def _effect(effect: Effect) -> list[Any]:
    return [type(effect).__name__, to_record(effect)]
