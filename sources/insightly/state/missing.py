"""The ids in the destination that a full read did not meet."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any


class MissingIds:
    """The ids held that a walk over everything comes past without meeting them.

    Args:
        known: the ids held when the run began, in ascending order.
        last_id: the last id that the walk met in earlier runs, None where it begins.
        ids: those it missed in earlier runs.
    """

    def __init__(self, known: Sequence[int], last_id: Any, ids: Iterable[int]) -> None:
        self._known, self._ids = known, list(ids)
        self._at = 0 if last_id is None else bisect_right(known, last_id)
        self._met: set[Any] = set()
        self._whole = False

    def meet(self, ids: Iterable[Any], last_id: Any) -> None:
        """Takes the ids of a step; one without `last_id` is of a list that is read whole, from its first row on."""
        if last_id is None and not self._whole:
            self._whole, self._at, self._ids = True, 0, []
        self._met.update(ids)

    def holds(self, id_: Any) -> bool:
        """Whether an id was held when the run began."""
        at = bisect_left(self._known, id_) if type(id_) is int else len(self._known)
        return at < len(self._known) and self._known[at] == id_

    def up_to(self, last_id: Any) -> list[int]:
        """Those missed so far, once the walk has come to `last_id`; None: to its end."""
        until = len(self._known) if last_id is None else bisect_right(self._known, last_id)
        self._ids += [id_ for id_ in self._known[self._at : until] if id_ not in self._met]
        self._at = max(self._at, until)
        return list(self._ids)
