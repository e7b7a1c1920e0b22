"""The loaded ids that a full read does not meet, and how many of them are plausible."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from .known_ids import KnownIds

SMALL_TABLE = 50
"""A table of at most this many rows may lose any share of them."""


def is_plausible(gone: int, known: int, max_share: float) -> bool:
    """Whether `gone` of the `known` records can have been deleted, by the setting `max_deleted_share`."""
    return known <= SMALL_TABLE or gone / known <= max_share


class MissingIds:
    """The loaded ids that a full walk passes without meeting them.

    Args:
        known: the ids loaded when the run started, in ascending order.
        last_id: the last id that the walk met in earlier runs, None where it starts.
        ids: those it missed in earlier runs.
    """

    def __init__(self, known: Sequence[int], last_id: Any, ids: Iterable[int]) -> None:
        self._known, self._missing = known, list(ids)
        self._at = 0 if last_id is None else bisect_right(known, last_id)
        self._ids = KnownIds(known)
        self._in_passes = False

    def meet(self, ids: Iterable[Any], last_id: Any) -> None:
        """Adds the ids of a step; a step without `last_id` is of a list read in full passes, from its first row on."""
        if last_id is None and not self._in_passes:
            self._in_passes, self._at, self._missing = True, 0, []
        self._ids.meet(ids)

    def was_loaded(self, id_: Any) -> bool:
        """Whether an id was loaded when the run started."""
        return id_ in self._ids

    def up_to(self, last_id: Any) -> list[int]:
        """The ids missed so far, once the walk has come to `last_id`; None: to its end."""
        until = len(self._known) if last_id is None else bisect_right(self._known, last_id)
        self._missing += self._ids.missing(self._at, until)
        self._at = max(self._at, until)
        return list(self._missing)
