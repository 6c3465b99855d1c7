"""Bytes to a configuration, or to all their faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import attrs

from crirm.config.config import Config
from crirm.config.faults import ConfigFaults, Fault, ValueFault, in_order, joined
from crirm.config.nodes import MAX_BYTES, DocNode, Document, line_at, node_of, plain
from crirm.config.policies import choose
from crirm.config.schema import SECTIONS
from crirm.config.sections import sort_sections, unknown_key
from crirm.config.structure import Path, WrongValuesError, structure
from crirm.config.text import parse
from crirm.errors import CrirmError
from crirm.policy.registry import POLICIES

Grammar = Callable[[Any], Iterable[str]]
"""Parses an option with a syntax of its own: returns warnings, raises CrirmError for a fault."""

NO_GRAMMARS: Final[Mapping[str, Grammar]] = {}


@attrs.frozen
class Loaded:
    """A valid configuration.

    Args:
        config: its value.
        warnings: about it.
    """

    config: Config
    warnings: tuple[Fault, ...]
    _sections: Mapping[str, DocNode] = attrs.field(factory=dict, repr=False, eq=False)

    def fault(self, reason: str, section: str, *path: str | int) -> Fault:
        """Return a fault at *path* in the section of that name, with its line."""
        return _fault(self._sections, reason, section, path)

    def has(self, section: str) -> bool:
        """Return whether the section of that name was given."""
        return section in self._sections


def load(data: bytes, name: str, grammars: Mapping[str, Grammar] = NO_GRAMMARS) -> Loaded:
    """Parse a configuration.

    Args:
        data: YAML or TOML; also a Kubernetes manifest of a ConfigMap.
        name: of the file, for error messages.
        grammars: parsers for options whose syntax belongs to higher rooms, by dotted option, such as
            ``dump.Config``; for a list or a mapping, each item or pair is parsed.

    Raises:
        ConfigFaults: it is invalid, with all faults.
    """
    faults: list[Fault] = []
    return _load(parse(data, faults), faults, name, grammars)


def load_config_map(data: Mapping[str, str], name: str, grammars: Mapping[str, Grammar] = NO_GRAMMARS) -> Loaded:
    """Parse the data of a ConfigMap, whose top-level sections are YAML strings; see `load`."""
    faults: list[Fault] = []
    size = sum(len(text) for text in data.values())
    if size > MAX_BYTES:
        faults.append(Fault(f"is larger than {MAX_BYTES // 1024} KiB"))
        return _load(Document(None), faults, name, grammars)
    root = node_of({key: DocNode(text, 1, 1) for key, text in data.items()}, 1)
    return _load(Document(root), faults, name, grammars, config_map=True)


def _load(
    document: Document, faults: list[Fault], name: str, grammars: Mapping[str, Grammar], *, config_map: bool = False
) -> Loaded:
    warnings = list(document.remarks)
    sections: Mapping[str, DocNode] = {}
    if document.root is not None and document.root.value is not None:
        found = sort_sections(document.root, faults, config_map=config_map)
        sections = found.sections
        warnings += found.remarks
    values = _values(sections, faults)
    config = _config(values, sections)
    _choice(config, sections, faults)
    _understand(config, sections, grammars, faults, warnings)
    if faults:
        raise ConfigFaults(name, faults)
    if config.later:
        reason = f"not supported yet and without effect: {', '.join(config.later)}"
        warnings.append(Fault(reason))
    return Loaded(config, in_order(warnings), sections)


def _values(sections: Mapping[str, DocNode], faults: list[Fault]) -> dict[str, Any]:
    """Return the value of every given section, without its faulty options."""
    values = {}
    for name, node in sections.items():
        section = SECTIONS[name].type
        if section is None:
            values[name] = plain(node)
            continue
        try:
            values[name] = structure(plain(node), section)
        except WrongValuesError as error:
            faults += [_fault(sections, _why(name, path, reason), name, path) for path, reason in error.faults]
            wrong = {path[0] for path, _ in error.faults}
            rest = {key: inner for key, inner in plain(node).items() if key not in wrong}
            values[name] = structure(rest, section)  # so that the rest can be checked too
    return values


def _why(section: str, path: Path, reason: str) -> str:
    """Return *reason*, extended for an unknown key that may belong to another section."""
    match path:
        case (str() as key,) if key not in {option.key for option in SECTIONS[section].options}:
            return unknown_key(key, section)
        case _:
            return reason


def _config(values: Mapping[str, Any], sections: Mapping[str, DocNode]) -> Config:
    given = {name: values[name] for name in ("policy", "logger", "dump", "state") if name in values}
    options = {name: values[policy.section] for name, policy in POLICIES.items() if policy.section in values}
    default = Config()
    later = {name: values[name] for name in sections if SECTIONS[name].type is None and values[name] != {}}
    known = {name: options.get(name, one) for name, one in default.options.items()}
    return attrs.evolve(default, **given, options=known, later=later)


def _choice(config: Config, sections: Mapping[str, DocNode], faults: list[Fault]) -> None:
    try:
        policy = choose(config.policy_name)
    except ValueFault as fault:
        faults.append(_fault(sections, str(fault), "policy", ("Active",)))
        return
    reported = any(fault.path.startswith("$.policy.ReservedResources") for fault in faults)
    if policy.needs_reserved and config.reserved is None and not reported:
        reason = f"policy {policy.name} needs reserved CPUs; set for example CPU: 1"
        faults.append(_fault(sections, reason, "policy", ("ReservedResources",)))


def _understand(
    config: Config,
    sections: Mapping[str, DocNode],
    grammars: Mapping[str, Grammar],
    faults: list[Fault],
    warnings: list[Fault],
) -> None:
    for dotted, grammar in {**_checks(), **grammars}.items():
        section, _, key = dotted.rpartition(".")
        for path, text in _items(config, section, key):
            try:
                warnings += [_fault(sections, remark, section, path) for remark in grammar(text)]
            except CrirmError as error:
                faults.append(_fault(sections, str(error), section, path))


def _checks() -> dict[str, Grammar]:
    """Return the readers of those options that say themselves what cannot be."""
    found = ((f"{one.name}.{option.key}", option.check) for one in SECTIONS.values() for option in one.options)
    return {dotted: partial(_checked, check) for dotted, check in found if check is not None}


def _checked(check: Callable[[Any], object], value: Any) -> Iterable[str]:
    check(value)
    return ()


def _items(config: Config, section: str, key: str) -> list[tuple[Path, Any]]:
    """Return what a grammar has to parse: the string of an option, or each item or pair in it."""
    holder = section_of(config, section)
    name = next(option.name for option in SECTIONS[section].options if option.key == key)
    match getattr(holder, name):
        case tuple() as items:
            return [((key, place), item) for place, item in enumerate(items)]
        case Mapping() as pairs:
            return [((key, flag), (flag, value)) for flag, value in pairs.items()]
        case value:
            return [((key,), value)]


def section_of(config: Config, name: str) -> Any:
    """Return the value of the section of that name."""
    head, _, policy = name.partition(".")
    return config.options[policy] if policy else getattr(config, head)


def _fault(sections: Mapping[str, DocNode], reason: str, section: str, path: Path) -> Fault:
    line = line_at(sections[section], path) if section in sections else 0
    return Fault(reason, joined(section, *path), line or None)
