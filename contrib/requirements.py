"""Print what crirm and the given dependency groups of pyproject.toml require, for a pip that knows no groups."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any


def expand(groups: dict[str, list[Any]], name: str) -> list[str]:
    """Return the requirements of the group *name*, with those of the groups that it includes."""
    found: list[str] = []
    for item in groups[name]:
        found += [item] if isinstance(item, str) else expand(groups, item["include-group"])
    return found


def main() -> None:
    """Print one requirement per word; none of ours has a space in it."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for name in sys.argv[1:]:
        wanted += expand(project["dependency-groups"], name)
    sys.stdout.write(" ".join(requirement.replace(" ", "") for requirement in wanted) + "\n")


if __name__ == "__main__":
    main()
