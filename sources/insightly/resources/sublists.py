"""The rows of per-record collections, at one call per record: requested ahead, yielded in the order of the records."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from ..api.messages import Params
from ..context import Record, SyncContext
from ..entities import Entity
from ..errors import InsightlyError, MalformedResponse, NotAvailable, redact
from ..paging.walk import Id, Page, Step, distinct, read_list
from ..state.checkpoint import Checkpoint
from .fetch import page_reader, parent_of, top_of

DEFAULT_PAGE = 100
"""Rows per page without `top` (api.md 2.1): fewer rows without a total are the whole list."""


@dataclass(frozen=True, slots=True)
class Sublist:
    """The rows of one record; `refused` says why there are none (403, 404). `calls` it took, of `size` bytes.

    `miscounted` is True where the service counts another number of rows than it lists.
    """

    id: Id
    rows: list[Record]
    calls: int = 1
    size: int = 0
    refused: NotAvailable | None = None
    miscounted: bool = False


def read_sublist(context: SyncContext, entity: Entity, parent: str, id_: Id) -> Sublist:
    """All rows of an entity that belong to the record `id_` of `parent`.

    Raises:
        Stop and the other errors of the client, except 403 and 404, which the sublist has.
    """
    owner = parent_of(entity, parent)
    if type(id_) is not int:
        raise MalformedResponse(
            f"{owner.key[0]} of a record is not a whole number: {redact(id_)}", path=f"/{owner.path}"
        )
    steps = list[Step]()
    path, sizes, top = f"{owner.path}/{id_}/{entity.sub_path}", list[int](), top_of(context)

    def fetch(skip: int) -> Page:
        nonlocal top
        paging: Params = {"top": top, "skip": skip, "count_total": "true"} if entity.paged else {}
        rows, response = context.client.get_list(path, paging, label=entity.name)
        sizes.append(len(response.body))
        top = response.top or top
        return Page(rows, response.total, top, len(response.body))

    try:
        first = fetch(0)
        if entity.paged and not _is_complete(first):
            pages = {0: first}
            steps = list(read_list(lambda skip: pages.pop(skip, None) or fetch(skip), entity.key[0]))
            rows = [row for step in steps for row in step.rows]
        else:
            # Copies of a row can be recognized only by a single id.
            rows = distinct(first.rows, entity.key[0], set()) if len(entity.key) == 1 else first.rows
    except NotAvailable as error:
        return Sublist(id_, [], refused=error)
    return Sublist(id_, rows, len(sizes), sum(sizes), miscounted=any(step.note for step in steps))


class Sublists:
    """The sublists of every record of a parent list, each with the offset in that list to resume from after it.

    The offset is None where the list is in no order. The iterator lives longer than a chunk. It requests sublists on
    all connections; what was requested before an error of the list is yielded before the error is raised.

    Attributes:
        requested_at: the service's clock when the first page of the list was requested; None before that, and where
            the list is resumed.
        patience: pages without new rows that the walk of the list may still get.
        notes: what is to be reported about the list.
        unconfirmed: whether the list's end is (see `Step`).
    """

    def __init__(self, context: SyncContext, entity: Entity, parent: str, checkpoint: Checkpoint) -> None:
        self.context, self.entity, self.parent, self.checkpoint = context, entity, parent, checkpoint
        self.requested_at: datetime | None = None
        self.patience = checkpoint.patience
        self.notes, self.unconfirmed = list[str](), False
        self._waiting = deque[tuple[Future[Sublist], int | None]]()

    def __iter__(self) -> Iterator[tuple[Sublist, int | None]]:
        owner, error = parent_of(self.entity, self.parent), None
        reader, key = page_reader(self.context, owner, self.checkpoint.since, brief=True), owner.key[0]
        steps = read_list(reader, key, self.checkpoint.skip, self.checkpoint.last_id, self.patience)
        while True:
            try:
                step = next(steps, None)
            except InsightlyError as raised:
                error = raised
                break
            if step is None:
                break
            self.requested_at = self.requested_at or step.requested_at
            self.patience = step.patience
            self.notes += filter(None, [step.note])
            self.unconfirmed = step.unconfirmed
            for index, row in enumerate(step.rows):
                while self._waiting and self._is_full():
                    yield self._first()
                future = self.context.pool.submit(read_sublist, self.context, self.entity, self.parent, row[key])
                self._waiting.append((future, None if step.at is None else step.at + index))
        while self._waiting:
            yield self._first()
        if error is not None:
            raise error

    def _first(self) -> tuple[Sublist, int | None]:
        future, skip = self._waiting.popleft()
        return future.result(), skip

    def _is_full(self) -> bool:
        """Where calls run short, a later record must not get the last one."""
        left, unsent = self.context.budget.left(), sum(not future.done() for future, _ in self._waiting)
        return len(self._waiting) > self.context.settings.max_connections or (left is not None and unsent >= left)


def _is_complete(page: Page) -> bool:
    """Whether a list's first page is the whole list."""
    return len(page.rows) < (page.top if page.total is not None else min(page.top, DEFAULT_PAGE)) and (
        page.total in (None, len(page.rows))
    )
