"""External adjustments in a daemon that runs: taken into use all or none, and kept for the next start."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from crirm.daemon.configuration.planning import plan_aside
from crirm.logs import get_logger
from crirm.model.decision import RefusedError
from crirm.policy.activation import Plan, plan
from crirm.policy.adjustments import ConflictError, adjusted, adjustment_of, decode_adjustments
from crirm.policy.pipeline import HOLDING
from crirm.policy.readjust import BUSY, plan_requirements
from crirm.system.config_cache import adjustments_in
from crirm.system.json_file import JsonFileError, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.daemon.configuration.change import Reconfiguration
    from crirm.daemon.placement.node import DecidingNode
    from crirm.model.decision import State
    from crirm.model.resources import Requirements
    from crirm.model.workload import Container, ContainerKey, Pod, Workload
    from crirm.policy.adjustments import ExternalAdjustment

log = get_logger("policy")

WHY: Final = "external adjustments have changed"
SETTLED_WITHIN_S: Final = 3.0  # for the kubelet's own resizes
AGAIN_S: Final = 0.1


@attrs.define
class Adjustments:
    """The external adjustments that apply to this node."""

    in_force: tuple[ExternalAdjustment, ...] = ()

    @classmethod
    def kept_in(cls, state_dir: str) -> Adjustments:
        """Return those that the node agent has sent an earlier process; none where nothing is kept."""
        try:
            kept = read_json(adjustments_in(state_dir)) if state_dir else None
        except JsonFileError as error:
            log.warning("adjustments are not known before the node agent sends them", reason=str(error))
            return cls()
        match kept:
            case {"node": str(node_name), "adjustments": dict(document)}:
                decoded, errors = decode_adjustments(document)
                if errors:
                    log.warning("adjustments kept from before cannot be used", reasons=errors)
                return cls(_on_node(decoded, node_name))
        return cls()

    def override(self, container: Container, pod: Pod) -> Container:
        """Return *container*, which has what its pod asks for, as the adjustments want it; for ``Intake``."""
        try:
            found = adjustment_of(self.in_force, container, pod)
        except ConflictError as error:
            name = f"{pod.namespace}/{pod.name}/{container.name}"
            log.warning("a container is not adjusted", container=name, reason=str(error))
            return container
        if found is None:
            return container
        return attrs.evolve(container, requirements=adjusted(container.requirements, found))

    def containers(self, workload: Workload) -> dict[str, list[str]]:
        """Return the names of those containers of *workload* that each adjusts, by its own name."""
        found: dict[str, list[str]] = {adjustment.name: [] for adjustment in self.in_force}
        for container in workload.containers.values() if found else ():
            try:
                adjustment = adjustment_of(self.in_force, container, workload.pod_of(container))
            except ConflictError:
                continue
            if adjustment is not None and container.state in HOLDING:
                found[adjustment.name].append(workload.full_name(container.key))
        return found


def _on_node(adjustments: tuple[ExternalAdjustment, ...], node_name: str) -> tuple[ExternalAdjustment, ...]:
    return tuple(here for one in adjustments if (here := one.on(node_name)) is not None)


@attrs.frozen
class Wanted:
    """What other adjustments would change.

    Args:
        requirements: of the containers for which they would not be what they are.
        conflicts: what cannot be followed, by container.
    """

    requirements: Mapping[ContainerKey, Requirements]
    conflicts: Mapping[ContainerKey, str]


@attrs.frozen
class Readjustment:
    """Changes the adjustments while the daemon runs, all together or not at all.

    Args:
        change: has the node that decides and the adjustments in force, and lets one change at a time happen.
        state_dir: where they are kept for the next start; empty: nowhere.
    """

    change: Reconfiguration
    state_dir: str

    async def set_adjustment(self, node_name: str, document: Mapping[str, Any]) -> Mapping[str, str]:
        """Take the adjustments *document* into use; see ``kube.config_service``.

        What is wrong with any of them, or with any container of theirs, refuses them all.
        """
        decoded, errors = await trio.to_thread.run_sync(decode_adjustments, document)
        if errors:
            return errors
        async with self.change.one_at_a_time:
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

    async def _take(self, new: tuple[ExternalAdjustment, ...]) -> dict[str, str]:
        node = self.change.node
        if node is None:  # nothing is placed
            self.change.adjustments.in_force = new
            return {}
        wanted, found = await self._plan(node, new)
        problems: Mapping[ContainerKey, str] = {**found.unfit, **wanted.conflicts}
        if not problems and wanted.requirements:
            problems = await self._place(node, new, wanted, found)
        elif not problems:
            self.change.adjustments.in_force = new
        workload = node.engine.state.workload
        return {
            workload.containers[key].id or key: f"{workload.full_name(key)}: {why}"
            for key, why in problems.items()
            if key in workload.containers
        }

    async def _plan(self, node: DecidingNode, new: tuple[ExternalAdjustment, ...]) -> tuple[Wanted, Plan]:
        """Plan for the state of now, while no affected container is being resized, if that can be had."""
        wanted, found = await self._plan_once(node, new)
        with trio.move_on_after(SETTLED_WITHIN_S):
            while BUSY in found.unfit.values():
                await trio.sleep(AGAIN_S)
                wanted, found = await self._plan_once(node, new)
        return wanted, found

    async def _plan_once(self, node: DecidingNode, new: tuple[ExternalAdjustment, ...]) -> tuple[Wanted, Plan]:
        _, planned = await plan_aside(node.engine, partial(self._planned, node, new))
        return planned

    def _planned(self, node: DecidingNode, new: tuple[ExternalAdjustment, ...], state: State) -> tuple[Wanted, Plan]:
        wanted = self._wanted(node, new, state)
        return wanted, plan_requirements(node.engine.policy, state, wanted.requirements, WHY, time.time())

    def _wanted(self, node: DecidingNode, new: tuple[ExternalAdjustment, ...], state: State) -> Wanted:
        requirements, conflicts = {}, {}
        for key, container in state.workload.containers.items():
            if container.state not in HOLDING:
                continue
            pod = state.workload.pod_of(container)
            try:
                found = adjustment_of(new, container, pod)
            except ConflictError as error:
                conflicts[key] = str(error)
                continue
            if found is None and not self._was_adjusted(container, pod):
                continue
            own = _own_requirements(node, container, pod)
            then = own if found is None else adjusted(own, found)
            if then != container.requirements:
                requirements[key] = then
        return Wanted(requirements, conflicts)

    def _was_adjusted(self, container: Container, pod: Pod) -> bool:
        return any(adjustment.holds(container, pod) for adjustment in self.change.adjustments.in_force)

    async def _place(
        self, node: DecidingNode, new: tuple[ExternalAdjustment, ...], wanted: Wanted, found: Plan
    ) -> Mapping[ContainerKey, str]:
        """Make a plan true, or undo it where the runtime refuses; returns what it has refused."""
        engine, old = node.engine, self.change.adjustments.in_force
        known = engine.state.workload.containers
        grants = engine.policy.save(engine.state.policy)
        before = {key: known[key].requirements for key in wanted.requirements}
        self.change.adjustments.in_force = new
        engine.activate(engine.policy, found, overflow=engine.overflow)
        if refused := await node.effects.refused(found.changes):
            log.warning("runtime refused updates, rolling back overrides", containers=len(refused))
            self.change.adjustments.in_force = old
            now = engine.state.workload.containers
            resized = {key for key, one in wanted.requirements.items() if key in now and now[key].requirements != one}
            state = _with_requirements(engine.state, {k: one for k, one in before.items() if k not in resized})
            grants = {**engine.policy.save(state.policy), **{k: g for k, g in grants.items() if k not in resized}}
            back = plan(engine.policy, grants, state, node.machine)
            engine.activate(engine.policy, back, overflow=engine.overflow)
            await node.effects.refused(back.changes)
        return {key: f"the runtime refuses it: {why}" for key, why in refused.items()}


def _own_requirements(node: DecidingNode, container: Container, pod: Pod) -> Requirements:
    """Return what *container* asks for without adjustments."""
    try:
        return node.intake.requirements(pod, container.name, container.resources)
    except RefusedError:  # an annotation that was malformed when it was adopted, too
        return container.requirements


def _with_requirements(state: State, requirements: Mapping[ContainerKey, Requirements]) -> State:
    containers = dict(state.workload.containers)
    for key, one in requirements.items():
        if key in containers:
            containers[key] = attrs.evolve(containers[key], requirements=one)
    return attrs.evolve(state, workload=attrs.evolve(state.workload, containers=containers))
