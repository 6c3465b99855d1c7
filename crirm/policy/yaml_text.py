"""YAML in annotations, parsed as mappings, lists and strings only.

Leaving all scalars as they are written is safer than YAML's own types, by which ``on`` is a boolean, ``1.10`` a number
and ``2001-01-01`` a date. A key that is duplicated is a fault, not a riddle.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import cache
from typing import TYPE_CHECKING, Any

from crirm.errors import CrirmError, quoted

if TYPE_CHECKING:
    import yaml

_LONGEST = 16384
"""Characters. A pod's annotations may have 256 KiB, which the parser would take seconds for, and nothing else runs."""
_MOST = 500
"""Marks that set parts apart; each costs the parser some 20 us, a hundred times as much as another character."""
_MARK = re.compile(r"[\[\]{},\n]|[:?-](?!\S)|[!&*]")
_DEEPEST = 16
"""Brackets within brackets, which cost the parser the square of their number."""


class YamlTextError(CrirmError, ValueError):
    """A text is not YAML; says what is wrong, and where where that is known."""


@cache
def _loader() -> type[yaml.BaseLoader]:
    import yaml  # noqa: PLC0415  # 12 ms; few pods have annotations for crirm

    class Loader(yaml.BaseLoader):
        def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803 - as in the base class
            if self.flow_level >= _DEEPEST:
                raise yaml.scanner.ScannerError(None, None, "nested too deeply", self.get_mark())
            super().fetch_flow_collection_start(TokenClass)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise yaml.constructor.ConstructorError(None, None, "a key is not a plain string", key.start_mark)
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{quoted(key.value)} is duplicated", key.start_mark
                    )
                seen.add(key.value)
            return super().construct_mapping(node, deep=deep)

    return Loader


def parse_yaml(text: str) -> object:
    """Return the one document in *text*: a dict by texts, a list or a text; None for an empty one.

    Raises:
        YamlTextError: it is not YAML, or not such as can be taken in.
    """
    if len(text) > _LONGEST:
        msg = f"is too long ({len(text)} characters); the limit is {_LONGEST}"
        raise YamlTextError(msg)
    marks = len(_MARK.findall(text))
    if marks > _MOST:
        msg = f"has too many parts ({marks} brackets, commas, colons, dashes and line ends); write at most {_MOST}"
        raise YamlTextError(msg)
    import yaml  # noqa: PLC0415  # as above

    try:
        return _loader()(text).get_single_data()
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        where = f" at line {mark.line + 1}, character {mark.column + 1}" if mark else ""
        what = fault.problem or fault.context
        msg = f"is not valid YAML: {what}{where}"
        raise YamlTextError(msg) from None
    except yaml.YAMLError as fault:  # a character that YAML does not have
        msg = f"is not valid YAML: {str(fault).splitlines()[0]}"
        raise YamlTextError(msg) from None
    except RecursionError:
        msg = "is not valid YAML: nested too deeply"
        raise YamlTextError(msg) from None
