"""Reads the pages that a walk will ask for next while it works on this one; the walk itself stays serial."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Protocol

from .walk import Page


class Read(Protocol):
    def __call__(self, skip: int, top: int) -> Page: ...


class Lookahead:
    """A walk's `fetch`: answers from pages asked for ahead, each overlapping the one before by one row.

    Args:
        read: sends one request; called on the threads of `pool`.
        pool: where reads run; all walks share one, so that together they stay within the connections.
        size: rows to ask for with the next page (`top`), at least 2.
        depth: pages kept in flight or waiting at the most.
        on_page: called when a page is handed to the walk.
    """

    def __init__(
        self,
        read: Read,
        pool: Executor,
        size: Callable[[], int],
        depth: Callable[[], int],
        on_page: Callable[[], None] = lambda: None,
    ) -> None:
        self._read = read
        self._pool = pool
        self._size = size
        self._depth = depth
        self._on_page = on_page
        self._queue: deque[tuple[int, int, Future[Page]]] = deque()
        self._total = 0

    def __call__(self, skip: int) -> Page:
        """The page at `skip`. Whatever was asked for ahead of another offset is thrown away."""
        if not self._queue or self._queue[0][0] != skip:
            self.close()
            self._ask(skip)
        top, future = self._queue[0][1:]
        self._fill()
        try:
            page = future.result()
        except BaseException:
            self.close()
            raise
        self._queue.popleft()
        self._on_page()
        self._total = page.total or 0
        full = len(page.rows) == top
        if full and not self._queue:
            self._ask_if_needed(skip + top - 1)
        self._fill()
        return page

    def prime(self, skip: int, patiently: bool = False) -> None:
        """Asks for the page at `skip` before the walk does; `patiently` waits for the answer, or its failure."""
        if not self._queue:
            self._ask(skip)
        if patiently:
            wait([self._queue[0][2]])

    def close(self) -> None:
        """Throws away what was asked for ahead."""
        for _, _, future in self._queue:
            future.cancel()
        self._queue.clear()

    def _fill(self) -> None:
        while self._queue and len(self._queue) < self._depth():
            skip, top, _ = self._queue[-1]
            if not self._ask_if_needed(skip + top - 1):
                return

    def _ask_if_needed(self, skip: int) -> bool:
        if skip >= self._total:
            return False
        self._ask(skip)
        return True

    def _ask(self, skip: int) -> None:
        top = self._size()
        self._queue.append((skip, top, self._pool.submit(self._read, skip, top)))
