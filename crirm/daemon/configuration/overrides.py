"""Overrides in a running daemon: activated all or none, and saved for the next start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from crirm.logs import get_logger
from crirm.system.config_cache import adjustments_in
from crirm.system.json_file import JsonFileError, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.daemon.decider import Decider
    from crirm.model.workload import Container, Pod, Workload
    from crirm.policy.overrides import Override

log = get_logger("policy")


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
        if not self.in_force:
            return container
        from crirm.daemon.configuration.overriding import applied  # noqa: PLC0415 - most nodes have no overrides

        return applied(self.in_force, container, pod)

    def containers(self, workload: Workload | None) -> dict[str, list[str]]:
        """Return the full names of the containers of *workload* to which each override applies, by its name."""
        if workload is None or not self.in_force:
            return {override.name: [] for override in self.in_force}
        from crirm.daemon.configuration.overriding import overridden_in  # noqa: PLC0415 - as above

        return overridden_in(self.in_force, workload)

    async def set_adjustment(self, node_name: str, document: Mapping[str, Any]) -> Mapping[str, str]:
        """Activate the overrides in *document*; see ``kube.config_service``.

        A fault in one of them, or for one of their containers, rejects them all.
        """
        from crirm.daemon.configuration.overriding import decode_overrides, on_node  # noqa: PLC0415 - as above

        decoded, errors = await trio.to_thread.run_sync(decode_overrides, document)
        if errors:
            return errors
        async with self.decider.changing:
            errors = await self._take(on_node(decoded, node_name))
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
        from crirm.daemon.configuration.overriding import OverrideChange  # noqa: PLC0415 - as above

        return await OverrideChange(node, old, new).take(self._put)

    def _put(self, overrides: tuple[Override, ...]) -> None:
        self.in_force = overrides


def _kept_in(state_dir: str) -> tuple[Override, ...]:
    try:
        kept = read_json(adjustments_in(state_dir)) if state_dir else None
    except JsonFileError as error:
        log.warning("cannot read saved overrides; waiting for the node agent to send them", reason=str(error))
        return ()
    match kept:
        case {"node": str(node_name), "adjustments": dict(document)}:
            from crirm.daemon.configuration.overriding import decode_overrides, on_node  # noqa: PLC0415 - as above

            decoded, errors = decode_overrides(document)
            if errors:
                log.warning("cannot use saved overrides; waiting for the node agent to send them", reasons=errors)
            return on_node(decoded, node_name)
    return ()
