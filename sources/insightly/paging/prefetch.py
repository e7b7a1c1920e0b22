"""Requests the next pages of walks while they process earlier ones; each walk itself stays serial."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from itertools import islice
from math import inf
from threading import RLock
from typing import Protocol

from .walk import Page

PAGE_BYTES = 4_000_000
"""Pages that would grow past this request fewer records: an organisation in full can reach 100 kB."""
PAGES_TO_GROW = 100
PREFETCH_BYTES = 12_000_000
"""Pages requested and not yet read, in bytes. At 10 requests/s they last through the loading of a chunk, which takes
less than a second; as Python objects they take about five times as much memory."""


class Read(Protocol):
    def __call__(self, skip: int, top: int) -> Page: ...


class PrefetchWindow:
    """The pages that all walks of a run may request ahead, the first walk first.

    Args:
        pool: where requests run.
        connections: requests in flight at most. Twice as many pages may be requested and not yet read: a kill loses
            them.
        max_bytes: bytes of these pages at most.
    """

    def __init__(self, pool: Executor, connections: int, max_bytes: int = PREFETCH_BYTES) -> None:
        self.pool, self.lock = pool, RLock()
        self._connections, self._max_bytes = connections, max_bytes
        self._readers: list[PageReader] = []
        self._filling = False

    def add(self, page_reader: "PageReader") -> None:
        self._readers.append(page_reader)

    def fill(self) -> None:
        """Requests the pages there is room for. Called when a page arrives, and when one is read."""
        with self.lock:
            if self._filling:
                return
            self._filling = True
            try:
                for page_reader in self._readers:
                    while page_reader.has_more() and self._has_room(page_reader):
                        page_reader.request_page()
            finally:
                self._filling = False

    def _has_room(self, page_reader: "PageReader") -> bool:
        if sum(each.in_flight() for each in self._readers) >= self._connections:
            return False
        # The next pages of other walks take half of the room at most: those of many would delay the current walk.
        queued = [each.queued(without_next=each is not page_reader) for each in self._readers]
        pages = sum(pages for pages, _ in queued)
        if pages >= self._connections and sum(each.pages() for each in self._readers) >= 2 * self._connections:
            return False
        return sum(size for _, size in queued) + page_reader.page_bytes() <= self._max_bytes


@dataclass(frozen=True, slots=True)
class _RequestedPage:
    skip: int
    top: int
    page: "Future[Page]"


class PageReader:
    """Reads the pages of one list for a walk, from those requested ahead; each overlaps the one before by one row.

    Args:
        read: sends one request, which may end up with a smaller page; called on the threads of the pool.
        prefetch_window: what this walk shares with the others.
        max_rows: rows to request per page (`top`), at least 2.
        may_prefetch: whether pages may be requested before the walk needs them.
        on_page: called when the walk gets a page.

    Attributes:
        max_rows: rows to request per page. It goes down to the size of a page that could not be read in full size, and
            up again after `PAGES_TO_GROW` pages, for the service may only have been busy. It goes up sooner from a
            small size: the last attempt requests the smallest page, without a try of the sizes between.
    """

    def __init__(
        self,
        read: Read,
        prefetch_window: PrefetchWindow,
        max_rows: int,
        may_prefetch: Callable[[], bool] = lambda: True,
        on_page: Callable[[], None] = lambda: None,
    ) -> None:
        self._read, self._window, self.max_rows = read, prefetch_window, max_rows
        self._full_size, self._pages_to_grow = max_rows, PAGES_TO_GROW
        self._may_prefetch, self._on_page = may_prefetch, on_page
        self._queue: deque[_RequestedPage] = deque()
        self._start = self._read_to = 0
        self._is_known = False
        self._next: int | None = None
        self._in_sequence = False
        self._total = 0
        self._end = inf
        self._row_bytes = 0.0
        prefetch_window.add(self)

    def __call__(self, skip: int) -> Page:
        """The page at `skip`. Pages requested ahead for another offset are discarded.

        After a page that a walk resumes at, or steps back to, nothing is requested until the walk goes on from it: if
        rows were deleted meanwhile, it continues at another offset, and the pages would be wasted.
        """
        with self._window.lock:
            if not self._queue or self._queue[0].skip != skip:
                self._restart(skip)
            requested = self._queue[0]
        self._window.fill()
        try:
            page = requested.page.result()
        except BaseException:
            self.close()
            raise
        with self._window.lock:
            self._queue.popleft()
            self._read_to = skip + len(page.rows)
            self._grow()
        self._on_page()
        self._window.fill()
        return page

    @property
    def total(self) -> int | None:
        """Rows of the list from the first requested offset on; None before the first page."""
        return max(int(min(self._total, self._end)) - self._start, 0) if self._is_known else None

    @property
    def rows_to_go(self) -> int:
        """Rows that the walk has not got yet, as far as is known."""
        return max(int(min(self._total, self._end)) - self._read_to, 0)

    @property
    def pages_to_go(self) -> int | None:
        """Pages that the walk has not got yet; None before the first one."""
        return -(-self.rows_to_go // (self._top() - 1)) if self._is_known else None

    @property
    def awaits_page(self) -> bool:
        """Whether the next page has not arrived yet."""
        with self._window.lock:
            return not (self._queue and self._queue[0].page.done())

    def prime(self, skip: int, patiently: bool = False) -> None:
        """Requests the page at `skip` before the walk does; `patiently` waits until it arrives or fails."""
        with self._window.lock:
            if not self._queue:
                self._restart(skip)
            first = self._queue[0].page
        if patiently:
            wait([first])

    def set_max_rows(self, rows: int) -> None:
        """Requests `rows` per page from now on, and more after a while."""
        self.max_rows, self._pages_to_grow = rows, min(rows, PAGES_TO_GROW)

    def close(self) -> None:
        """Discards the pages requested ahead, and requests no more until the walk goes on."""
        with self._window.lock:
            self._next = None
            for requested in self._queue:
                requested.page.cancel()
            self._queue.clear()

    def request_page(self) -> None:
        """Requests the next page."""
        assert self._next is not None
        skip, top = self._next, self._top()
        self._next = skip + top - 1
        page = self._window.pool.submit(self._read, skip, top)
        self._queue.append(_RequestedPage(skip, top, page))
        # A callback that knows more than the reader would keep page and future alive until the garbage collector runs.
        page.add_done_callback(self._arrived)

    def has_more(self) -> bool:
        """True while there is a page to request, as far as is known."""
        end = min(self._total, self._end)
        return self._next is not None and self._in_sequence and self._next < end and self._may_prefetch()

    def pages(self) -> int:
        return len(self._queue)

    def in_flight(self) -> int:
        return sum(not requested.page.done() for requested in self._queue)

    def queued(self, *, without_next: bool) -> tuple[int, float]:
        """Pages and bytes requested and not yet read, all of them or without the next page."""
        tops = [requested.top for requested in islice(self._queue, int(without_next), None)]
        return len(tops), sum(tops) * self._row_bytes

    def page_bytes(self) -> float:
        """Bytes of the next page, estimated from the last one."""
        return self._top() * self._row_bytes

    def _restart(self, skip: int) -> None:
        self._in_sequence = skip in (0, self._next)
        self.close()
        self._next = skip
        if not self._is_known:
            self._start = self._read_to = skip
        self.request_page()

    def _top(self) -> int:
        return max(2, min(self.max_rows, int(PAGE_BYTES / max(self._row_bytes, 1.0))))

    def _arrived(self, page: "Future[Page]") -> None:
        with self._window.lock:
            requested = next((requested for requested in self._queue if requested.page is page), None)
            if page.cancelled() or requested is None:
                return
            self._is_known = True
            if page.exception() is not None:
                self._next = None
                return
            rows = len(page.result().rows)
            end = requested.skip + rows
            self._total = page.result().total or 0
            self._adopt_size(page)
            self._row_bytes = page.result().size / max(rows, 1)
            # Whatever the total says, a list ends at a short page, unless a full one lies behind it.
            if rows < page.result().top:
                self._end = min(self._end, end)
            elif end > self._end:
                self._end = inf
        self._window.fill()

    def _grow(self) -> None:
        self._pages_to_grow -= 1
        if self._pages_to_grow == 0:
            self.set_max_rows(min(2 * self.max_rows, self._full_size))

    def _adopt_size(self, page: "Future[Page]") -> None:
        """Continues with the size of a page smaller than requested, and discards the pages requested after it."""
        at, requested = next((at, each) for at, each in enumerate(self._queue) if each.page is page)
        top = page.result().top
        if top >= requested.top:
            return
        self.set_max_rows(min(self.max_rows, top))
        if top >= requested.top // 2:
            # Larger pages have just failed.
            self._pages_to_grow = PAGES_TO_GROW
        while len(self._queue) > at + 1:
            self._queue.pop().page.cancel()
        self._next = requested.skip + top - 1
