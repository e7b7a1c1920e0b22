"""The walk: reads a list to its end and loses no row, though rows come and go while it reads. Pure logic.

The API pages by `top`/`skip` only, in ascending id order, without snapshot or upper bound. A record deleted before the
current offset moves all later ones back by one; a record that joins a filtered list moves them on. So each page
overlaps the one before by one row, and *joins* it if its first id is not greater than the last id read. If the first id
is greater, rows were missed, and the walk steps back a page.
"""

import logging
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..errors import EndlessList, MalformedResponse, TooLarge, Unsorted, describe

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Id = Any
Key = str | tuple[str, ...]
"""The field that has a record's id, or the fields that identify it together; the latter are in no known order."""
PATIENCE = 10
"""Pages without new rows that a walk may get; each page with new rows adds two. So a list costs at most three calls
a page and these, over all runs that the walk takes and whatever total the service reports."""
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
        at: offset of the page they come from: with the id of one of the rows as `last_id`, a walk resumed there reads
            the rows after it. None where the rows are in no order.
        skip: offset to resume from; None where the walk cannot be resumed after this step.
        last_id: greatest id read so far.
        size: bytes of the pages.
        requested_at: the service's clock when the first page was requested.
        clock_skew: that of the last page.
        patience: pages without new rows that the walk may still get.
        note: what the service counts and what it lists, at the end of a list where these differ; else "".
        unconfirmed: the list ended at a page without a row although it has rows, as those before or the service's count
            show.
    """

    rows: list[Row]
    at: int | None
    skip: int | None
    last_id: Id
    size: int = 0
    requested_at: datetime | None = None
    clock_skew: float = 0.0
    patience: int = PATIENCE
    note: str = ""
    unconfirmed: bool = False


Fetch = Callable[[int], Page]


def read_list(fetch: Fetch, key: Key, skip: int = 0, last_id: Id = None, patience: int | None = None) -> Iterator[Step]:
    """Walks a list from `skip` on; a list that is not sorted by id is read in full passes instead.

    Raises:
        Unsorted: no pass saw every row of the list.
        MalformedResponse: a row has no id.
        EndlessList: too many pages have no new rows.
    """
    seen = array("q")
    try:
        for step in walk(fetch, key, skip, last_id, patience):
            yield step
            if step.skip is not None:  # a list of one page is not read again, and its ids need not be numbers
                assert isinstance(key, str)  # keys of several fields are in no order
                seen.extend(row[key] for row in step.rows)
    except Unsorted as error:
        logger.warning("%s; reading the list in full passes", error)
        yield from read_unsorted(fetch, key, set(seen))


def walk(fetch: Fetch, key: Key, skip: int = 0, last_id: Id = None, patience: int | None = None) -> Iterator[Step]:
    """Reads a list from `skip`, or from its start, to its end.

    The list ends at a short page that ends where the service's total says. That total may be wrong, for example because
    it counts records that the key may not see. Then the list ends where another request behind a page has no new rows.

    Args:
        fetch: reads the page at an offset.
        key: what identifies a record.
        skip: the offset to resume from.
        last_id: the greatest id read so far, None at the start.
        patience: pages without new rows that the walk may still get, None at the start.

    Yields:
        The new rows of each page; only the last step cannot be resumed from.

    Raises:
        Unsorted: ids do not ascend in a list of several pages.
        TooLarge: a record is too large to be read; the message has the id of the one before.
        MalformedResponse: a row has no id.
        EndlessList: too many pages have no new rows.
    """
    patience = PATIENCE if patience is None else patience
    skip = 0 if last_id is None else skip
    reached = -1 if last_id is None else skip + 1  # where the page before ended, -1 where none joins
    while patience >= 0:
        try:
            page = fetch(skip)
        except TooLarge as error:
            if last_id is None:
                raise
            raise TooLarge(f"{error}. The last record read has the {key} {last_id}", path=error.path) from None
        ids = _ids(page, key)
        # A record may come twice on one page, and a total counts records.
        end, rows_end = skip + len(set(ids)), skip + len(ids)
        is_short, is_counted = end - skip < page.top, page.total in (end, rows_end)
        if skip == 0 and last_id is None and is_short:
            # One page is the whole list, so its order does not matter.
            complete = is_counted or not (page.total or ids)
            if complete or (not ascend(ids) and _ids(fetch(rows_end - 1), key) == ids[-1:]):
                at = 0 if ascend(ids) else None
                note = "" if complete else _difference(page, end)
                yield _step(page, distinct(page.rows, key, set()), at, None, None, patience, note)
                return
        if not ascend(ids):
            raise Unsorted(f"{key} does not ascend from record to record")
        if skip > 0 and (not ids or ids[0] > last_id):
            patience, reached = patience - 1, -1
            back = skip - page.top + 1
            skip = max(0, back if ids or page.total is None else min(back, page.total - page.top + 1))
            continue
        new = [row for row, id_ in zip(page.rows, ids, strict=True) if last_id is None or id_ > last_id]
        if len(set(ids)) < len(ids):
            new = distinct(new, key, set())
        last_id = ids[-1] if new else last_id
        patience += 2 if new else -1
        ended = is_short and (is_counted or (not new and end <= reached))
        at, skip, reached = skip, max(skip, end - 1), end
        note = _difference(page, end) if ended and not is_counted else ""
        step = _step(page, new, at, None if ended else skip, last_id, patience, note)
        yield replace(step, unconfirmed=ended and not ids and not is_counted)
        if ended:
            return
    raise _endless(key, skip)


def read_unsorted(fetch: Fetch, key: Key, seen: set[Id]) -> Iterator[Step]:
    """Reads a list that is not sorted by id in full passes, until one sees every row of it.

    A pass has seen every row if it saw as many ids as the list has rows by the service's total, or if it met no row
    twice and was like the pass before.

    Args:
        fetch: reads the page at an offset.
        key: what identifies a record.
        seen: ids of rows that need not come again; those of the rows that come are added.

    Raises:
        Unsorted: no pass did, so rows may be missing.
        EndlessList: too many pages of a pass have no new rows.
    """
    before: list[Id] = []
    for _ in range(PASSES):
        ids: dict[Id, None] = {}
        skip, patience = 0, PATIENCE
        while True:
            page = fetch(skip)
            known = len(ids)
            ids.update(dict.fromkeys(_ids(page, key)))
            yield _step(page, distinct(page.rows, key, seen), None, None, None, patience)
            end, is_new = skip + len(page.rows), len(ids) > known
            if not page.rows or (len(page.rows) < page.top and (page.total in (end, None) or not is_new)):
                break
            patience += 2 if is_new else -1
            if patience < 0:
                raise _endless(key, skip)
            skip = max(end - 1, skip + 1)
        if page.total is None or len(ids) >= page.total:
            return
        if len(ids) == end and list(ids) == before:
            step = _step(page, [], None, None, None, patience, _difference(page, end))
            yield replace(step, size=0, unconfirmed=not ids)
            return
        before = list(ids)
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
        raise MalformedResponse(f"a row without {key} came; {describe(row)}")
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
    """True for integers in ascending order; equal neighbours are allowed."""
    return {int}.issuperset(map(type, ids)) and ids == sorted(ids)


def _ids(page: Page, key: Key) -> list[Id]:
    return [identify(row, key) for row in page.rows]


def _step(
    page: Page, rows: list[Row], at: int | None, skip: int | None, last_id: Id, patience: int, note: str = ""
) -> Step:
    return Step(rows, at, skip, last_id, page.size, page.requested_at, page.clock_skew, patience, note)


def _difference(page: Page, listed: int) -> str:
    return "" if page.total is None else f"the API counts {page.total:,} and lists {listed:,}"


def _endless(key: Key, skip: int) -> EndlessList:
    return EndlessList(
        f"Paging through {key} did not end: too many pages, the last at offset {skip}, had no new rows. The next run "
        "reads the list from its start."
    )
