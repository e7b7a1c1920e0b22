"""What lies under single records, at a call a record: asked for ahead, taken in the order of the records' list."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from ..context import Params, Record, SyncContext
from ..entities import Entity
from ..errors import InsightlyError, MalformedResponse, NotAvailable, Unsorted, redact
from ..paging.prefetch import read_list
from ..paging.walk import Fetch, Id, Page, Step, distinct, read_whole, walk
from ..state.checkpoint import Checkpoint
from .fetch import page_reader, parent_of, top_of

OWN_PAGE = 100
"""Rows of a page whose size nobody asked for (API.md 2.1): fewer, and no total told, are all there are."""


@dataclass(frozen=True, slots=True)
class Sublist:
    """All rows under one record; `refused` tells why there are none (403, 404). `calls` it took, of `size` bytes."""

    id: Id
    rows: list[Record]
    calls: int = 1
    size: int = 0
    refused: NotAvailable | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A sublist, and the place in the list of parents to go on from behind it; None where that list is in no order."""

    sublist: Sublist
    skip: int | None


Waiting = deque[tuple[Future[Sublist], int | None]]


def read_sublist(context: SyncContext, entity: Entity, parent: str, id_: Id) -> Sublist:
    """The rows of an entity under the record `id_` of `parent`, to their end.

    Raises:
        Stop and the other errors of the client, but for 403 and 404, which are told in the answer.
    """
    asked = parent_of(entity, parent)
    if type(id_) is not int:
        raise MalformedResponse(f"{asked.key[0]} of a record is no whole number: {redact(id_)}", path=f"/{asked.path}")
    path, sizes, top = f"{asked.path}/{id_}/{entity.sub_path}", list[int](), top_of(context)

    def fetch(skip: int) -> Page:
        paging: Params = {"top": top, "skip": skip, "count_total": "true"} if entity.paged else {}
        rows, answer = context.client.get_list(path, paging, label=entity.name)
        sizes.append(len(answer.body))
        return Page(rows, answer.total, top, len(answer.body))

    try:
        first = fetch(0)
        if entity.paged and not _is_whole(first):
            rows = _walked(fetch, first, entity.key[0])
        else:
            # Only what has one id can be told from its copies.
            rows = distinct(first.rows, entity.key[0], set()) if len(entity.key) == 1 else first.rows
    except NotAvailable as error:
        return Sublist(id_, [], refused=error)
    return Sublist(id_, rows, len(sizes), sum(sizes))


def sublists(context: SyncContext, entity: Entity, parent: str, checkpoint: Checkpoint) -> Iterator[Taken]:
    """Requests the rows of every record of a list from `checkpoint` on, on all connections; it outlives a chunk."""
    waiting, asked = Waiting(), parent_of(entity, parent)
    fetch, key = page_reader(context, asked, checkpoint.since, brief=True), asked.key[0]
    steps = read_list(fetch, key, checkpoint.skip, checkpoint.last_id)
    while (step := (yield from _next(steps, waiting))) is not None:
        for index, row in enumerate(step.rows):
            while waiting and _enough(waiting, context):
                yield _taken(waiting)
            answer = context.pool.submit(read_sublist, context, entity, parent, row[key])
            waiting.append((answer, None if step.at is None else step.at + index))
    while waiting:
        yield _taken(waiting)


def _next(steps: Iterator[Step], waiting: Waiting) -> Generator[Taken, None, Step | None]:
    """The next step; what was asked before an error is handed over before it is raised."""
    try:
        return next(steps, None)
    except InsightlyError:
        while waiting:
            yield _taken(waiting)
        raise


def _enough(waiting: Waiting, context: SyncContext) -> bool:
    """Whether to take an answer before asking more: where calls run short, a later record must not take the last."""
    left, unsent = context.budget.left(), sum(not answer.done() for answer, _ in waiting)
    return len(waiting) > context.settings.max_connections or (left is not None and unsent >= left)


def _taken(waiting: Waiting) -> Taken:
    answer, skip = waiting.popleft()
    return Taken(answer.result(), skip)


def _is_whole(page: Page) -> bool:
    """Whether a list's first page is all of it."""
    return len(page.rows) < (page.top if page.total is not None else min(page.top, OWN_PAGE)) and (
        page.total in (None, len(page.rows))
    )


def _walked(fetch: Fetch, first: Page, key: str) -> list[Record]:
    """All rows of a list of several pages, of which the first is there already."""
    had = {0: first}

    def once(skip: int) -> Page:
        return had.pop(skip, None) or fetch(skip)

    try:
        steps = list(walk(once, key))
    except Unsorted:
        steps = list(read_whole(fetch, key, set()))
    return [row for step in steps for row in step.rows]
