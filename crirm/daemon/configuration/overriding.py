"""What overrides mean for containers, and other overrides as a transaction; nodes without any never import this."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio

from crirm.daemon.placement.transaction import Transaction, plan_aside
from crirm.logs import get_logger
from crirm.model.refusal import RefusedError
from crirm.policy.overrides import ConflictError, decode_overrides, overridden, override_of
from crirm.policy.pipeline import HOLDING
from crirm.policy.readjust import BUSY, plan_requirements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crirm.daemon.node import DecidingNode
    from crirm.model.decision import State
    from crirm.model.resources import Requirements
    from crirm.model.workload import Container, ContainerKey, Pod, Workload
    from crirm.policy.activation import Plan
    from crirm.policy.overrides import Override

__all__ = ["OverrideChange", "applied", "decode_overrides", "on_node", "overridden_in"]

log = get_logger("policy")

WHY: Final = "overrides have changed"
SETTLED_WITHIN_S: Final = 3.0  # for the kubelet's own resizes
AGAIN_S: Final = 0.1


def applied(overrides: tuple[Override, ...], container: Container, pod: Pod) -> Container:
    """Return *container*, which has its pod's requests, with *overrides* applied."""
    try:
        found = override_of(overrides, container, pod)
    except ConflictError as error:
        name = f"{pod.namespace}/{pod.name}/{container.name}"
        log.warning("override not applied to a container", container=name, reason=str(error))
        return container
    if found is None:
        return container
    return attrs.evolve(container, requirements=overridden(container.requirements, found))


def overridden_in(overrides: tuple[Override, ...], workload: Workload) -> dict[str, list[str]]:
    """Return the names of those containers of *workload* that each override is for, by its own name."""
    found: dict[str, list[str]] = {override.name: [] for override in overrides}
    for container in workload.containers.values():
        try:
            override = override_of(overrides, container, workload.pod_of(container))
        except ConflictError:
            continue
        if override is not None and container.state in HOLDING:
            found[override.name].append(workload.full_name(container.key))
    return found


def on_node(overrides: tuple[Override, ...], node_name: str) -> tuple[Override, ...]:
    """Return those of *overrides* that are for the node *node_name*."""
    return tuple(here for one in overrides if (here := one.on(node_name)) is not None)


@attrs.frozen
class NewRequirements:
    """Changes by new overrides.

    Args:
        requirements: of the containers for which they change.
        conflicts: overrides that contradict each other, by container.
    """

    requirements: Mapping[ContainerKey, Requirements]
    conflicts: Mapping[ContainerKey, str]


@attrs.frozen
class OverrideChange:
    """Other overrides for a node that places containers.

    Args:
        node: whose containers they are for.
        old: in force.
        new: to be taken into use.
    """

    node: DecidingNode
    old: tuple[Override, ...]
    new: tuple[Override, ...]

    async def take(self, put: Callable[[tuple[Override, ...]], None]) -> dict[str, str]:
        """Take the new overrides into use, all or none.

        Args:
            put: told which are in force.

        Returns:
            what is wrong, by container; empty: they are in use.
        """
        before, (wanted, found) = await self._plan()
        problems: Mapping[ContainerKey, str] = {**found.unfit, **wanted.conflicts}
        if not problems:
            put(self.new)
        if not problems and wanted.requirements:
            change = Transaction("overrides", self.node.engine.policy, before, found)
            refused = await change.take(self.node, partial(put, self.old))
            problems = {key: f"runtime refused the update: {why}" for key, why in refused.items()}
        workload = self.node.engine.state.workload
        return {
            workload.containers[key].id or key: f"{workload.full_name(key)}: {why}"
            for key, why in problems.items()
            if key in workload.containers
        }

    async def _plan(self) -> tuple[State, tuple[NewRequirements, Plan]]:
        """Plan for the current state, if possible while no affected container is being resized."""
        make = self._planned
        before, (wanted, found) = await plan_aside(self.node.engine, make)
        with trio.move_on_after(SETTLED_WITHIN_S):
            while BUSY in found.unfit.values():
                await trio.sleep(AGAIN_S)
                before, (wanted, found) = await plan_aside(self.node.engine, make)
        return before, (wanted, found)

    def _planned(self, state: State) -> tuple[NewRequirements, Plan]:
        wanted = self._wanted(state)
        return wanted, plan_requirements(self.node.engine.policy, state, wanted.requirements, WHY, time.time())

    def _wanted(self, state: State) -> NewRequirements:
        requirements, conflicts = {}, {}
        for key, container in state.workload.containers.items():
            if container.state not in HOLDING:
                continue
            pod = state.workload.pod_of(container)
            try:
                found = override_of(self.new, container, pod)
            except ConflictError as error:
                conflicts[key] = str(error)
                continue
            if found is None and not any(override.holds(container, pod) for override in self.old):
                continue
            own = _own_requirements(self.node, container, pod)
            then = own if found is None else overridden(own, found)
            if then != container.requirements:
                requirements[key] = then
        return NewRequirements(requirements, conflicts)


def _own_requirements(node: DecidingNode, container: Container, pod: Pod) -> Requirements:
    """Return the requirements of *container* without overrides."""
    try:
        return node.intake.requirements(pod, container.name, container.resources)
    except RefusedError:  # a malformed annotation, already ignored when the container was found
        return container.requirements
