"""Reads the pages that walks will ask for next while they work on others; each walk itself stays serial."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from itertools import islice
from threading import RLock
from typing import Protocol

from ..errors import Unsorted
from .walk import Id, Key, Page, Step, identify, read_whole, walk

PAGE_BYTES = 4_000_000
"""Where pages would grow past this, fewer records are asked for: an organisation in full can reach 100 kB."""
AHEAD_BYTES = 12_000_000
"""What may be asked for and not yet walked. At 10 requests/s it lasts through the loading of a chunk, which takes less
than a second; as Python's objects it takes about five times as much memory."""


class Read(Protocol):
    def __call__(self, skip: int, top: int) -> Page: ...


class PrefetchWindow:
    """What all walks of a run may ask for before it is wanted, the first walk first.

    Args:
        pool: where reads run.
        connections: requests in flight at the most, and half of the pages asked for and not walked: what a kill loses.
        most: bytes of these pages at the most.
    """

    def __init__(self, pool: Executor, connections: int, most: int = AHEAD_BYTES) -> None:
        self.pool, self.lock = pool, RLock()
        self._connections, self._most = connections, most
        self._walks: list[PageReader] = []
        self._filling = False

    def add(self, page_reader: "PageReader") -> None:
        self._walks.append(page_reader)

    def fill(self) -> None:
        """Asks for what there is room for. Called when a page came, and when one was taken."""
        with self.lock:
            if self._filling:
                return
            self._filling = True
            try:
                for page_reader in self._walks:
                    while page_reader.has_more() and self._has_room(page_reader):
                        page_reader.ask()
            finally:
                self._filling = False

    def _has_room(self, page_reader: "PageReader") -> bool:
        if sum(each.in_flight() for each in self._walks) >= self._connections:
            return False
        # The next pages of other walks take half of the room at most: those of many would hold up the one at hand.
        held = [each.held(spared=each is not page_reader) for each in self._walks]
        pages = sum(pages for pages, _ in held)
        if pages >= self._connections and sum(each.pages() for each in self._walks) >= 2 * self._connections:
            return False
        return sum(size for _, size in held) + page_reader.page_weight() <= self._most


@dataclass(frozen=True, slots=True)
class _Asked:
    skip: int
    top: int
    answer: "Future[Page]"


class PageReader:
    """A walk's `fetch`: answers from pages asked for ahead, each overlapping the one before by one row.

    Args:
        read: sends one request; called on the threads of the pool.
        prefetch_window: what this walk shares with the others.
        most_rows: rows to ask for with a page (`top`), at least 2.
        eager: whether pages may be asked for that no walk asked for yet.
        on_page: called when a page is handed to the walk.
    """

    def __init__(
        self,
        read: Read,
        prefetch_window: PrefetchWindow,
        most_rows: int,
        eager: Callable[[], bool] = lambda: True,
        on_page: Callable[[Page], None] = lambda _: None,
    ) -> None:
        self._read, self._window, self._most_rows, self._eager, self._on_page = (
            read,
            prefetch_window,
            most_rows,
            eager,
            on_page,
        )
        self._queue: deque[_Asked] = deque()
        self._next: int | None = None
        self._sure = False
        self._total = 0
        self._row_weight = 0.0
        prefetch_window.add(self)

    def __call__(self, skip: int) -> Page:
        """The page at `skip`. Whatever was asked for ahead of another offset is thrown away.

        Behind a page that a walk resumes or steps back to nothing is asked for before the walk goes on from it: where
        rows went away meanwhile it begins elsewhere, and the pages would be lost.
        """
        with self._window.lock:
            if not self._queue or self._queue[0].skip != skip:
                self._restart(skip)
            asked = self._queue[0]
        self._window.fill()
        try:
            page = asked.answer.result()
        except BaseException:
            self.close()
            raise
        with self._window.lock:
            self._queue.popleft()
        self._on_page(page)
        self._window.fill()
        return page

    def prime(self, skip: int, patiently: bool = False) -> None:
        """Asks for the page at `skip` before the walk does; `patiently` waits for the answer, or its failure."""
        with self._window.lock:
            if not self._queue:
                self._restart(skip)
            first = self._queue[0].answer
        if patiently:
            wait([first])

    def close(self) -> None:
        """Throws away what was asked for ahead, and asks for no more until the walk goes on."""
        with self._window.lock:
            self._next = None
            for asked in self._queue:
                asked.answer.cancel()
            self._queue.clear()

    def ask(self) -> None:
        """Asks for the next page."""
        assert self._next is not None
        skip, top = self._next, self._top()
        self._next = skip + top - 1
        answer = self._window.pool.submit(self._read, skip, top)
        self._queue.append(_Asked(skip, top, answer))
        # Were it told of more than itself, page and future would keep each other alive until the collector comes by.
        answer.add_done_callback(self._came)

    def has_more(self) -> bool:
        """True while there is a page to ask for, as far as is known."""
        return self._next is not None and self._sure and self._next < self._total and self._eager()

    def pages(self) -> int:
        return len(self._queue)

    def in_flight(self) -> int:
        return sum(not asked.answer.done() for asked in self._queue)

    def held(self, *, spared: bool) -> tuple[int, float]:
        """Pages and bytes asked for and not yet taken, all of them or `spared` the next page."""
        tops = [asked.top for asked in islice(self._queue, int(spared), None)]
        return len(tops), sum(tops) * self._row_weight

    def page_weight(self) -> float:
        """Bytes of the next page, by the last one."""
        return self._top() * self._row_weight

    def _restart(self, skip: int) -> None:
        self._sure = skip in (0, self._next)
        self.close()
        self._next = skip
        self.ask()

    def _top(self) -> int:
        return max(2, min(self._most_rows, int(PAGE_BYTES / max(self._row_weight, 1.0))))

    def _came(self, answer: "Future[Page]") -> None:
        with self._window.lock:
            if answer.cancelled() or all(asked.answer is not answer for asked in self._queue):
                return
            if answer.exception() is not None:
                self._next = None
                return
            page = answer.result()
            self._total = page.total or 0
            self._row_weight = page.size / max(len(page.rows), 1)
        self._window.fill()


logger = logging.getLogger(__name__)


def read_list(fetch: PageReader, key: Key, skip: int = 0, last_id: Id = None) -> Iterator[Step]:
    """Walks a list from `skip` on; one that is not in the order of its ids is read whole instead."""
    kept: set[Id] = set()
    try:
        for step in walk(fetch, key, skip, last_id):
            kept.update(identify(row, key) for row in step.rows)
            yield step
    except Unsorted as error:
        logger.warning("%s; the list is read whole", error)
        fetch.close()
        yield from read_whole(fetch, key, kept)
