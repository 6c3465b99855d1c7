"""Starting a shadow policy: its configuration is read, and planned for the containers of now, like any other."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from crirm.daemon.configuration.change import planned
from crirm.daemon.configuration.meaning import loaded, with_config
from crirm.daemon.state.shadowing import Beginning, ShadowError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.daemon.configuration.in_force import Configurations
    from crirm.daemon.node import DecidingNode
    from crirm.policy.api import Choice


async def shadow_answer(question: Mapping[str, Any], configurations: Configurations) -> dict[str, Any]:
    """Answer a question of the control socket about the shadow policy.

    Args:
        question: its ``do`` is empty for a report, or ``start`` with ``name`` and ``config``, or with ``policy``; or
            ``stop``.
        configurations: those of the daemon.

    Raises:
        ShadowError: there is no shadow, or one already, or no policy to compare with.
        CrirmError: the configuration is invalid, or does not fit the machine.
    """
    node = configurations.change.decider.node
    if node is None:
        raise ShadowError(
            "policy none decides nothing, so a shadow would see no events; choose another policy, or start crirm with "
            "--record"
        )
    match question.get("do", ""):
        case "start":
            named = {name: str(question.get(name, "")) for name in ("name", "config", "policy")}
            return await start_shadow(configurations, node, **named)
        case "stop":
            node.shadowing.stop()
            return {}
        case _:
            return await node.shadowing.report()


async def start_shadow(
    configurations: Configurations, node: DecidingNode, *, name: str = "", config: str = "", policy: str = ""
) -> dict[str, Any]:
    """Start a shadow policy on *node*, and return how it begins, as JSON.

    Args:
        configurations: those of the daemon.
        node: whose events it gets.
        name: of the configuration's file.
        config: its text.
        policy: instead of a configuration: this policy with its defaults, or the options in force if it is the same,
            on the CPUs in force.

    Raises:
        ShadowError: there is one already.
        CrirmError: the configuration is invalid, or does not fit the machine.
    """
    choice = _from_name(configurations, policy) if policy else await _from_text(configurations, name, config)
    async with node.changing:
        return await _begin(node, choice, f"--policy {policy}" if policy else name)


async def _from_text(configurations: Configurations, name: str, text: str) -> Choice:
    found = await trio.to_thread.run_sync(loaded, text.encode(), name)
    return (await trio.to_thread.run_sync(with_config, configurations.base, found)).policy


def _from_name(configurations: Configurations, policy: str) -> Choice:
    choice = configurations.in_force.settings.policy
    return choice if choice.name == policy else attrs.evolve(choice, name=policy, options=None)


async def _begin(node: DecidingNode, choice: Choice, source: str) -> dict[str, Any]:
    from crirm.daemon.placement.transaction import plan_aside  # noqa: PLC0415 - a daemon that only relays stays small
    from crirm.policy.registry import complete, make_policy  # noqa: PLC0415
    from crirm.replay.report import policy_text  # noqa: PLC0415
    from crirm.replay.shadow import Shadow  # noqa: PLC0415

    topology, choice = node.topology, complete(choice)
    made = await trio.to_thread.run_sync(make_policy, choice, topology)
    before, plan = await plan_aside(node.engine, partial(planned, node, made))
    full_name = before.workload.full_name
    unfit = tuple((full_name(key), reason) for key, reason in plan.unfit.items())
    beginning = Beginning(source, policy_text(choice), len(plan.changes), unfit)
    node.shadowing.begin(beginning, Shadow(made, choice, topology, plan.state, time.time()))
    return {"policy": beginning.policy_text, "changes": beginning.changes, "unfit": len(unfit)}
