"""Synthetic hosts whose firmware says something else."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from crirm.hosts.synthetic import parse_spec, write_tree
from crirm.system.sysfs import Discovery, discover

if TYPE_CHECKING:
    from pathlib import Path

    from crirm.system.sysfs_files import Fault

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"

Change = tuple[str, str | None]


def found_after(root: Path, text: str, *changes: Change) -> Discovery:
    """Discover a synthetic host some of whose files were changed, or removed where the new content is None.

    A path with ``*`` stands for all files that it matches.
    """
    write_tree(parse_spec(text), root)
    for pattern, content in changes:
        paths = list(root.glob(pattern)) if "*" in pattern else [root / pattern]
        assert paths, f"{pattern} is not there"
        for path in paths:
            if content is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return discover(root)


def warned(found: Discovery) -> list[tuple[Fault, str]]:
    return [(oddity.fault, oddity.what) for oddity in found.warnings]
