"""Print the requirements of crirm and of the given dependency groups in pyproject.toml, for pips without groups."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any


def expand(groups: dict[str, list[Any]], name: str) -> list[str]:
    """Return the requirements of the group *name*, including those of included groups."""
    found: list[str] = []
    for item in groups[name]:
        found += [item] if isinstance(item, str) else expand(groups, item["include-group"])
    return found


def main() -> None:
    """Print the requirements, separated by spaces; none of ours contains one."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for name in sys.argv[1:]:
        wanted += expand(project["dependency-groups"], name)
    sys.stdout.write(" ".join(requirement.replace(" ", "") for requirement in wanted) + "\n")


if __name__ == "__main__":
    main()
