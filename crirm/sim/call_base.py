"""The base of all handlers of the runtime service."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

from crirm.cri.proto.runtime.v1 import RuntimeServiceBase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crirm.sim.model import Model
    from crirm.sim.settings import SimSettings
    from crirm.sim.tokens import Tokens

T = TypeVar("T")


class CallBase(RuntimeServiceBase):
    """The handlers' view of the runtime; *package* is the protobuf package they are called under."""

    def __init__(self, model: Model, settings: SimSettings, tokens: Tokens, package: str) -> None:
        self.model = model
        self.settings = settings
        self.tokens = tokens
        self.package = package

    def chunks(self, items: Iterable[T]) -> Iterator[list[T]]:
        """Return *items* in one list per message of the answer to a ``Stream*`` call."""
        return chunks(items, self.settings.stream_chunk)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Return *items* in lists of *size*, the last one maybe shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
