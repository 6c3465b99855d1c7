"""The disk with the Python packages: what looks like a virtual environment of the server's Python.

The server has no network and is slow, so wheels are unpacked and compiled out here. The checkout itself comes on
another disk, as ``/srv/crirm``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from crirm import __version__
from tests.vm.disks import CACHE, CHECKOUT, kept, make_disk, run
from tests.vm.recipe import digest


def python_disk(version: str, cache: Path = CACHE) -> Path:
    """Return the disk with the Python packages of ``pyproject.toml``, made now if what it is made from has changed.

    Args:
        version: of Python: ``3.11``.
        cache: where to keep it.
    """
    constraints = (CHECKOUT / "constraints.txt").read_text()
    project = f"{__version__} {sorted(_project()['scripts'].items())}"
    name = digest(version, _requirements(), constraints, project, Path(__file__).read_text())
    return kept(cache, f"python-{version}", name, lambda folder: _make_python(version, folder)) / "python.img"


def _make_python(version: str, folder: Path) -> None:
    """Make the disk in *folder*."""
    tree = folder / "tree"
    site = tree / f"lib/python{version}/site-packages"
    (tree / "bin").mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--root-user-action=ignore"]
    where = ["--target", str(site), "--no-compile", "--only-binary=:all:", "--python-version", version]
    run(*pip, *where, "-c", "constraints.txt", *_requirements().split())
    shutil.rmtree(site / "bin", ignore_errors=True)
    (site / "crirm.pth").write_text("/srv/crirm\n")
    (tree / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for name in ("python", "python3"):
        (tree / "bin" / name).symlink_to("/usr/bin/python3")
    _write_scripts(tree / "bin", site)
    compile_python(tree, version)
    make_disk(tree, folder / "python.img")
    shutil.rmtree(tree)


def _requirements() -> str:
    return run(sys.executable, "contrib/requirements.py", "test")


def _project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return table


def _write_scripts(programs: Path, site: Path) -> None:
    """Write what installing crirm would: its commands, and the metadata that its version is read from."""
    info = site / f"crirm-{__version__}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: crirm\nVersion: {__version__}\n")
    for name, entry in _project()["scripts"].items():
        module, _, function = entry.partition(":")
        script = programs / name
        script.write_text(
            f"#!/opt/crirm/bin/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        script.chmod(0o755)


def compile_python(tree: Path, version: str) -> None:
    """Compile the modules below *tree* where this Python is the server's: in there it would take a minute."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        # Some packages bring files for other versions of Python, which is no fault.
        subprocess.run([sys.executable, "-m", "compileall", "-q", "-q", str(tree)], check=False)
