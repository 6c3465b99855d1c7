"""A document split into sections, nested or dotted.

A section may be nested in its parent or have a dotted name, at any level: ``policy: {memtier: {PinCPU: true}}``,
``policy.memtier: {PinCPU: true}`` and ``policy.memtier.PinCPU: true`` are equal. In a ConfigMap each top-level section
is a YAML string.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.config.faults import Fault, joined, kind_of, nearest
from crirm.config.nodes import DocNode, node_of, plain
from crirm.config.schema import SECTIONS, children_of, homes_of
from crirm.config.yaml_text import parse_yaml
from crirm.errors import quoted


@attrs.frozen
class Sorted:
    """The sections of a document by name, each a mapping without its subsections; and warnings."""

    sections: Mapping[str, DocNode]
    remarks: tuple[Fault, ...]


def sort_sections(root: DocNode, faults: list[Fault], *, config_map: bool = False) -> Sorted:
    """Split *root* into sections.

    Args:
        root: of a document, or the data of a ConfigMap.
        faults: gets what belongs to no section.
        config_map: whether *root* is the data of a ConfigMap.
    """
    sorter = _Sorter(faults)
    if not isinstance(root.value, dict):
        faults.append(Fault(f"expected sections such as policy, found {kind_of(plain(root))}", line=root.line))
        return Sorted({}, ())
    if _is_manifest(root):
        root, config_map = root.entries.get("data", node_of({}, root.line)), True
        sorter.check_mapping("data", root)
    entries = {key: sorter.unpacked(key, node, config_map=config_map) for key, node in root.entries.items()}
    sorter.sort("", entries, root.line)
    return Sorted(sorter.sections, tuple(sorter.remarks))


def _is_manifest(root: DocNode) -> bool:
    kind = root.entries.get("kind")
    return kind is not None and kind.value == "ConfigMap"


class _Sorter:
    def __init__(self, faults: list[Fault]) -> None:
        self.sections: dict[str, DocNode] = {}
        self.remarks: list[Fault] = []
        self._faults = faults

    def sort(self, name: str, entries: dict[str, DocNode], line: int) -> None:
        """Split the *entries* of the section *name*, which is empty for the top of the document, from *line* on."""
        own: dict[str, DocNode] = {}
        children: dict[str, dict[str, DocNode]] = {}
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

    def _add(self, name: str, entries: dict[str, DocNode], more: Mapping[str, DocNode]) -> None:
        for key, node in more.items():
            if key in entries:
                first = entries[key].line
                reason = f"given twice, nested and dotted, first on line {first}; keep one"
                self._faults.append(Fault(reason, joined(name, key), node.line))
            entries[key] = node

    def unpacked(self, key: str, node: DocNode, *, config_map: bool) -> DocNode:
        """Return the parsed string of a top-level section; anything else unchanged."""
        if not isinstance(node.value, str) or not (config_map or key in children_of("")):
            return node
        document = parse_yaml(node.value, self._faults, first_line=node.text_line, path=(key,))
        self.remarks += document.remarks
        return DocNode(None, node.line) if document.root is None else document.root.on(node.line)

    def check_mapping(self, name: str, node: DocNode) -> None:
        """Report a *node* that is neither a mapping nor empty."""
        if node.value is not None and not isinstance(node.value, dict):
            reason = f"expected a mapping, found {kind_of(plain(node))}"
            self._faults.append(Fault(reason, joined(name), node.line))

    def _entries(self, name: str, node: DocNode) -> Mapping[str, DocNode]:
        self.check_mapping(name, node)
        return node.entries

    def _keep(self, name: str, own: dict[str, DocNode], line: int) -> None:
        if name in SECTIONS:
            self.sections[name] = node_of(own, line)
            return
        for key, node in own.items():
            path = joined(name, key) if name else joined(key)
            self._faults.append(Fault(unknown_key(key, name), path, node.line))


def _below(name: str, head: str) -> str:
    return f"{name}.{head}" if name else head


def unknown_key(key: str, section: str) -> str:
    """Return the fault of an unknown *key* in the section of that name, with a suggestion."""
    options = SECTIONS[section].options if section in SECTIONS else ()
    homes = homes_of(key)
    if homes:
        hint = f"; it is an option of {' and '.join(homes)}"
    else:
        hint = nearest(key, (*(option.key for option in options), *children_of(section)))
    return f"unknown {'option' if section else 'section'} {quoted(key)}{hint}"
