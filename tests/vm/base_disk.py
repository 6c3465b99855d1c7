"""The disk with Debian's packages, and the kernel that boots it; needs root and mmdebstrap."""

from __future__ import annotations

import lzma
import os
import platform
import shutil
import subprocess
from pathlib import Path

import attrs

from tests.vm.disks import CACHE, ImageError, kept, make_disk, run, work_folder
from tests.vm.recipe import DRIVERS, PACKAGES, Recipe, load_order

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_FIRST = Path(__file__).parent / "scripts" / "first"
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_SETTINGS = {
    "hostname": "server\n",
    "hosts": "127.0.0.1 localhost server\n",
    # With an identity, a boot is never the first one, on which systemd would set up all that Debian has by default.
    "machine-id": "0123456789abcdef0123456789abcdef\n",
    "resolv.conf": "",  # there is no network, but containerd copies the file into every pod
}
_ROOM_MIB = 1024  # for what is written while the server runs; the file has holes there


@attrs.frozen
class Base:
    """A root file system with the kernel that boots it.

    Args:
        folder: where they are.
    """

    folder: Path

    @property
    def root(self) -> Path:
        """The disk."""
        return self.folder / "root.img"

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initial file system."""
        return self.folder / "initrd"

    @property
    def python(self) -> str:
        """The version of its Python: ``3.11``."""
        return (self.folder / "python").read_text()


def base(suite: str | None = None, cache: Path = CACHE) -> Base:
    """Return the root file system with Debian's packages, made now if its recipe has changed.

    Args:
        suite: release of Debian; None for this machine's own.
        cache: where to keep it.

    Raises:
        ImageError: this machine cannot make it.
    """
    recipe = Recipe(suite or _own_suite(), PACKAGES, _FIRST.read_text(), Path(__file__).read_text())
    return Base(kept(cache, f"base-{recipe.suite}", recipe.digest, lambda folder: _make_base(recipe, folder)))


def _make_base(recipe: Recipe, folder: Path) -> None:
    if os.geteuid() != 0:
        raise ImageError("the root file system of the servers is made by root; run this as root once")
    if platform.machine() != "x86_64":
        raise ImageError(f"servers are x86-64 and run packages of this machine's architecture, {platform.machine()}")
    root = folder / "tree"
    excludes = [f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT]
    source = f"deb [signed-by={KEYRING}] {_mirror()} {recipe.suite} main"
    packages = ",".join(recipe.packages)
    # The kernel's packaging makes no initial file system: ours is smaller, and quicker made.
    env = {**os.environ, "INITRD": "No"}
    options = ["--quiet", "--variant=essential", f"--include={packages}", *excludes]
    run("mmdebstrap", *options, recipe.suite, str(root), source, env=env)
    for mount_point in ("opt/crirm", "srv", "results"):
        (root / mount_point).mkdir(exist_ok=True)
    for name, text in _SETTINGS.items():
        (root / "etc" / name).unlink(missing_ok=True)
        (root / "etc" / name).write_text(text)
    kernel = next((root / "boot").glob("vmlinuz-*"))
    kernel.rename(folder / "vmlinuz")
    _make_initrd(root, recipe.first, folder / "initrd")
    (folder / "python").write_text((root / "usr/bin/python3").readlink().name.removeprefix("python"))
    make_disk(root, folder / "root.img", _ROOM_MIB)
    shutil.rmtree(root)


def _make_initrd(root: Path, first: str, initrd: Path) -> None:
    with work_folder(initrd.parent) as tree:
        for name in ("bin", "dev", "proc", "sys", "root", "modules"):
            (tree / name).mkdir()
        busybox = tree / "bin/busybox"
        shutil.copy(root / "bin/busybox", busybox)
        for command in ("sh", "mount", "insmod", "cat", "switch_root"):
            (tree / "bin" / command).symlink_to("busybox")
        init = tree / "init"
        init.write_text(first)
        init.chmod(0o755)
        modules = next((root / "lib/modules").iterdir())
        order = load_order((modules / "modules.dep").read_text(), DRIVERS)
        for file in order:
            packed = (modules / file).read_bytes()
            (tree / "modules" / _plain_name(file)).write_bytes(lzma.decompress(packed) if ".xz" in file else packed)
        (tree / "modules/order").write_text("\n".join(map(_plain_name, order)))
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        argv = [str(busybox), "cpio", "-o", "-H", "newc", "-R", "0:0"]
        with initrd.open("wb") as out:
            subprocess.run(argv, cwd=tree, input=names.encode(), stdout=out, stderr=subprocess.DEVNULL, check=True)


def _plain_name(file: str) -> str:
    return file.rpartition("/")[2].removesuffix(".xz")


def _own_suite() -> str:
    release = platform.freedesktop_os_release()
    if release["ID"] != "debian" or "VERSION_CODENAME" not in release:
        raise ImageError(f"this machine runs {release['PRETTY_NAME']}; name a release of Debian with --suite")
    return release["VERSION_CODENAME"]


def _mirror() -> str:
    """Return the site from which this machine gets Debian's packages."""
    sites = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Created-By: Packages")
    if not sites:
        raise ImageError("this machine's package sources name no Debian mirror; run apt-get update, or add one")
    return sites.split()[0]
