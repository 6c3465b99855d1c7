"""``crirm sim``: the embedded runtime on its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from crirm import logs

if TYPE_CHECKING:
    from crirm.sim.faults import Fault
    from crirm.sim.settings import SimSettings

DEFAULT_SOCKET: Final = "/run/crirm-sim.sock"
log = logs.get_logger("sim")


@click.command()
@click.option(
    "--socket", "socket_path", metavar="PATH", default=DEFAULT_SOCKET, show_default=True, help="Socket to serve."
)
@click.option(
    "--api",
    type=click.Choice(["v1", "v1alpha2", "both"]),
    default="both",
    show_default=True,
    help="CRI versions to serve.",
)
@click.option("--name", "runtime_name", metavar="NAME", help="Runtime name in Version.  [default: crirm-sim]")
@click.option("--runtime-version", metavar="VERSION", help="Runtime version in Version.  [default: crirm's]")
@click.option(
    "--one-event-channel", is_flag=True, help="Send each event to one subscriber only, as containerd 1.7 does."
)
@click.option("--pods", metavar="COUNT", type=click.IntRange(0), default=0, help="Create this many pods first.")
@click.option(
    "--containers-per-pod",
    metavar="COUNT",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Containers in each of these pods.",
)
@click.option(
    "--annotation-bytes",
    metavar="COUNT",
    type=click.IntRange(0),
    default=0,
    help="Size of an annotation on each container; with 50, a list of 500 has about 200 kB.",
)
@click.option("--fault", "fault_texts", metavar="METHOD:OPTIONS", multiple=True, help="Fault to inject; see above.")
def command(socket_path: str, api: str, fault_texts: tuple[str, ...], **options: Any) -> None:
    """Serve a CRI runtime that lives in memory and runs no processes, until SIGTERM or SIGINT.

    It answers as containerd does, pulls any image without a network, and emulates sleep, true, false, echo and
    small sh -c scripts; any other command runs for ever.

    A fault is METHOD (* for all), a colon, and options with commas between them: code=UNAVAILABLE, message="TEXT",
    details=TEXT, hang, disconnect, garbage, oversize=20MiB, unknown_fields, delay=SECONDS, acts (the call takes effect
    before the fault), times=COUNT (for ever by default).

    \b
    crirm sim --socket /tmp/sim.sock --fault 'CreateContainer:code=UNAVAILABLE,times=2'
    """  # noqa: D301 - click's mark for a paragraph that is not to be wrapped
    from crirm.rpc import bridge  # noqa: PLC0415  # --help must not wait for grpclib
    from crirm.sim.faults import parse_fault  # noqa: PLC0415
    from crirm.sim.settings import Api, SimSettings  # noqa: PLC0415

    logs.configure(logs.settings_from(os.environ, {}))
    faults = [parse_fault(text) for text in fault_texts]
    settings = SimSettings(api=Api(api), **{name: value for name, value in options.items() if value is not None})
    bridge.run(_serve, socket_path, settings, faults)


async def _serve(socket_path: str, settings: SimSettings, faults: list[Fault]) -> None:
    """Trio-flavoured: serve until a signal comes."""
    import signal  # noqa: PLC0415

    import trio  # noqa: PLC0415

    from crirm.sim.runtime import open_runtime  # noqa: PLC0415

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_runtime(socket_path, settings) as runtime:
            for fault in faults:
                runtime.faults.add(fault)
            log.info("embedded runtime is serving", socket=socket_path, api=settings.api.value, pods=settings.pods)
            async for number in signals:
                log.info("embedded runtime is stopping", signal=signal.Signals(number).name)
                break
