"""The walk that reads a list to its end and loses no row, though rows come and go while it reads. Pure logic.

The API pages by `top`/`skip` alone, in ascending id order, without snapshot or upper bound. A record deleted behind
us moves all later ones back by one, a record joining a filtered list moves them on. So each page overlaps the one
before by one row and *joins* when its first id is not greater than the last id kept; a greater one is a miss, and
the walk steps back a page.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..errors import InsightlyError, MalformedResponse, Unsorted

Row = dict[str, Any]
Id = Any
Key = str | tuple[str, ...]
"""The field that holds a record's id, or the fields that do so together; those are in no order that is known."""
PATIENCE = 10
"""Answers in a row that may bring nothing new, beyond two for each page of the list."""
PASSES = 3


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its `rows`, the `total` of the whole list as that answer told it, the `top` asked for, its bytes."""

    rows: list[Row]
    total: int | None
    top: int
    size: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """Rows not kept before, and the place to resume from once they are stored (`skip` None: the walk must go on).

    `at` is the offset of the page they came from: resumed there, the walk goes on behind any of the rows; None where
    they are in no order. `size` are the bytes of that page.
    """

    rows: list[Row]
    at: int | None
    skip: int | None
    last_id: Id
    size: int = 0


Fetch = Callable[[int], Page]


def walk(fetch: Fetch, key: Key, skip: int = 0, last_id: Id = None) -> Iterator[Step]:
    """Reads a list from `skip`, or from its start, to its end.

    Args:
        fetch: reads the page at an offset.
        key: what tells records apart.
        skip: the offset to resume from.
        last_id: the greatest id kept so far, None at the start.

    Yields:
        The rows of each page that were not kept yet; only the last step has no place to resume from.

    Raises:
        Unsorted: ids do not ascend in a list of several pages.
        MalformedResponse: a row has no id, or the answers never come to an end.
    """
    stuck, patience = 0, PATIENCE
    skip = 0 if last_id is None else skip
    while stuck <= patience:
        page = fetch(skip)
        patience = PATIENCE + 2 * max(skip, page.total or 0) // max(page.top - 1, 1)
        rows, end = page.rows, skip + len(page.rows)
        if skip == 0 and last_id is None and len(rows) < page.top and (page.total == end or not (page.total or rows)):
            # One answer holds the whole list, so its order does not matter.
            ids = [identify(row, key) for row in rows]
            yield Step(distinct(rows, key, set()), 0 if ascend(ids) else None, None, None, page.size)
            return
        ids = [identify(row, key) for row in rows]
        if not ascend(ids):
            raise Unsorted(f"{key} does not ascend from record to record")
        if skip > 0 and (not ids or ids[0] > last_id):
            stuck += 1
            back = skip - page.top + 1
            skip = max(0, back if ids or page.total is None else min(back, page.total - page.top + 1))
            continue
        fresh = [row for row, id_ in zip(rows, ids, strict=True) if last_id is None or id_ > last_id]
        fresh = distinct(fresh, key, set())
        if fresh:
            last_id = ids[-1]
        # A total counts records, and a record may come twice on one page.
        apart = len(set(ids))
        ended = apart < page.top and (page.total in (end, skip + apart) if page.total is not None else apart <= 1)
        following = skip if page.total is not None and end > page.total else max(skip, end - 1)
        stuck = 0 if fresh else stuck + 1
        at, skip = skip, following
        yield Step(fresh, at, None if ended else skip, last_id, page.size)
        if ended:
            return
    raise MalformedResponse(
        f"the list keyed on {key} came to no end: {stuck} answers in a row up to offset {skip} "
        "brought nothing new and did not agree with their own X-Total-Count"
    )


def read_whole(fetch: Fetch, key: Key, kept: set[Id]) -> Iterator[Step]:
    """Reads a list whose order is not that of its ids: whole, until a pass sees as many ids as the list has rows.

    Args:
        fetch: reads the page at an offset.
        key: what tells records apart.
        kept: ids of rows that are had already; those that are met are added.

    Raises:
        Unsorted: three passes saw fewer ids than the total, so rows may have slipped through.
    """
    for _ in range(PASSES):
        seen: set[Id] = set()
        skip = 0
        while True:
            page = fetch(skip)
            seen.update(identify(row, key) for row in page.rows)
            yield Step(distinct(page.rows, key, kept), None, None, None, page.size)
            end = skip + len(page.rows)
            if not page.rows or (len(page.rows) < page.top and page.total in (end, None)):
                break
            skip = max(end - 1, skip + 1)
        if page.total is None or len(seen) >= page.total:
            return
    raise Unsorted(
        f"the list keyed on {key} is not sorted by id, and {PASSES} passes saw {len(seen)} of its {page.total} rows; "
        "run again when fewer records are being edited"
    )


def gather(steps: Iterable[Step], enough: Callable[[Step], bool]) -> Iterator[Step]:
    """Joins steps until they are `enough`; those before an error are handed over before it is raised."""
    held: Step | None = None
    try:
        for step in steps:
            held = step if held is None else joined(held, step)
            if enough(held):
                whole, held = held, None
                yield whole
    except InsightlyError:
        if held is not None:
            yield held
        raise
    if held is not None:
        yield held


def joined(one: Step, other: Step) -> Step:
    at = None if other.at is None else one.at
    return Step(one.rows + other.rows, at, other.skip, other.last_id, one.size + other.size)


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


def distinct(rows: list[Row], key: Key, kept: set[Id]) -> list[Row]:
    """The rows whose ids are not in `kept`, each once; their ids are added to it."""
    fresh = []
    for row in rows:
        id_ = identify(row, key)
        if id_ not in kept:
            kept.add(id_)
            fresh.append(row)
    return fresh


def ascend(ids: list[Id]) -> bool:
    """True for whole numbers of which none is less than the one before."""
    return all(type(id_) is int for id_ in ids) and all(earlier <= later for earlier, later in pairwise(ids))
