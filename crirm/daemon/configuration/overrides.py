"""Overrides in a running daemon: activated all or none, and saved for the next start."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from crirm.daemon.placement.transaction import Transaction, plan_aside
from crirm.logs import get_logger
from crirm.model.decision import RefusedError
from crirm.policy.overrides import ConflictError, decode_overrides, overridden, override_of
from crirm.policy.pipeline import HOLDING
from crirm.policy.readjust import BUSY, plan_requirements
from crirm.system.config_cache import adjustments_in
from crirm.system.json_file import JsonFileError, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.daemon.decider import Decider
    from crirm.daemon.node import DecidingNode
    from crirm.model.decision import State
    from crirm.model.resources import Requirements
    from crirm.model.workload import Container, ContainerKey, Pod, Workload
    from crirm.policy.activation import Plan
    from crirm.policy.overrides import Override

log = get_logger("policy")

WHY: Final = "overrides have changed"
SETTLED_WITHIN_S: Final = 3.0  # for the kubelet's own resizes
AGAIN_S: Final = 0.1


@attrs.frozen
class NewRequirements:
    """Changes by new overrides.

    Args:
        requirements: of the containers for which they change.
        conflicts: overrides that contradict each other, by container.
    """

    requirements: Mapping[ContainerKey, Requirements]
    conflicts: Mapping[ContainerKey, str]


@attrs.define
class Overrides:
    """The overrides for this node; new ones are activated all together or not at all.

    Args:
        decider: who decides, if anything is placed.
        state_dir: where they are saved for the next start; empty: nowhere.
        in_force: the active ones.
    """

    decider: Decider
    state_dir: str
    in_force: tuple[Override, ...] = ()

    @classmethod
    def kept_in(cls, state_dir: str, decider: Decider) -> Overrides:
        """Return the saved overrides; none if nothing is saved."""
        return cls(decider, state_dir, _kept_in(state_dir))

    def override(self, container: Container, pod: Pod) -> Container:
        """Return *container*, which has its pod's requests, with the overrides applied; for ``Intake``."""
        try:
            found = override_of(self.in_force, container, pod)
        except ConflictError as error:
            name = f"{pod.namespace}/{pod.name}/{container.name}"
            log.warning("override not applied to a container", container=name, reason=str(error))
            return container
        if found is None:
            return container
        return attrs.evolve(container, requirements=overridden(container.requirements, found))

    def containers(self, workload: Workload) -> dict[str, list[str]]:
        """Return the full names of the containers of *workload* to which each override applies, by its name."""
        found: dict[str, list[str]] = {override.name: [] for override in self.in_force}
        for container in workload.containers.values() if found else ():
            try:
                override = override_of(self.in_force, container, workload.pod_of(container))
            except ConflictError:
                continue
            if override is not None and container.state in HOLDING:
                found[override.name].append(workload.full_name(container.key))
        return found

    async def set_adjustment(self, node_name: str, document: Mapping[str, Any]) -> Mapping[str, str]:
        """Activate the overrides in *document*; see ``kube.config_service``.

        A fault in one of them, or for one of their containers, rejects them all.
        """
        decoded, errors = await trio.to_thread.run_sync(decode_overrides, document)
        if errors:
            return errors
        async with self.decider.changing:
            errors = await self._take(_on_node(decoded, node_name))
            if not errors:
                await self._keep(node_name, document)
        return errors

    async def _keep(self, node_name: str, document: Mapping[str, Any]) -> None:
        if not self.state_dir:
            return
        kept = {"node": node_name, "adjustments": dict(document)}
        try:
            await trio.to_thread.run_sync(write_json, adjustments_in(self.state_dir), kept)
        except JsonFileError as error:
            log.warning("overrides active but not saved; a restart loses them", reason=str(error))

    async def _take(self, new: tuple[Override, ...]) -> dict[str, str]:
        node, old = self.decider.node, self.in_force
        if node is None:  # nothing is placed
            self.in_force = new
            return {}
        before, (wanted, found) = await self._plan(node, new)
        problems: Mapping[ContainerKey, str] = {**found.unfit, **wanted.conflicts}
        if not problems:
            self.in_force = new
        if not problems and wanted.requirements:
            change = Transaction("overrides", node.engine.policy, before, found)
            refused = await change.take(node, partial(self._go_back, old))
            problems = {key: f"runtime refused the update: {why}" for key, why in refused.items()}
        workload = node.engine.state.workload
        return {
            workload.containers[key].id or key: f"{workload.full_name(key)}: {why}"
            for key, why in problems.items()
            if key in workload.containers
        }

    def _go_back(self, old: tuple[Override, ...]) -> None:
        self.in_force = old

    async def _plan(self, node: DecidingNode, new: tuple[Override, ...]) -> tuple[State, tuple[NewRequirements, Plan]]:
        """Plan for the current state, if possible while no affected container is being resized."""
        make = partial(self._planned, node, new)
        before, (wanted, found) = await plan_aside(node.engine, make)
        with trio.move_on_after(SETTLED_WITHIN_S):
            while BUSY in found.unfit.values():
                await trio.sleep(AGAIN_S)
                before, (wanted, found) = await plan_aside(node.engine, make)
        return before, (wanted, found)

    def _planned(self, node: DecidingNode, new: tuple[Override, ...], state: State) -> tuple[NewRequirements, Plan]:
        wanted = self._wanted(node, new, state)
        return wanted, plan_requirements(node.engine.policy, state, wanted.requirements, WHY, time.time())

    def _wanted(self, node: DecidingNode, new: tuple[Override, ...], state: State) -> NewRequirements:
        requirements, conflicts = {}, {}
        for key, container in state.workload.containers.items():
            if container.state not in HOLDING:
                continue
            pod = state.workload.pod_of(container)
            try:
                found = override_of(new, container, pod)
            except ConflictError as error:
                conflicts[key] = str(error)
                continue
            if found is None and not any(override.holds(container, pod) for override in self.in_force):
                continue
            own = _own_requirements(node, container, pod)
            then = own if found is None else overridden(own, found)
            if then != container.requirements:
                requirements[key] = then
        return NewRequirements(requirements, conflicts)


def _kept_in(state_dir: str) -> tuple[Override, ...]:
    try:
        kept = read_json(adjustments_in(state_dir)) if state_dir else None
    except JsonFileError as error:
        log.warning("cannot read saved overrides; waiting for the node agent to send them", reason=str(error))
        return ()
    match kept:
        case {"node": str(node_name), "adjustments": dict(document)}:
            decoded, errors = decode_overrides(document)
            if errors:
                log.warning("cannot use saved overrides; waiting for the node agent to send them", reasons=errors)
            return _on_node(decoded, node_name)
    return ()


def _on_node(overrides: tuple[Override, ...], node_name: str) -> tuple[Override, ...]:
    return tuple(here for one in overrides if (here := one.on(node_name)) is not None)


def _own_requirements(node: DecidingNode, container: Container, pod: Pod) -> Requirements:
    """Return the requirements of *container* without overrides."""
    try:
        return node.intake.requirements(pod, container.name, container.resources)
    except RefusedError:  # a malformed annotation, already ignored when the container was found
        return container.requirements
