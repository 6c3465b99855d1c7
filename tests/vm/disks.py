"""Making disks without mounting them, and keeping what was made in ``.cache/vm``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crirm.errors import CrirmError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).parents[2]
CACHE = CHECKOUT / ".cache" / "vm"


class ImageError(CrirmError):
    """A disk cannot be made here."""


def make_disk(tree: Path, image: Path, room_mib: int = 0) -> None:
    """Make *image*, a disk with a file system that holds *tree*, owned by root, and *room_mib* MiB of room."""
    used_kib = int(run("du", "-sk", "--apparent-size", str(tree)).split()[0])
    files = sum(1 for _ in tree.rglob("*"))
    size_kib = used_kib * 6 // 5 + files * 4 + (room_mib + 16) * 1024
    options = ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0,lazy_itable_init=1"]
    run("mke2fs", *options, "-d", str(tree), str(image), f"{size_kib}k")


def kept(cache: Path, kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder ``KIND-NAME``, filled by *make* if it is not there; earlier ones of its kind go."""
    target = cache / f"{kind}-{name}"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"making {target.relative_to(CHECKOUT) if target.is_relative_to(CHECKOUT) else target} ...\n")
    with work_folder(cache) as work:
        make(work)
        for earlier in cache.glob(f"{kind}-*"):
            shutil.rmtree(earlier, ignore_errors=True)
        work.rename(target)
    return target


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="making.", dir=parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(*argv: str, env: dict[str, str] | None = None) -> str:
    """Run a program in the checkout and return what it printed.

    Raises:
        ImageError: it failed, or is not installed.
    """
    try:
        done = subprocess.run(argv, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ImageError(f"{argv[0]} is not installed; contrib/vm.sh installs what is needed") from None
    if done.returncode:
        raise ImageError(f"{' '.join(argv)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
