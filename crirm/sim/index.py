"""Objects with ids and names: found by any unambiguous beginning of the id, names given out once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from grpclib import GRPCError
from grpclib.const import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


def quoted(text: str) -> str:
    """Return *text* as containerd's messages quote it."""
    return json.dumps(text, ensure_ascii=False)


class Index(Generic[T]):
    """Objects by id, in the order of their arrival, and the names reserved for them."""

    def __init__(self) -> None:
        self._by_id: dict[str, T] = {}
        self._id_by_name: dict[str, str] = {}
        self._name_by_id: dict[str, str] = {}

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, identity: str, name: str, item: T) -> None:
        """Add *item*; its *name* must have been checked with `refuse_taken`."""
        self._by_id[identity] = item
        self._id_by_name[name] = identity
        self._name_by_id[identity] = name

    def remove(self, identity: str) -> None:
        """Forget the object with this whole id, and release its name."""
        del self._by_id[identity]
        del self._id_by_name[self._name_by_id.pop(identity)]

    def refuse_taken(self, name: str, during: str) -> None:
        """Raise GRPCError if *name* belongs to an object that still exists."""
        owner = self._id_by_name.get(name)
        if owner is not None:
            message = f"{during}: name {quoted(name)} is reserved for {quoted(owner)}"
            raise GRPCError(Status.FAILED_PRECONDITION, message)

    def __getitem__(self, identity: str) -> T:
        """Return the object with this whole id, which must exist."""
        return self._by_id[identity]

    def get(self, prefix: str, during: str) -> T:
        """Return the one object whose id begins with *prefix*.

        Raises:
            GRPCError: NOT_FOUND where there is none; UNKNOWN for an empty or ambiguous prefix.
        """
        found = self.find(prefix, during)
        if found is None:
            raise GRPCError(Status.NOT_FOUND, f"{during}: not found")
        return found

    def find(self, prefix: str, during: str) -> T | None:
        """Return the one object whose id begins with *prefix*, or None where there is none.

        Raises:
            GRPCError: UNKNOWN for an empty or ambiguous prefix.
        """
        if (exact := self._by_id.get(prefix)) is not None:
            return exact
        if not prefix:
            _refuse(during, "prefix can't be empty")
        matches = [item for identity, item in self._by_id.items() if identity.startswith(prefix)]
        if len(matches) > 1:
            _refuse(during, f"multiple IDs found with provided prefix: {prefix}")
        return matches[0] if matches else None

    def whole_id(self, prefix: str) -> str:
        """Return the whole id that *prefix* abbreviates; *prefix* itself where it abbreviates none."""
        if prefix in self._by_id or not prefix:
            return prefix
        matches = [identity for identity in self._by_id if identity.startswith(prefix)]
        return matches[0] if len(matches) == 1 else prefix


def _refuse(during: str, reason: str) -> NoReturn:
    raise GRPCError(Status.UNKNOWN, f"{during}: {reason}")
