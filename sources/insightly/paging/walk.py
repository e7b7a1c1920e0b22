"""The walk: reads a list to its end and loses no row, though rows come and go while it reads. Pure logic.

The API pages by `top`/`skip` only, in ascending id order, without snapshot or upper bound. A record deleted before the
current offset moves all later ones back by one; a record that joins a filtered list moves them on. So each page
overlaps the one before by one row, and *joins* it if its first id is not greater than the last id read. If the first id
is greater, rows were missed, and the walk steps back a page.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from ..errors import MalformedResponse, Unsorted

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Id = Any
Key = str | tuple[str, ...]
"""The field that has a record's id, or the fields that identify it together; the latter are in no known order."""
PATIENCE = 10
"""Pages in a row that may have no new rows, beyond two for each page of the list."""
PASSES = 3


@dataclass(frozen=True, slots=True)
class Page:
    """One response.

    Attributes:
        rows: its records.
        total: rows of the whole list by this response; None where it has no total.
        top: rows requested.
        size: bytes of the response.
        requested_at: the service's clock when the request was sent.
        clock_skew: seconds that the service's clock is ahead of this machine's.
    """

    rows: list[Row]
    total: int | None
    top: int
    size: int = 0
    requested_at: datetime | None = None
    clock_skew: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """New rows of one page or of several, and where to resume once they are stored.

    Attributes:
        rows: rows that no earlier step had.
        at: offset of the page they come from; a walk resumed there goes on after any of the rows. None where the rows
            are in no order.
        skip: offset to resume from; None where the walk cannot be resumed after this step.
        last_id: greatest id read so far.
        size: bytes of the pages.
        requested_at: the service's clock when the first page was requested.
        clock_skew: that of the last page.
    """

    rows: list[Row]
    at: int | None
    skip: int | None
    last_id: Id
    size: int = 0
    requested_at: datetime | None = None
    clock_skew: float = 0.0


Fetch = Callable[[int], Page]


def read_list(fetch: Fetch, key: Key, skip: int = 0, last_id: Id = None) -> Iterator[Step]:
    """Walks a list from `skip` on; a list that is not sorted by id is read in full passes instead.

    Raises:
        Unsorted: no pass saw as many ids as the list has rows.
        MalformedResponse: a row has no id, or the pages never end.
    """
    seen: set[Id] = set()
    try:
        for step in walk(fetch, key, skip, last_id):
            seen.update(identify(row, key) for row in step.rows)
            yield step
    except Unsorted as error:
        logger.warning("%s; reading the list in full passes", error)
        yield from read_unsorted(fetch, key, seen)


def walk(fetch: Fetch, key: Key, skip: int = 0, last_id: Id = None) -> Iterator[Step]:
    """Reads a list from `skip`, or from its start, to its end.

    Args:
        fetch: reads the page at an offset.
        key: what identifies a record.
        skip: the offset to resume from.
        last_id: the greatest id read so far, None at the start.

    Yields:
        The new rows of each page; only the last step cannot be resumed from.

    Raises:
        Unsorted: ids do not ascend in a list of several pages.
        MalformedResponse: a row has no id, or the pages never end.
    """
    stuck, patience = 0, PATIENCE
    skip = 0 if last_id is None else skip
    while stuck <= patience:
        page = fetch(skip)
        patience = PATIENCE + 2 * max(skip, page.total or 0) // max(page.top - 1, 1)
        rows, end = page.rows, skip + len(page.rows)
        if skip == 0 and last_id is None and len(rows) < page.top and (page.total == end or not (page.total or rows)):
            # One page is the whole list, so its order does not matter.
            ids = [identify(row, key) for row in rows]
            at = 0 if ascend(ids) else None
            yield _step(page, distinct(rows, key, set()), at, None, None)
            return
        ids = [identify(row, key) for row in rows]
        if not ascend(ids):
            raise Unsorted(f"{key} does not ascend from record to record")
        if skip > 0 and (not ids or ids[0] > last_id):
            stuck += 1
            back = skip - page.top + 1
            skip = max(0, back if ids or page.total is None else min(back, page.total - page.top + 1))
            continue
        new = [row for row, id_ in zip(rows, ids, strict=True) if last_id is None or id_ > last_id]
        new = distinct(new, key, set())
        if new:
            last_id = ids[-1]
        # A total counts records, and a record may come twice on one page.
        count = len(set(ids))
        ended = count < page.top and (page.total in (end, skip + count) if page.total is not None else count <= 1)
        next_skip = skip if page.total is not None and end > page.total else max(skip, end - 1)
        stuck = 0 if new else stuck + 1
        at, skip = skip, next_skip
        yield _step(page, new, at, None if ended else skip, last_id)
        if ended:
            return
    raise MalformedResponse(
        f"Paging through {key} did not end: {stuck} pages in a row, up to offset {skip}, had no new rows and did not "
        "match their own X-Total-Count."
    )


def read_unsorted(fetch: Fetch, key: Key, seen: set[Id]) -> Iterator[Step]:
    """Reads a list that is not sorted by id in full passes, until one sees as many ids as the list has rows.

    Args:
        fetch: reads the page at an offset.
        key: what identifies a record.
        seen: ids of rows that need not come again; those of the rows that come are added.

    Raises:
        Unsorted: no pass did, so rows may be missing.
    """
    for _ in range(PASSES):
        ids: set[Id] = set()
        skip = 0
        while True:
            page = fetch(skip)
            ids.update(identify(row, key) for row in page.rows)
            yield _step(page, distinct(page.rows, key, seen), None, None, None)
            end = skip + len(page.rows)
            if not page.rows or (len(page.rows) < page.top and page.total in (end, None)):
                break
            skip = max(end - 1, skip + 1)
        if page.total is None or len(ids) >= page.total:
            return
    raise Unsorted(
        f"the list keyed on {key} is not sorted by id, and {PASSES} passes saw {len(ids)} of its {page.total} rows; "
        "run again when fewer records are being edited"
    )


def identify(row: Row, key: Key) -> Id:
    """The id of a row.

    Raises:
        MalformedResponse: it has none.
    """
    if isinstance(key, tuple):
        return tuple(identify(row, part) for part in key)
    id_ = row.get(key)
    if id_ is None or isinstance(id_, (dict, list, bool)):
        raise MalformedResponse(f"a row without {key} came: {str(row)[:200]}")
    return id_


def distinct(rows: list[Row], key: Key, seen: set[Id]) -> list[Row]:
    """The rows whose ids are not in `seen`, each once; their ids are added to it."""
    new = []
    for row in rows:
        id_ = identify(row, key)
        if id_ not in seen:
            seen.add(id_)
            new.append(row)
    return new


def ascend(ids: list[Id]) -> bool:
    """True for integers none of which is less than the one before."""
    return all(type(id_) is int for id_ in ids) and all(earlier <= later for earlier, later in pairwise(ids))


def _step(page: Page, rows: list[Row], at: int | None, skip: int | None, last_id: Id) -> Step:
    return Step(rows, at, skip, last_id, page.size, page.requested_at, page.clock_skew)
