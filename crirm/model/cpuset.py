"""Sets of CPUs and of NUMA nodes.

Both are one integer used as a bit mask, so that set algebra on a 1024-CPU machine is a single machine-word loop
inside the interpreter. `CPUSet` and `NodeSet` behave alike but never mix: ``cpus | nodes`` is refused by mypy and at
run time, because nearly every placement bug of this kind of daemon is a node number used as a CPU number.

``<``, ``<=``, ``>`` and ``>=`` compare by inclusion, as Python's own sets do, so ``sorted()`` over sets means
nothing; sort by `lowest` or by `mask`.
"""

from __future__ import annotations

import re
from itertools import compress, count
from typing import TYPE_CHECKING, ClassVar, Final, Self

from crirm.errors import CrirmError, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_ID = 65535
"""Largest number accepted from text: far above what Linux supports, low enough that a typo costs no memory."""

MAX_CHARACTERS = 262144
"""Of a list; one of every other number up to `MAX_ID` has 190,000."""

MAX_STRIDES = 256
"""Ranges with USED/GROUP in one list; they take longer than plain ones, and real lists have few."""

_DIGITS = 20  # of one number
_ITEM = re.compile(r"\s*(\d+)(?:-(\d+)(?::(\d+)/(\d+))?)?\s*", re.ASCII)
_new = object.__new__
_FEW = 16
_DIGIT_VALUES = bytes.maketrans(b"01", b"\0\1")


class ListFormatError(CrirmError, ValueError):
    """A text is not a list of CPUs or NUMA nodes in Linux list format."""


class IdSet:
    """An immutable set of small numbers; use `CPUSet` or `NodeSet`, which name what is numbered."""

    __slots__ = ("_mask",)

    noun: ClassVar[str] = "number"

    _mask: int

    def __init__(self, ids: Iterable[int] = ()) -> None:
        mask = 0
        for number in ids:
            mask |= 1 << number
        self._mask = mask

    @classmethod
    def of(cls, *ids: int) -> Self:
        """Return the set of the numbers *ids*."""
        return cls(ids)

    @classmethod
    def from_mask(cls, mask: int) -> Self:
        """Return the set whose members are the bits set in *mask*, which must not be negative."""
        if mask < 0:
            msg = f"a {cls.noun} mask cannot be negative: {mask}"
            raise ValueError(msg)
        result = _new(cls)
        result._mask = mask
        return result

    @classmethod
    def union(cls, sets: Iterable[Self]) -> Self:
        """Return the union of *sets*; the empty set for none."""
        mask = 0
        for one in sets:
            mask |= one._mask
        return cls.from_mask(mask)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the Linux list format.

        Args:
            text: numbers and ranges separated by commas, such as ``0-3,8``; a range may take the first *used* of every
                *group* members, as in ``0-10:2/4`` (0, 1, 4, 5, 8, 9). Blanks around items and an empty text are fine.

        Raises:
            ListFormatError: which item is wrong, where it stands and how to write it; or the list is too long.

        Source: Linux Documentation/admin-guide/kernel-parameters.rst, "cpu lists"; cpuset(7), list format.
        """
        if len(text) > MAX_CHARACTERS:
            msg = f"{cls.noun} list: has {len(text)} characters, the limit is {MAX_CHARACTERS}; join numbers to ranges"
            raise ListFormatError(msg)
        ranges, strides, start = list[tuple[int, int]](), set[_Stride](), 0
        for item in text.split(",") if text and not text.isspace() else ():
            match _read_item(cls, item, text, start):
                case (first, last):
                    ranges.append((first, last))
                case stride:
                    strides.add(stride)
            if len(strides) > MAX_STRIDES:
                raise _fault(cls, text, start, item, f"exceeds the limit of {MAX_STRIDES} USED/GROUP items")
            start += len(item) + 1
        return cls.from_mask(_joined(ranges) | _all_strides(strides))

    @property
    def mask(self) -> int:
        """The members as bits of one integer."""
        return self._mask

    @property
    def lowest(self) -> int:
        """The smallest member; the set must not be empty."""
        if not self._mask:
            msg = f"an empty {self.noun} set has no lowest member"
            raise ValueError(msg)
        return (self._mask & -self._mask).bit_length() - 1

    @property
    def highest(self) -> int:
        """The largest member; the set must not be empty."""
        if not self._mask:
            msg = f"an empty {self.noun} set has no highest member"
            raise ValueError(msg)
        return self._mask.bit_length() - 1

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the first and last member of every unbroken run, in ascending order."""
        mask, base = self._mask, 0
        while mask:
            skip = (mask & -mask).bit_length() - 1
            mask >>= skip
            length = (~mask & (mask + 1)).bit_length() - 1
            yield base + skip, base + skip + length - 1
            mask >>= length
            base += skip + length

    def isdisjoint(self, other: Self) -> bool:
        """Tell whether the two sets have no member in common."""
        if other.__class__ is not self.__class__:
            msg = f"a {self.noun} set and a {type(other).__name__} cannot be compared"
            raise TypeError(msg)
        return not self._mask & other._mask

    def __or__(self, other: Self) -> Self:
        if other.__class__ is not self.__class__:
            return NotImplemented
        result = _new(self.__class__)
        result._mask = self._mask | other._mask
        return result

    def __and__(self, other: Self) -> Self:
        if other.__class__ is not self.__class__:
            return NotImplemented
        result = _new(self.__class__)
        result._mask = self._mask & other._mask
        return result

    def __sub__(self, other: Self) -> Self:
        if other.__class__ is not self.__class__:
            return NotImplemented
        result = _new(self.__class__)
        result._mask = self._mask & ~other._mask
        return result

    def __xor__(self, other: Self) -> Self:
        if other.__class__ is not self.__class__:
            return NotImplemented
        result = _new(self.__class__)
        result._mask = self._mask ^ other._mask
        return result

    def __le__(self, other: Self) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return not self._mask & ~other._mask

    def __lt__(self, other: Self) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self._mask != other._mask and not self._mask & ~other._mask

    def __ge__(self, other: Self) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return not other._mask & ~self._mask

    def __gt__(self, other: Self) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self._mask != other._mask and not other._mask & ~self._mask

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdSet) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._mask == other._mask

    def __hash__(self) -> int:
        return hash(self._mask)

    def __len__(self) -> int:
        return self._mask.bit_count()

    def __bool__(self) -> bool:
        return self._mask != 0

    def __contains__(self, number: int) -> bool:
        return number >= 0 and self._mask >> number & 1 == 1

    def __iter__(self) -> Iterator[int]:
        # Picking bit by bit costs the mask's length per member, reading all digits costs it once; both are measured.
        if self._mask.bit_count() <= _FEW:
            return _bits(self._mask)
        digits = bin(self._mask)[:1:-1].encode().translate(_DIGIT_VALUES)
        return compress(count(), digits)

    def __str__(self) -> str:
        return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in self.runs())

    def __repr__(self) -> str:
        return f"{type(self).__name__}.parse({str(self)!r})"


class CPUSet(IdSet):
    """An immutable set of logical CPUs, by kernel number."""

    __slots__ = ()

    noun = "CPU"


class NodeSet(IdSet):
    """An immutable set of NUMA nodes, by kernel number."""

    __slots__ = ()

    noun = "NUMA node"


NO_CPUS: Final = CPUSet()
NO_NODES: Final = NodeSet()


def _bits(mask: int) -> Iterator[int]:
    while mask:
        bit = mask & -mask
        yield bit.bit_length() - 1
        mask ^= bit


_Stride = tuple[int, int, int, int]
"""First and last member of a range, and how many of every so many count."""


def _read_item(kind: type[IdSet], item: str, text: str, start: int) -> tuple[int, int] | _Stride:
    """Return the range that an *item* of a list stands for; it begins at character *start* of *text*."""
    found = _ITEM.fullmatch(item)
    if found is None:
        fault = f"is not a {kind.noun} number or range" if item.strip() else "is empty"
        raise _fault(kind, text, start, item, f"{fault}; write numbers and ranges such as 0-3,8")
    digits = found.groups()
    if any(one is not None and len(one) > _DIGITS for one in digits):  # large numbers take long to read, too
        raise _fault(kind, text, start, item, f"has a number above {MAX_ID}, the largest {kind.noun} number")
    first, last, used, group = (None if one is None else int(one) for one in digits)
    assert first is not None  # noqa: S101 - the expression has no match without it
    last = first if last is None else last
    if last < first:
        raise _fault(kind, text, start, item, f"runs backwards; write {last}-{first}")
    if last > MAX_ID:
        raise _fault(kind, text, start, item, f"is above {MAX_ID}, the largest {kind.noun} number")
    if used is None or group is None:
        return first, last
    if not 1 <= used <= group:
        raise _fault(
            kind, text, start, item, "is not a valid part of each group; write USED/GROUP with 1 <= USED <= GROUP"
        )
    return (first, last) if used == group else (first, last, used, group)


def _joined(ranges: list[tuple[int, int]]) -> int:
    """Return the bits of all *ranges*, in time that grows with their number and, separately, with the mask's length.

    To set the bits of one range after another in a whole mask would take the product of both.
    """
    edges: dict[int, int] = {}
    for first, last in ranges:
        edges[first] = edges.get(first, 0) + 1
        edges[last + 1] = edges.get(last + 1, 0) - 1
    digits, depth, at = list[str](), 0, 0
    for edge in sorted(edges):
        digits.append(("1" if depth else "0") * (edge - at))
        depth, at = depth + edges[edge], edge
    return int("".join(digits)[::-1] or "0", 2)


def _all_strides(strides: Iterable[_Stride]) -> int:
    mask = 0
    for first, last, used, group in strides:
        length = last - first + 1
        pattern, reach = (1 << min(used, length)) - 1, group
        while reach < length:  # doubled, since to set one group after another takes the square of their number
            pattern |= pattern << reach
            reach *= 2
        mask |= (pattern & (1 << length) - 1) << first
    return mask


def _fault(kind: type[IdSet], text: str, start: int, item: str, what: str) -> ListFormatError:
    where = f"{quoted(item.strip())} at character {start + 1}"
    return ListFormatError(f"{kind.noun} list {quoted(text.strip())}: {where} {what}")
