"""Which configuration is in force, where it came from, and how the next one comes to be.

At the start, the first that there is: the forced file, what the node agent has sent last, the fallback file, the
command line. Afterwards the forced file is read again when it changes or SIGHUP comes; without one, the node agent may
send another. Whatever is rejected is remembered with its reason, and the configuration before it stays in force.
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

LOOK_EVERY_S = 1.0  # at the forced file
EMPTY = "the configuration is empty; keeping the previous one"


class Source(enum.Enum):
    """Where a configuration comes from."""

    FORCED = "forced file"
    ACCEPTED = "accepted from the node agent before"
    FALLBACK = "fallback file"
    OPTIONS = "command line"
    AGENT = "node agent"
    OPERATOR = "crirm config diff --activate"


@attrs.frozen
class InForce:
    """A configuration that decides.

    Args:
        source: where it comes from.
        name: of its file, or of the node that the agent sent it for.
        settings: with it.
        config: what it says.
        content: of the file that it was read from; None: it is from elsewhere.
    """

    source: Source
    name: str
    settings: Settings
    config: Config = attrs.field(factory=Config)
    content: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Rejected:
    """The latest configuration that was not taken into use."""

    at_s: float
    source: Source
    name: str
    reason: str


def begin(base: Settings) -> InForce:
    """Return the configuration to start with.

    Args:
        base: what command line and environment say.

    Raises:
        CrirmError: the forced or the fallback file cannot be used, or the policy may not be switched.
    """
    found = _first(base)
    if base.disable_policy_switch and base.state_dir:
        wanted, kept = found.settings.policy.name, policy_in_use(base.state_dir)
        if kept not in {None, wanted}:
            raise UsageError(
                f"{found.name or found.source.value}: chooses policy {wanted}, but {kept} is in use and "
                "--disable-policy-switch is given; choose that one, or let `cri-resmgr --reset-policy` forget it first"
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
    """Tell what one should know about a configuration, in one record however much that is."""
    if loaded.warnings:
        what = "; ".join(map(str, loaded.warnings))
        log.warning("configuration warnings", name=name, remarks=len(loaded.warnings), what=what)


def _accepted(base: Settings) -> InForce | None:
    """Return what the agent has sent last; None when there is nothing, or nothing that can be used on this machine."""
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
        log.warning("cannot use the configuration accepted earlier", reason=str(error))
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
    """The life of configurations in a daemon that runs.

    Args:
        base: what command line and environment say; in force wherever a configuration says nothing.
        in_force: as it began.
        change: takes another into use.
        overrides: from outside the pods, which come on the same way.
    """

    base: Settings
    in_force: InForce
    change: Reconfiguration
    overrides: Overrides
    rejected: Rejected | None = None
    _one_at_a_time: trio.Lock = attrs.field(factory=trio.Lock, init=False)  # from reading it to keeping it
    _seen: bytes | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Take what was in the forced file at the start for seen: it may have changed since."""
        self._seen = self.in_force.content

    # --- the node agent ------------------------------------------------------------------------------------------

    async def set_config(self, node_name: str, data: Mapping[str, str]) -> str:
        """Take what the agent sends into use; returns why not, or nothing; see ``kube.config_service``."""
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
        """Take the agent's adjustments into use; returns what is wrong with them; see ``kube.config_service``."""
        return await self.overrides.set_adjustment(node_name, adjustments)

    # --- the forced file -----------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read the forced file again, whatever it holds."""
        path = self.base.forced_config
        if not path:
            log.info("no configuration file to reload")
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
            else:  # more likely cut off than meant: it would free all containers
                self._note(Source.FORCED, path, EMPTY)

    async def follow_file(self) -> None:
        """Read the forced file again each time that it holds something else, and has done so for one look, for ever."""
        path, before = self.base.forced_config, self._seen
        while True:
            await trio.sleep(LOOK_EVERY_S)
            now = await trio.to_thread.run_sync(_content_or_none, path)
            if now is not None and now == before != self._seen:
                await self.reload()
            before = now

    # --- the operator --------------------------------------------------------------------------------------------

    async def proposed(self, name: str, text: str) -> tuple[Proposal, str, list[str]]:
        """Return what the configuration *text* would do, why that is not allowed, and what one should know about it.

        Raises:
            CrirmError: it cannot be used at all.
        """
        found = await trio.to_thread.run_sync(loaded, text.encode(), name)
        settings = await trio.to_thread.run_sync(with_config, self.base, found)
        refusal = self.switch_refusal(Source.OPERATOR, settings)
        return await self.change.propose(settings), refusal, [str(warning) for warning in found.warnings]

    async def activate(self, name: str, text: str) -> str:
        """Take the configuration *text* into use; returns why not, or nothing."""
        async with self._one_at_a_time:
            return await self._take(Source.OPERATOR, name, lambda: loaded(text.encode(), name))

    def switch_refusal(self, source: Source, settings: Settings) -> str:
        """Return why the policy may not be switched to that of *settings*; nothing when it may."""
        old, new = self.in_force.settings.policy.name, settings.policy.name
        if old == new:
            return ""
        if self.base.disable_policy_switch:
            return f"the policy is {old} and cannot become {new}, since crirm was started with --disable-policy-switch"
        unconfigured = self.in_force.source in {Source.OPTIONS, Source.FALLBACK} and old == NOTHING
        if source is not Source.AGENT or unconfigured or self.in_force.config.policy.live_switch:
            return ""
        return (
            f"the policy is {old} and cannot become {new} while crirm runs; allow it with policy.AllowLiveSwitch in a "
            "configuration that keeps the policy, or restart crirm with another"
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
        """Return what ``crirm status`` tells about it."""
        rejected, node = self.rejected, self.change.decider.node
        workload = None if node is None else node.engine.state.workload
        return {
            "source": self.in_force.source.value,
            "name": self.in_force.name,
            "rejected": None if rejected is None else {**attrs.asdict(rejected), "source": rejected.source.value},
            "adjustments": self.overrides.containers(workload),
        }


def _content_or_none(path: str) -> bytes | None:
    """Return what the file *path* holds; None where there is no file now, or a pipe, whose end may never come."""
    try:
        return read(Path(path)) if Path(path).is_file() else None
    except (UnreadableError, OSError):
        return None
