"""A document sorted into sections, however their names are spelled.

A section may be nested in that above it or have a dotted name, at any level: ``policy: {memtier: {PinCPU: true}}``,
``policy.memtier: {PinCPU: true}`` and ``policy.memtier.PinCPU: true`` say the same. In a ConfigMap each section at the
top is a text of its own, in YAML.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.config.faults import Fault, clipped, joined, kind_of, nearest
from crirm.config.nodes import Node, node_of, plain
from crirm.config.schema import SECTIONS, children_of, home_of
from crirm.config.yaml_text import parse_yaml


@attrs.frozen
class Sorted:
    """The sections of a document by name, each a mapping without those below it; and what one should know."""

    sections: Mapping[str, Node]
    remarks: tuple[Fault, ...]


def sort_sections(root: Node, faults: list[Fault]) -> Sorted:
    """Sort what *root* holds into sections; what belongs to none is added to *faults*."""
    sorter = _Sorter(faults)
    if not isinstance(root.value, dict):
        faults.append(Fault(f"{kind_of(plain(root))} stands where sections are due, such as policy", line=root.line))
    elif _is_manifest(root):
        sorter.sort("", _data_of(root, faults), root.line)
    else:
        sorter.sort("", dict(root.entries), root.line)
    return Sorted(sorter.sections, tuple(sorter.remarks))


def _is_manifest(root: Node) -> bool:
    kind = root.entries.get("kind")
    return kind is not None and kind.value == "ConfigMap"


def _data_of(root: Node, faults: list[Fault]) -> dict[str, Node]:
    data = root.entries.get("data")
    if data is None or data.value is None:
        return {}
    if not isinstance(data.value, dict):
        faults.append(Fault(f"{kind_of(plain(data))} stands where a mapping is due", "$.data", data.line))
    return dict(data.entries)


class _Sorter:
    def __init__(self, faults: list[Fault]) -> None:
        self.sections: dict[str, Node] = {}
        self.remarks: list[Fault] = []
        self._faults = faults

    def sort(self, name: str, entries: dict[str, Node], line: int) -> None:
        """Sort the *entries* of the section *name*, which is empty for the top of the document, from *line* on."""
        own: dict[str, Node] = {}
        children: dict[str, dict[str, Node]] = {}
        lines: dict[str, int] = {}
        known = children_of(name)
        for key, node in entries.items():
            head, dot, rest = key.partition(".")
            if head in known:
                lines.setdefault(head, node.line)
                inner = {rest: node} if dot else self._entries(_below(name, head), node)
                self._add(_below(name, head), children.setdefault(head, {}), inner)
            else:
                own[key] = node
        self._keep(name, own, line)
        for head, inner in children.items():
            self.sort(_below(name, head), inner, lines[head])

    def _add(self, name: str, entries: dict[str, Node], more: Mapping[str, Node]) -> None:
        for key, node in more.items():
            if key in entries:
                first = entries[key].line
                reason = f"given twice, nested and with a dotted name, first on line {first}; keep one"
                self._faults.append(Fault(reason, joined(name, key), node.line))
            entries[key] = node

    def _entries(self, name: str, node: Node) -> Mapping[str, Node]:
        """Return what the section *name* holds."""
        if isinstance(node.value, str) and "." not in name:
            document = parse_yaml(node.value, self._faults, first_line=node.text_line, path=(name,))
            self.remarks += document.remarks
            node = document.root or attrs.evolve(node, value=None)
        if node.value is not None and not isinstance(node.value, dict):
            reason = f"{kind_of(plain(node))} stands where a mapping is due"
            self._faults.append(Fault(reason, joined(name), node.line))
        return node.entries

    def _keep(self, name: str, own: dict[str, Node], line: int) -> None:
        if name in SECTIONS:
            self.sections[name] = node_of(own, line)
            return
        for key, node in own.items():
            path = joined(name, key) if name else joined(key)
            self._faults.append(Fault(unknown_key(key, name), path, node.line))


def _below(name: str, head: str) -> str:
    return f"{name}.{head}" if name else head


def unknown_key(key: str, section: str) -> str:
    """Return what is wrong with a *key* that the section of that name does not have, and what may have been meant."""
    options = SECTIONS[section].options if section in SECTIONS else ()
    near = nearest(key, (*(option.key for option in options), *children_of(section)))
    home = home_of(key)
    if not near and home is not None:
        near = f"; it is an option of {home}"
    return f"there is no {'option' if section else 'section'} {clipped(key)}{near}"
