"""The active configuration, its source, and how it is replaced.

At the start, the first that exists: the forced file, the last configuration of the node agent, the fallback file, the
command line. Afterwards the forced file is reloaded when it changes or on SIGHUP; without one, the node agent may
send another. A rejected configuration is remembered with the reason, and the previous one stays active.
"""

from __future__ import annotations

import enum
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from crirm.config.config import Config
from crirm.daemon.configuration.meaning import UnreadableError, loaded, loaded_map, read, with_config
from crirm.daemon.settings import NOTHING
from crirm.errors import CrirmError, UsageError
from crirm.logs import get_logger
from crirm.system.config_cache import ConfigCacheError, path_in, policy_in_use, read_accepted, write_accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crirm.config.load import Loaded
    from crirm.daemon.configuration.change import Proposal, Reconfiguration
    from crirm.daemon.configuration.overrides import Overrides
    from crirm.daemon.settings import Settings

log = get_logger("config")

LOOK_EVERY_S = 1.0  # between two looks at the forced file
EMPTY = "configuration is empty; keeping the previous one"


class Source(enum.Enum):
    """Where a configuration comes from."""

    FORCED = "forced file"
    ACCEPTED = "saved from the node agent"
    FALLBACK = "fallback file"
    OPTIONS = "command line"
    AGENT = "node agent"
    OPERATOR = "crirm config diff --activate"


@attrs.frozen
class InForce:
    """The active configuration.

    Args:
        source: where it comes from.
        name: of its file, or of the node for which the agent sent it.
        settings: including it.
        config: its content.
        content: of its file; None: not from a file.
    """

    source: Source
    name: str
    settings: Settings
    config: Config = attrs.field(factory=Config)
    content: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Rejected:
    """The latest rejected configuration."""

    at_s: float
    source: Source
    name: str
    reason: str


def begin(base: Settings) -> InForce:
    """Return the configuration at the start.

    Args:
        base: what command line and environment say.

    Raises:
        CrirmError: the forced or fallback file is invalid, or switching the policy is disabled.
    """
    found = _first(base)
    if base.disable_policy_switch and base.state_dir:
        wanted, kept = found.settings.policy.name, policy_in_use(base.state_dir)
        if kept not in {None, wanted}:
            raise UsageError(
                f"{found.name or found.source.value}: selects policy {wanted}, but policy {kept} is active and "
                "--disable-policy-switch is set; select that policy, or run `cri-resmgr --reset-policy` first"
            )
    log.info("configuration", origin=found.source.value, name=found.name, policy=found.settings.policy.name)
    return found


def _first(base: Settings) -> InForce:
    if base.forced_config:
        return _from_file(Source.FORCED, base.forced_config, base)
    if accepted := _accepted(base):
        return accepted
    if base.fallback_config:
        return _from_file(Source.FALLBACK, base.fallback_config, base)
    return InForce(Source.OPTIONS, "", base)


def _from_file(source: Source, path: str, base: Settings) -> InForce:
    content = read(Path(path))
    return attrs.evolve(_taken(source, path, base, loaded(content, path)), content=content)


def _taken(source: Source, name: str, base: Settings, loaded: Loaded) -> InForce:
    _tell_warnings(name, loaded)
    return InForce(source, name, with_config(base, loaded), loaded.config)


def _tell_warnings(name: str, loaded: Loaded) -> None:
    """Log all warnings about a configuration in one record."""
    if loaded.warnings:
        what = "; ".join(map(str, loaded.warnings))
        log.warning("configuration warnings", name=name, remarks=len(loaded.warnings), what=what)


def _accepted(base: Settings) -> InForce | None:
    """Return the agent's last configuration; None if there is none, or none that fits this machine."""
    if not base.state_dir:
        return None
    name = str(path_in(base.state_dir))
    try:
        data = read_accepted(base.state_dir)
        if data is None:
            return None
        found = _taken(Source.ACCEPTED, name, base, loaded_map(data, name))
        _check_fits(found.settings)
    except CrirmError as error:
        log.warning("cannot use the configuration saved from the node agent; ignoring it", reason=str(error))
        return None
    return found


def _check_fits(settings: Settings) -> None:
    if settings.policy.name == NOTHING:
        return
    from crirm.policy.registry import make_policy  # noqa: PLC0415 - a daemon that only relays stays small
    from crirm.system.machine import MachineFiles  # noqa: PLC0415

    hardware, _ = MachineFiles(Path(settings.host_root)).read(())
    make_policy(settings.policy, hardware.usable)


@attrs.define
class Configurations:
    """The configurations of a running daemon.

    Args:
        base: settings of the command line and the environment; used where a configuration has no value.
        in_force: the configuration at the start.
        change: activates another.
        overrides: of the node agent, which come the same way.
    """

    base: Settings
    in_force: InForce
    change: Reconfiguration
    overrides: Overrides
    rejected: Rejected | None = None
    _one_at_a_time: trio.Lock = attrs.field(factory=trio.Lock, init=False)  # from reading a configuration to saving it
    _seen: bytes | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Remember the content of the forced file at the start: it may have changed since."""
        self._seen = self.in_force.content

    # --- the node agent ------------------------------------------------------------------------------------------

    async def set_config(self, node_name: str, data: Mapping[str, str]) -> str:
        """Activate the agent's configuration; returns the reason if it is rejected; see ``kube.config_service``."""
        if not any(text.strip() for text in data.values()):
            return self._note(Source.AGENT, node_name, EMPTY)
        async with self._one_at_a_time:
            refusal = await self._take(Source.AGENT, node_name, lambda: loaded_map(data, node_name))
            if not refusal and self.base.state_dir:
                try:
                    await trio.to_thread.run_sync(write_accepted, self.base.state_dir, node_name, dict(data))
                except ConfigCacheError as error:
                    log.warning("configuration active but not saved; a restart loses it", reason=str(error))
        return refusal

    async def set_adjustment(self, node_name: str, adjustments: Mapping[str, Any]) -> Mapping[str, str]:
        """Activate the agent's overrides; returns their faults; see ``kube.config_service``."""
        return await self.overrides.set_adjustment(node_name, adjustments)

    # --- the forced file -----------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Reload the forced file, changed or not."""
        path = self.base.forced_config
        if not path:
            log.info("ignoring the reload signal: no forced configuration file")
            return
        async with self._one_at_a_time:
            try:
                data = await trio.to_thread.run_sync(read, Path(path), abandon_on_cancel=True)  # a pipe may not end
            except UnreadableError as error:
                self._note(Source.FORCED, path, str(error))
                return
            self._seen = data
            if data.strip():
                await self._take(Source.FORCED, path, lambda: loaded(data, path))
            else:  # probably truncated by accident: it would release all containers
                self._note(Source.FORCED, path, EMPTY)

    async def follow_file(self) -> None:
        """Reload the forced file when its content has changed and was then the same twice; never returns."""
        path, before = self.base.forced_config, self._seen
        while True:
            await trio.sleep(LOOK_EVERY_S)
            now = await trio.to_thread.run_sync(_content_or_none, path)
            if now is not None and now == before != self._seen:
                await self.reload()
            before = now

    # --- the operator --------------------------------------------------------------------------------------------

    async def proposed(self, name: str, text: str) -> tuple[Proposal, str, list[str]]:
        """Return the effects of the configuration *text*, why it is not allowed, and its warnings.

        Raises:
            CrirmError: it is invalid.
        """
        found = await trio.to_thread.run_sync(loaded, text.encode(), name)
        settings = await trio.to_thread.run_sync(with_config, self.base, found)
        refusal = self.switch_refusal(Source.OPERATOR, settings)
        return await self.change.propose(settings), refusal, [str(warning) for warning in found.warnings]

    async def activate(self, name: str, text: str) -> str:
        """Activate the configuration *text*; returns the reason if it is rejected."""
        async with self._one_at_a_time:
            return await self._take(Source.OPERATOR, name, lambda: loaded(text.encode(), name))

    def switch_refusal(self, source: Source, settings: Settings) -> str:
        """Return why switching to the policy of *settings* is not allowed; empty if it is."""
        old, new = self.in_force.settings.policy.name, settings.policy.name
        if old == new:
            return ""
        if self.base.disable_policy_switch:
            return f"cannot switch from policy {old} to {new}: crirm was started with --disable-policy-switch"
        unconfigured = self.in_force.source in {Source.OPTIONS, Source.FALLBACK} and old == NOTHING
        if source is not Source.AGENT or unconfigured or self.in_force.config.policy.live_switch:
            return ""
        return (
            f"cannot switch from policy {old} to {new} while crirm runs; first apply a configuration that keeps policy "
            f"{old} and sets policy.AllowLiveSwitch, or restart crirm with {new}"
        )

    # --- common --------------------------------------------------------------------------------------------------

    async def _take(self, source: Source, name: str, loading: Callable[[], Loaded]) -> str:
        try:
            loaded = await trio.to_thread.run_sync(loading)  # a large one takes seconds
            settings = await trio.to_thread.run_sync(with_config, self.base, loaded)
            if refusal := self.switch_refusal(source, settings):
                return self._note(source, name, refusal)
            await self.change.activate(settings)
        except CrirmError as error:
            return self._note(source, name, str(error))
        except Exception:
            log.exception("could not activate a configuration; this is a bug in crirm", name=name)
            return self._note(source, name, "internal error, a bug in crirm; see its log")
        _tell_warnings(name, loaded)
        self.in_force, self.rejected = InForce(source, name, settings, loaded.config), None
        log.info("configuration active", origin=source.value, name=name, policy=settings.policy.name)
        return ""

    def _note(self, source: Source, name: str, reason: str) -> str:
        self.rejected = Rejected(time.time(), source, name, reason)
        log.error("configuration rejected, keeping the previous one", origin=source.value, name=name, reason=reason)
        return reason

    def status(self) -> dict[str, Any]:
        """Return the configuration part of ``crirm status``."""
        rejected, node = self.rejected, self.change.decider.node
        workload = None if node is None else node.engine.state.workload
        return {
            "source": self.in_force.source.value,
            "name": self.in_force.name,
            "rejected": None if rejected is None else {**attrs.asdict(rejected), "source": rejected.source.value},
            "overrides": self.overrides.containers(workload),
        }


def _content_or_none(path: str) -> bytes | None:
    """Return the content of the file *path*; None if there is none now, or it is a pipe, which may never end."""
    try:
        return read(Path(path)) if Path(path).is_file() else None
    except (UnreadableError, OSError):
        return None
