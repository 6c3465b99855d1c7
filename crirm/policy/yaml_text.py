"""YAML in annotations, read as nothing but mappings, lists and texts.

Leaving all scalars as they are written is safer than YAML's own types, by which ``on`` is a boolean, ``1.10`` a number
and ``2001-01-01`` a date. A key that is there twice is a fault, not a riddle.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from crirm.errors import CrirmError

_LONGEST = 65536
"""Characters; annotations of a pod together may have 256 KiB, and the parser takes its time."""


class YamlTextError(CrirmError, ValueError):
    """A text is not YAML; says what is wrong, and where where that is known."""


class _Loader(yaml.BaseLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as in the base class
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is not a plain text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def parse_yaml(text: str) -> object:
    """Return the one document in *text*: a dict by texts, a list or a text; None for an empty one.

    Raises:
        YamlTextError: it is not YAML, or not such as can be taken in.
    """
    if len(text) > _LONGEST:
        msg = f"has {len(text)} characters; write at most {_LONGEST}"
        raise YamlTextError(msg)
    try:
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        where = f" at line {mark.line + 1}, character {mark.column + 1}" if mark else ""
        msg = f"is not valid YAML: {fault.problem or fault.context}{where}"
        raise YamlTextError(msg) from None
    except yaml.YAMLError as fault:  # a character that YAML does not have
        msg = f"is not valid YAML: {str(fault).splitlines()[0]}"
        raise YamlTextError(msg) from None
    except RecursionError:
        msg = "is nested too deeply"
        raise YamlTextError(msg) from None
