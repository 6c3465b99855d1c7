"""A parsed document: values with their lines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from crirm.config.faults import Fault, ValueFault
from crirm.config.scalars import Scalar

MAX_BYTES = 1 << 20
"""Largest file; also what Kubernetes lets a ConfigMap hold."""
MAX_DEPTH = 64
"""Levels of nesting; the schema needs ten. Bounded so that code may recurse through a document."""
MAX_NODES = 10_000
"""Values in a document with all aliases expanded; a real one has hundreds."""

Value = Scalar | list["DocNode"] | dict[str, "DocNode"]


@attrs.frozen(eq=False)
class DocNode:
    """One value; a value in a mapping has the line of its key. Made by `node_of`.

    Args:
        value: a scalar, a list or a mapping of nodes.
        line: counted from 1.
        text_line: for a string of several lines, the line of the first one.
        size: number of values, this one and all inside.
        depth: number of levels, this one and all inside.
    """

    value: Value
    line: int
    text_line: int = 0
    size: int = 1
    depth: int = 1

    @property
    def entries(self) -> Mapping[str, DocNode]:
        """The nodes of a mapping by key; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    def on(self, line: int) -> DocNode:
        """Return the same value on another *line*."""
        return DocNode(self.value, line, self.text_line, self.size, self.depth)


def node_of(value: Value, line: int, text_line: int = 0) -> DocNode:
    """Make a node.

    Raises:
        ValueFault: it is nested too deeply, or too large.
    """
    within: Collection[DocNode] = ()
    if isinstance(value, list | dict):
        within = value if isinstance(value, list) else value.values()
    depth = 1 + max((inner.depth for inner in within), default=0)
    size = 1 + sum(inner.size for inner in within)
    if depth > MAX_DEPTH:
        raise ValueFault(f"is nested more than {MAX_DEPTH} levels deep")
    if size > MAX_NODES:
        raise ValueFault(f"holds more than {MAX_NODES} values")
    return DocNode(value, line, text_line, size, depth)


@attrs.frozen
class Document:
    """The content of a file.

    Args:
        root: None if it is empty.
        remarks: warnings about it.
    """

    root: DocNode | None
    remarks: tuple[Fault, ...] = ()


def plain(node: DocNode) -> Any:
    """Return the value of *node* without lines."""
    match node.value:
        case dict():
            return {key: plain(inner) for key, inner in node.value.items()}
        case list():
            return [plain(inner) for inner in node.value]
        case _:
            return node.value


def line_at(node: DocNode, path: Sequence[str | int]) -> int:
    """Return the line of the value at *path* in *node*, or of its nearest parent; keys match in any case."""
    for part in path:
        match node.value:
            case list() if isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            case dict() if part in node.value:
                node = node.value[str(part)]
            case dict():
                folded = {key.casefold(): inner for key, inner in node.value.items()}
                node = folded.get(str(part).casefold(), node)
            case _:
                break
    return node.line
