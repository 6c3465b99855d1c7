"""What a server is booted for, and the disk that brings it in: the checkout as it is now, and a script."""

from __future__ import annotations

import json
import shlex
import shutil
from typing import TYPE_CHECKING

import attrs

from tests.vm.disks import CHECKOUT, make_disk, run
from tests.vm.python_disk import compile_python
from tests.vm.servers import Server  # noqa: TC001 - attrs resolves field types at run time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ROOM_MIB = 64


@attrs.frozen
class Job:
    """What a server does before it switches itself off.

    Args:
        server: on which.
        script: for the shell; its exit code is the job's. The directory is the checkout, ``python`` the one that has
            all packages, and what is left in ``/results`` is brought out.
        environment: further variables; with ``TERMINAL`` among them, the script gets one.
    """

    server: Server
    script: str
    environment: Mapping[str, str] = attrs.field(factory=dict)

    def settings(self) -> str:
        """Return the assignments that the guest's scripts read."""
        spec = self.server.spec
        values = {
            **self.environment,
            "OFFLINE": " ".join(map(str, spec.offline)),
            "MOVABLE": " ".join(map(str, spec.movable)),
        }
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())

    def facts(self) -> str:
        """Return what the tests inside need to know of the server, as JSON."""
        return json.dumps({"name": self.server.name, "line": self.server.line, "systemd": self.server.systemd})


def make_job_disk(job: Job, python: str, folder: Path) -> Path:
    """Make the disk in *folder* and return it.

    Args:
        job: what is done.
        python: version of the server's Python: ``3.11``.
        folder: an existing one.
    """
    tree = folder / "srv"
    _copy_checkout(tree / "crirm", python)
    (tree / "job").mkdir()
    (tree / "job/run").write_text(job.script)
    (tree / "job/environment").write_text(job.settings())
    (tree / "job/server.json").write_text(job.facts())
    image = folder / "srv.img"
    make_disk(tree, image, _ROOM_MIB)
    shutil.rmtree(tree)
    return image


def _copy_checkout(target: Path, python: str) -> None:
    """Copy what git would, and what has not been added to it yet, with the compiled modules."""
    for folder in ("crirm", "tests"):
        compile_python(CHECKOUT / folder, python)
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        source = CHECKOUT / name
        if not source.is_file():
            continue  # removed, and git was not told yet
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target / name)
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-{python.replace('.', '')}.pyc"
        if source.suffix == ".py" and compiled.is_file():
            (target / name).parent.joinpath("__pycache__").mkdir(exist_ok=True)
            shutil.copy2(compiled, (target / name).parent / "__pycache__")
