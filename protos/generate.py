"""Generate the protobuf code in crirm from the .proto files beside this script, or check that it is up to date.

python protos/generate.py            write
python protos/generate.py --check    exit 1 when what is committed differs
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent
TARGETS = {"runtime": "crirm/cri/proto", "slice": "crirm/cri/slice", "resmgr": "crirm/kube/proto"}
"""Directory of .proto files, to that of the code generated from them."""


def generate(directory: str, out: Path) -> None:
    """Run protoc with the betterproto plug-in over every .proto file in *directory*, into *out*."""
    sources = sorted(str(p.relative_to(PROTOS)) for p in (PROTOS / directory).rglob("*.proto"))
    subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_betterproto_out={out}", *sources],
        cwd=PROTOS,
        check=True,
        env={"PATH": str(Path(sys.executable).parent)},  # where pip put protoc-gen-python_betterproto
    )


def differences(left: Path, right: Path) -> list[str]:
    """Return the relative paths of the Python files that are missing on one side or not the same."""
    names = {str(p.relative_to(root)) for root in (left, right) for p in root.rglob("*.py")}
    return sorted(n for n in names if not _same(left / n, right / n))


def _same(left: Path, right: Path) -> bool:
    return left.exists() and right.exists() and filecmp.cmp(left, right, shallow=False)


def update(directory: str, target: str, *, check: bool) -> list[str]:
    """Write the code of *directory* into *target*, or only return which files of it are out of date."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        generate(directory, out)
        if check:
            return [f"{target}/{name}" for name in differences(out, ROOT / target)]
        shutil.rmtree(ROOT / target, ignore_errors=True)
        shutil.copytree(out, ROOT / target)
    return []


def main() -> int:
    """Write or check, by the command line."""
    check = "--check" in sys.argv[1:]
    stale = [name for directory, target in TARGETS.items() for name in update(directory, target, check=check)]
    for name in stale:
        sys.stderr.write(f"{name} is not what protos/ generates: run `nox -s protos`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
