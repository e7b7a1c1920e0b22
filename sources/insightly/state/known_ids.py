"""Which of many known ids were met. Pure logic."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


class KnownIds:
    """Known ids, and which of them a read has met. That takes a byte per id; a set would take a hundred.

    Args:
        ids: in ascending order.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids, self._met = ids, bytearray(len(ids))

    def __contains__(self, id_: Any) -> bool:
        return self._index(id_) is not None

    def meet(self, ids: Iterable[Any]) -> None:
        """Adds ids that were met, known or not."""
        for id_ in ids:
            if (index := self._index(id_)) is not None:
                self._met[index] = True

    def missing(self, start: int = 0, end: int | None = None) -> Iterator[int]:
        """The ids between two indexes that were not met."""
        return (id_ for id_, met in zip(self._ids[start:end], self._met[start:end], strict=True) if not met)

    def _index(self, id_: Any) -> int | None:
        at = bisect_left(self._ids, id_) if type(id_) is int else len(self._ids)
        return at if at < len(self._ids) and self._ids[at] == id_ else None
