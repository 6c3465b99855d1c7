"""A configuration to YAML that parses to the same configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import yaml

from crirm.config.config import Config
from crirm.config.cpus import AllCPUsBut, CgroupCPUs, CPUAmount, ExactCPUs
from crirm.config.load import section_of
from crirm.config.scalars import resolve
from crirm.config.schema import SECTIONS
from crirm.model.option import KEY

_LINE_WIDTH: Final = 1 << 20  # no string is folded


def dump(config: Config) -> str:
    """Return *config* as YAML: all options of the active policy, and what is not the default elsewhere."""
    return dump_plain(as_plain(config))


def dump_plain(value: Any) -> str:
    """Return a plain value as YAML that all parsers read alike."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_LINE_WIDTH)
    return text


def as_plain(config: Config) -> dict[str, Any]:
    """Return *config* as nested mappings, with the keys of a file."""
    default = Config()
    tree: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        if section.type is None:
            if name in config.later:
                _place(tree, section.parts, config.later[name])
            continue
        value = section_of(config, name)
        if (
            not name.startswith("policy.")
            or section.parts[1] == config.policy_name
            or value != section_of(default, name)
        ):
            _place(tree, section.parts, plain_of(value))
    return tree


def plain_of(value: Any) -> Any:
    """Return the value of an option or a section as it is written in a file."""
    match value:
        case ExactCPUs() | AllCPUsBut() | CPUAmount() | CgroupCPUs():
            return str(value)
        case tuple():
            return [plain_of(one) for one in value]
        case Mapping():
            return {key: plain_of(one) for key, one in value.items()}
        case _ if attrs.has(type(value)):
            pairs = {field.metadata[KEY]: getattr(value, field.name) for field in attrs.fields(type(value))}
            return {key: plain_of(one) for key, one in pairs.items() if one is not None}
        case _:
            return value


def _place(tree: dict[str, Any], parts: tuple[str, ...], value: Any) -> None:
    *above, last = parts
    for part in above:
        tree = tree.setdefault(part, {})
    tree[last] = {**value, **tree.get(last, {})}


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, and quotes every string that could be read as another type."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = isinstance(resolve(text), str) and text != "<<"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


_Dumper.add_representer(str, _text)
