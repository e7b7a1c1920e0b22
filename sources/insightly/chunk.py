"""The chunk of a run: what is read before it is committed, so the most that a kill can cost."""

import time

from .api.quota import CallBudget

SECONDS = 30.0
SHARE, MIN_CALLS = 0.01, 50
"""Calls of a chunk by default: this share of the calls left today, and at least so many."""
SIZE = 64_000_000
"""Bytes of the rows of a chunk: the memory that loading takes grows with them."""
CALLS_PER_CALL = 8
"""While so many calls are loaded, the limit of calls a second lets one more be answered."""
AHEAD = 15
"""Pages of 800 kB that are requested ahead of the walk at most: a longer load would keep the limit waiting."""
LAST_CALLS = 8
"""Calls that are worth a last chunk of their own: one more load package takes longer than to load fewer."""
SLOW = 5.0
"""Seconds of a load after which the destination takes few large packages faster than many small ones."""


class Chunk:
    """Counts what was read since the last commit.

    Args:
        budget: the calls of the run.
        max_calls: calls of a chunk; None for a share of those left today.
        rate: calls a second.
        endless: whether nothing is committed before the end, as when the source is used alone.

    Attributes:
        calls_done: the calls of the run whose responses are processed.
        load_seconds: how long the load of the chunk before took.
    """

    def __init__(self, budget: CallBudget, max_calls: int | None, rate: float, endless: bool) -> None:
        self.endless, self.calls_done, self.load_seconds = endless, 0, 0.0
        self._budget, self._chunk_calls, self._rate = budget, max_calls, rate
        self.begin()

    def begin(self) -> None:
        self._calls = self._size = 0
        self._ended = False
        self._started = time.monotonic()

    def add(self, calls: int) -> None:
        """Counts calls whose responses are processed."""
        self._calls += calls
        self.calls_done += calls

    def add_rows(self, size: int) -> None:
        """Counts rows that are to be loaded, by their `size` in bytes."""
        self._size += size

    @property
    def full(self) -> bool:
        """True when what was read is to be committed before more is read."""
        if self.endless:
            return False
        is_late = time.monotonic() - self._started > SECONDS
        return self._ended or self._calls >= self._max_calls or self._size >= SIZE or is_late

    @property
    def room(self) -> int | None:
        """How many calls the chunk still has room for, at least `MIN_CALLS`; None for any number."""
        return None if self.endless else max(int(min(self._max_calls, SECONDS * self._rate)) - self._calls, MIN_CALLS)

    def end_to_overlap(self, calls_to_go: int | None) -> None:
        """Ends the chunk of a run that waits for the limit of calls, so that its load overlaps with the next calls.

        The limit then never waits for a load, and the last rows are loaded soon after they arrive. Elsewhere, one more
        load package takes longer.
        """
        waits = self._calls > (time.monotonic() - self._started) * self._rate / 2
        if not waits or self.load_seconds > SLOW or calls_to_go is None or calls_to_go < LAST_CALLS:
            return
        if self._calls >= CALLS_PER_CALL * min(calls_to_go, AHEAD):
            self._ended = True

    @property
    def _max_calls(self) -> float:
        return self._chunk_calls or max(SHARE * (self._budget.left() or 0), MIN_CALLS)
