"""YAML to nodes, with lines.

The parser's events are composed here rather than by PyYAML's composer, which does not report duplicate keys, loses
the lines of what an alias or ``<<`` repeats, and expands nested aliases without a limit.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from math import isfinite
from typing import Any, Final

import attrs
import yaml

from crirm.config.faults import Fault, ValueFault, joined
from crirm.config.nodes import MAX_DEPTH, MAX_NODES, DocNode, Document, Value, node_of
from crirm.config.scalars import Scalar, as_text, resolve
from crirm.errors import quoted

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX: Final = "tag:yaml.org,2002:"
_MERGE_KEY: Final = "<<"
_TEXT_TAGS: Final = frozenset((None, "!", f"{_PREFIX}str"))
_SCALAR_TAGS: Final[dict[str, tuple[type, ...]]] = {
    f"{_PREFIX}int": (int,),
    f"{_PREFIX}float": (float, int),
    f"{_PREFIX}bool": (bool,),
    f"{_PREFIX}null": (type(None),),
}
_COLLECTION_TAGS: Final = frozenset((None, "!", f"{_PREFIX}map", f"{_PREFIX}seq"))

_Path = tuple[str | int, ...]


class _Key(enum.Enum):
    """A key in a mapping that is not an ordinary key."""

    MERGE = enum.auto()
    WRONG = enum.auto()  # reported; its value is skipped


@attrs.define
class _Open:
    """A list or mapping that is being parsed."""

    line: int
    anchor: str | None
    path: _Path
    value: list[DocNode] | dict[str, DocNode]
    merged: list[DocNode] = attrs.Factory(list)
    key: str | _Key | None = None  # of a mapping: the key whose value is next; None: a key is next
    key_line: int = 0

    @property
    def next_path(self) -> _Path:
        """The path of the next value."""
        if isinstance(self.value, list):
            return (*self.path, len(self.value))
        return (*self.path, self.key) if isinstance(self.key, str) else self.path


class _Stop(Exception):  # noqa: N818  # no error of its own: the faults say why
    """Parsing has to stop."""


def parse_yaml(text: str, faults: list[Fault], *, first_line: int = 1, path: tuple[str, ...] = ()) -> Document:
    """Parse the first document of *text*.

    Args:
        text: YAML, or JSON.
        faults: gets what is wrong.
        first_line: the line of the file on which *text* starts.
        path: of *text* in the file.
    """
    reader = _Reader(faults, first_line, path)
    try:
        for event in _events(text, reader):
            reader.take(event)
    except _Stop:
        return Document(None)
    if reader.second_line is None:
        return Document(reader.root)
    remark = Fault(
        "ignored: another document begins here, and only the first one is read", joined(*path), reader.second_line
    )
    return Document(reader.root, (remark,))


def _events(text: str, reader: _Reader) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = reader.line_of(error.problem_mark) if error.problem_mark else None
        raise reader.stop(f"not valid YAML: {error.problem}", (), line) from None
    except yaml.YAMLError as error:
        raise reader.stop(f"not valid YAML: {' '.join(str(error).split())}", (), None) from None


class _Reader:
    """Composes events."""

    def __init__(self, faults: list[Fault], first_line: int, path: tuple[str, ...]) -> None:
        self.root: DocNode | None = None
        self.second_line: int | None = None
        self._documents = 0
        self._faults = faults
        self._first_line = first_line
        self._path = path
        self._open: list[_Open] = []
        self._anchors: dict[str, DocNode | None] = {}
        self._spent = 0

    def take(self, event: Any) -> None:
        """Process the next event.

        Raises:
            _Stop: parsing has to stop.
        """
        line = self.line_of(event.start_mark)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
            case yaml.DocumentEndEvent() | yaml.StreamStartEvent() | yaml.StreamEndEvent():
                pass
            case _ if self._documents > 1:
                self._take_second(event, line)
            case yaml.AliasEvent():
                self._add(self._aliased(event.anchor, line), line)
            case yaml.ScalarEvent():
                self._take_scalar(event, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._begin(event, line)
            case _:
                self._end()

    def line_of(self, mark: Any) -> int:
        """Return the line in the file for a parser's *mark*."""
        return int(mark.line) + self._first_line

    def stop(self, reason: str, path: _Path, line: int | None) -> _Stop:
        """Add a fault that ends parsing, and return the exception to raise."""
        self._fault(reason, path, line)
        return _Stop()

    def _fault(self, reason: str, path: _Path, line: int | None) -> None:
        self._faults.append(Fault(reason, joined(*self._path, *path), line))

    @property
    def _here(self) -> _Path:
        return self._open[-1].next_path if self._open else ()

    def _spend(self, count: int, line: int) -> None:
        self._spent += count
        if self._spent > MAX_NODES:
            raise self.stop(f"holds more than {MAX_NODES} values", (), line)

    def _node(self, value: Value, line: int, text_line: int = 0) -> DocNode:
        self._spend(1, line)
        try:
            return node_of(value, line, text_line)
        except ValueFault as fault:
            raise self.stop(str(fault), self._here, line) from None

    def _take_second(self, event: Any, line: int) -> None:
        empty = isinstance(event, yaml.ScalarEvent) and not event.value
        if self.second_line is None and not empty:
            self.second_line = line

    def _aliased(self, anchor: Any, line: int) -> DocNode:
        self._spend(1, line)
        node = self._anchors.get(anchor)
        if node is None:
            why = "refers to its own parent" if anchor in self._anchors else "has no anchor before it"
            raise self.stop(f"alias *{anchor} {why}", self._here, line)
        return node

    def _take_scalar(self, event: Any, line: int) -> None:
        plain = event.tag is None and event.implicit[0]
        node = self._node(self._scalar(event, line, plain=plain), line, line + (event.style in {"|", ">"}))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._add(node, line, merges=plain and event.value == _MERGE_KEY)

    def _scalar(self, event: Any, line: int, *, plain: bool) -> Scalar:
        if not plain and event.tag in _TEXT_TAGS:
            return str(event.value)
        value = resolve(event.value)
        if not plain and not isinstance(value, _SCALAR_TAGS.get(event.tag, ())):
            self._fault(f"tag {quoted(event.tag)} is not allowed here; remove it", self._here, line)
        if isinstance(value, float) and not isfinite(value):
            self._fault(f"no option takes the number {event.value}", self._here, line)
        return value

    def _begin(self, event: Any, line: int) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise self.stop(f"is nested more than {MAX_DEPTH} levels deep", self._here[:1], line)
        if event.tag not in _COLLECTION_TAGS:
            self._fault(f"tag {quoted(event.tag)} is not allowed here; remove it", self._here, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        empty: list[DocNode] | dict[str, DocNode] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Open(line, event.anchor, self._here, empty))

    def _end(self) -> None:
        done = self._open.pop()
        for merged in done.merged:
            self._spend(len(merged.entries), done.line)
            done.value = {**merged.entries, **done.value} if isinstance(done.value, dict) else done.value
        node = self._node(done.value, done.line)
        if done.anchor is not None:
            self._anchors[done.anchor] = node
        self._add(node, done.line)

    def _add(self, node: DocNode, line: int, *, merges: bool = False) -> None:
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        match top.value, top.key:
            case list() as items, _:
                items.append(node)
            case dict() as entries, None:
                top.key = _Key.MERGE if merges else self._key(node, top.path, entries, line)
                top.key_line = line
            case dict() as entries, key:
                top.key = None
                if key is _Key.MERGE:
                    self._merge(top, node)
                elif isinstance(key, str):
                    entries[key] = node.on(top.key_line)

    def _key(self, node: DocNode, path: _Path, entries: dict[str, DocNode], line: int) -> str | _Key:
        value = node.value
        if value is None or isinstance(value, list | dict):
            kind = "nothing" if value is None else "a list or a mapping"
            self._fault(f"expected a word as key, found {kind}", path, line)
            return _Key.WRONG
        key = as_text(value)
        if key in entries:
            self._fault(f"given twice, first on line {entries[key].line}; keep one", (*path, key), line)
            return _Key.WRONG
        return key

    def _merge(self, top: _Open, node: DocNode) -> None:
        sources = node.value if isinstance(node.value, list) else [node]
        if all(isinstance(source.value, dict) for source in sources):
            top.merged += sources
        else:
            self._fault("<< takes a mapping or a list of mappings", top.path, top.key_line)
