"""All policies by name. To add one, write its module (or package) and name its kind here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crirm.policy import none, static, topology_aware
from crirm.policy.api import Kind

KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in (none.KIND, static.KIND, *topology_aware.KINDS)}
