"""Finds which known ids a list lacks, and which of its ids are unknown, from few of its pages. Pure logic.

Lists ascend by id, so the id at offset k shows how many ids lie below it, and where that count differs from the known
one something was deleted or came. Pages are read on a fixed grid, none twice, and halving the stretches that differ
leads to the pages that do. Exact, unless a deletion and an unknown id cancel out inside a stretch that was not read.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..errors import Unsorted
from ..state.known_ids import KnownIds
from .walk import Page, Row, ascend, identify

NOWHERE = float("inf")
ReadPages = Callable[[Sequence[int]], Sequence[Page]]


@dataclass
class Differences:
    """`missing_ids`: of the `known` ids, those that a page which was read would show; `unknown`: rows of other ids.

    `listed` counts the rows that came, `pages` the answers.
    """

    known: int = 0
    listed: int = 0

    missing_ids: list[int] = field(default_factory=list)
    unknown: list[Row] = field(default_factory=list)
    pages: int = 0


@dataclass(frozen=True)
class _Span:
    """What one answer shows: at offset `start` begin the rows of all ids from `low` to `high`, up to before `end`."""

    start: int
    end: int
    low: float
    high: float


def grid(total: int, top: int) -> range:
    """The offsets of a list's pages; each overlaps the one before by one row, so no id falls between two.

    >>> grid(1000, 500), len(grid(10_000, 500)), list(grid(0, 500))
    (range(0, 999, 499), 21, [0])
    """
    return range(0, max(total - 1, 1), top - 1)


def probe(read: ReadPages, key: str, known: Sequence[int], top: int) -> Differences:
    """Compares a list with the ids known of it.

    Args:
        read: reads the pages at some offsets; it may do so at once.
        key: the field that has a record's id.
        known: ids in ascending order.
        top: rows a page, at least 2.

    Returns:
        The differences. No id is `missing_ids` that was listed all the time, whatever is edited meanwhile.

    Raises:
        Unsorted: the list is not in id order, has no total, or its pages are not as long as requested.
        MalformedResponse: a row has no id.
    """
    found, spans, taken = Differences(len(known)), list[_Span](), set[int]()
    total = len(known)
    wanted = [grid(total, top)[-1]]
    while wanted:
        taken.update(wanted)
        for skip, page in zip(wanted, read(wanted), strict=True):
            found.pages += 1
            found.listed += len(page.rows)
            if page.total is None:
                raise Unsorted(f"the list keyed on {key} has no X-Total-Count to find deletions by")
            total = page.total
            if (span := _compare(page, skip, key, known, found)) is not None:
                spans.append(span)
        spans.sort(key=lambda span: (span.start, span.end))
        wanted = _next(spans, known, total, top, taken)
    return found


def compare(pages: Iterable[Sequence[Row]], key: str, known: Sequence[int]) -> Differences:
    """Compares the rows of a whole list, page by page, with the ids known of it."""
    found, ids = Differences(len(known)), KnownIds(known)
    for rows in pages:
        found.pages += 1
        found.listed += len(rows)
        found.unknown += [row for row in rows if row[key] not in ids]
        ids.meet(row[key] for row in rows)
    found.missing_ids = list(ids.missing())
    return found


def _compare(page: Page, skip: int, key: str, known: Sequence[int], found: Differences) -> _Span | None:
    """Adds one page's differences to `found`; returns what it covers, None for a page behind the list's end."""
    ids = [identify(row, key) for row in page.rows]
    if not ascend(ids):
        raise Unsorted(f"{key} does not ascend from record to record")
    end, last = skip + len(ids), page.total is not None and skip + len(ids) >= page.total
    if (len(ids) < page.top and not last) or (ids and page.total is not None and end > page.total):
        raise Unsorted(f"{len(ids)} rows came of the {page.top} requested, at offset {skip} of {page.total}")
    if not ids and skip:
        return None
    low = -NOWHERE if skip == 0 else ids[0]
    high = NOWHERE if last else ids[-1]
    listed, loaded = set(ids), known[bisect_left(known, low) : bisect_right(known, high)]
    expected, seen = set(loaded), set(found.missing_ids) | {row[key] for row in found.unknown}
    found.missing_ids += [id_ for id_ in loaded if id_ not in listed and id_ not in seen]
    found.unknown += [row for row in page.rows if row[key] not in expected and row[key] not in seen]
    return _Span(skip, end, low, high)


def _next(spans: Sequence[_Span], known: Sequence[int], total: int, top: int, taken: set[int]) -> list[int]:
    """The middle page of each unread stretch in which the list has not as many ids as are known."""
    edges = [_Span(0, 0, -NOWHERE, -NOWHERE), *spans, _Span(total, total, NOWHERE, NOWHERE)]
    offsets, wanted = grid(total, top), list[int]()
    for left, right in itertools.pairwise(edges):
        listed = right.start - left.end
        expected = bisect_left(known, right.low) - bisect_right(known, left.high)
        if listed == expected or left.high >= right.low:
            continue
        # The next page begins with the last row of the one before; where nothing is left unread, rows moved meanwhile.
        first = bisect_left(offsets, max(left.end - 1, 0))
        between = offsets[first : bisect_left(offsets, max(right.start, 1))]
        half = len(between) // 2
        from_middle = itertools.chain(between[half:], reversed(between[:half]))
        wanted += itertools.islice((skip for skip in from_middle if skip not in taken), 1)
    return wanted
