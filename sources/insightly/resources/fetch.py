"""Requests of a run to the API: lists page by page, single records, their tags, and definitions of custom fields."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from ..api.messages import Params, Response
from ..context import Record, SyncContext
from ..entities import ENTITIES, OBJECTS, Entity
from ..errors import NotAvailable, NotFound, Stop
from ..paging.prefetch import PageReader, Read
from ..paging.walk import Key, Page, read_list
from ..state.request import SearchFilter
from ..state.times import iso
from .calls_to_go import calls_to_go

logger = logging.getLogger(__name__)
T = TypeVar("T")


def page_reader(
    context: SyncContext,
    entity: Entity,
    since: str | None = None,
    record_type: str = "",
    brief: bool = False,
    search: SearchFilter | None = None,
    max_rows: int | None = None,
) -> PageReader:
    """The reader of an entity's list, or of what changed after `since`. It lives as long as the context.

    Args:
        context: the run; it has one reader per list.
        entity: the entity to read.
        since: the lower bound of `/Search`, None for the plain list.
        record_type: the parameter of `/Tags`.
        brief: leave out arrays, where the API offers that.
        search: what `/Search` has to find, instead of what changed.
        max_rows: rows per page of an earlier run that could not read larger ones.
    """
    searched = () if search is None else (search.field, search.value)
    key = (entity.name, entity.path, since or "", record_type, "brief" if brief else "", *searched)
    if key not in context.page_readers:
        path, params = _list_of(entity, since, brief, search)
        if record_type:
            params["record_type"] = record_type
        writes_each = entity.custom_fields and not (brief or search or entity.read_in_blocks(since))
        reader = context.page_readers[key] = _reader(context, entity, path, params, writes_each)
        reader.set_max_rows(min(reader.max_rows, max_rows or reader.max_rows))
    return context.page_readers[key]


def read_pages(reader: PageReader, key: Key, notes: list[str] | None = None) -> Iterator[list[Record]]:
    """The rows of a list page by page, each row once; what is to be reported about the list is added to `notes`."""
    for step in read_list(reader, key):
        if step.note and notes is not None:
            notes.append(step.note)
        yield step.rows


def parent_of(entity: Entity, parent: str) -> Entity:
    """The parent entity, as it is read for the per-record collection `entity`, which its calls are counted for."""
    return replace(ENTITIES[parent], name=entity.name)


def tagged_with(context: SyncContext, entity: Entity, tag: str) -> PageReader:
    """The reader of the records with a tag, without their arrays (api.md 6)."""
    return _reader(context, entity, f"{entity.path}/SearchByTag", {"tagName": tag, "brief": "true"})


def pages_at(
    context: SyncContext, entity: Entity, since: str | None, top: int, brief: bool = False
) -> Callable[[Sequence[int]], list[Page]]:
    """A function that reads the pages of `top` rows at some offsets, in parallel; a page too large to read is cut."""
    read = _page_request(context, entity, *_list_of(entity, since, brief))
    return lambda skips: list(context.pool.map(lambda skip: replace(read(skip, top), top=top), skips))


def top_of(context: SyncContext) -> int:
    """Rows per page, at least 2: a page of one row could not overlap the one before."""
    return max(2, context.settings.page_size)


def total_of(context: SyncContext, entity: Entity, since: str | None) -> int:
    """How many records a walk would read, by one call."""
    return first_of(context, entity, since=since)[0]


def first_of(
    context: SyncContext, entity: Entity, search: SearchFilter | None = None, since: str | None = None
) -> tuple[int, list[Record]]:
    """How many records a walk would read, and the first of them, if any, by one call."""
    path, params = _list_of(entity, since, False, search)
    page = _page_request(context, entity, path, params)(0, 1)
    return len(page.rows) if page.total is None else page.total, list(page.rows)


def search_records(context: SyncContext, entity: Entity, search: SearchFilter, top: int) -> list[Record]:
    """The first `top` records that a search finds; [] also if the API answers 404 to say that there is none.

    Raises:
        NotFound: the 404 has another cause.
    """
    return list(_page_request(context, entity, *_list_of(entity, None, False, search))(0, top).rows)


def records_of(context: SyncContext, entity: Entity, ids: Iterable[Any]) -> list[Record | NotAvailable | Stop]:
    """Records in full, one call each; for a record that is not readable, the error: 403, 404, or no calls left."""

    def read(id_: Any) -> Record | NotAvailable | Stop:
        assert entity.get is not None
        try:
            return context.client.get_object(entity.get.format(id=id_), {}, label=entity.name)[0]
        except (NotAvailable, Stop) as error:
            return error

    return list(context.pool.map(read, ids))


def changed_records(context: SyncContext, entity: Entity, since: datetime) -> list[Record]:
    """The records created or changed at `since` or later, in full. Each call reads the list again."""
    reader = _reader(context, entity, *_list_of(entity, iso(since - timedelta(seconds=1)), brief=False))
    try:
        return [row for rows in read_pages(reader, entity.key[0]) for row in rows]
    finally:
        reader.close()


def tags_of(context: SyncContext, entity: Entity, ids: Sequence[Any]) -> list[list[Record] | None]:
    """The tags of records, one call each; None for a record that was deleted meanwhile.

    Raises:
        Forbidden, Stop and the other errors of the client.
    """

    def read(id_: Any) -> list[Record] | None:
        try:
            return context.client.get_list(f"{entity.path}/{id_}/Tags", {}, label=entity.name)[0]
        except NotFound:
            return None

    tags = list(context.pool.map(read, ids))
    context.chunk.add(len(ids))
    return tags


def tags_cost_calls(context: SyncContext, entity: Entity) -> bool:
    """Whether each record costs a call, as far as is known."""
    return entity.tagged and (context.settings.tags == "endpoint" or context.result(entity.name).tags_cost_calls)


def read_definitions(context: SyncContext, entity: Entity) -> list[Record] | None:
    """The definitions of an entity's custom fields, read once a run; None where they are not readable."""
    if entity.name not in context.definitions:
        try:
            context.definitions[entity.name] = _definitions(context, entity, entity.name)
        except NotAvailable as error:
            logger.warning("custom fields of %s get the types of their values: %s", entity.name, error)
            context.definitions[entity.name] = None
    return context.definitions[entity.name]


def require_definitions(context: SyncContext, entity: Entity) -> list[Record]:
    """The same for the table of definitions; a call is counted for that table.

    Raises:
        NotAvailable: they are not readable.
    """
    known = context.definitions.get(entity.name)
    if known is None:
        context.chunk.add(1)
        known = context.definitions[entity.name] = _definitions(context, entity, "custom_fields")
    return known


def _prefetch_definitions(context: SyncContext, entity: Entity) -> None:
    """Requests the definitions before further pages are requested: no row can be written without them."""
    with context.prefetch_window.lock:
        if entity.name not in context.definitions and entity.name not in context.prefetched_definitions:
            request = context.pool.submit(_request_definitions, context, entity, entity.name)
            context.prefetched_definitions[entity.name] = request


def _definitions(context: SyncContext, entity: Entity, label: str) -> list[Record]:
    prefetched = context.prefetched_definitions.get(entity.name)
    if prefetched is None:
        return _request_definitions(context, entity, label)
    context.prefetched_definitions[entity.name] = None  # if it failed, the next that needs them requests them again
    return prefetched.result()


def _request_definitions(context: SyncContext, entity: Entity, label: str) -> list[Record]:
    path = ENTITIES["custom_fields"].path.format(objectName=entity.path)
    return context.client.get_list(path, {}, label=label)[0]


def read_objects(context: SyncContext) -> list[Record]:
    """The definitions of custom objects, read once a run. Raises NotAvailable where they are not readable."""
    if context.catalog.definitions is None:
        try:
            context.catalog.definitions = page_reader(context, ENTITIES[OBJECTS])(0).rows
        except NotAvailable as error:
            context.catalog.definitions = error
    if isinstance(context.catalog.definitions, NotAvailable):
        raise context.catalog.definitions
    return context.catalog.definitions


def _list_of(
    entity: Entity, since: str | None, brief: bool, search: SearchFilter | None = None
) -> tuple[str, dict[str, str | int]]:
    """Path and parameters of a list; only `/Search` takes a lower bound (api.md 2.4) and a field's value (7.1)."""
    path, params = entity.path, dict[str, str | int](entity.params)
    if since is not None:
        assert entity.search_path is not None
        path, params["updated_after_utc"] = entity.search_path, since
    if search is not None:
        assert entity.search_path is not None
        path, params = entity.search_path, params | {"field_name": search.field, "field_value": search.value}
    if brief and entity.brief:
        params["brief"] = "true"
    return path, params


def _reader(context: SyncContext, entity: Entity, path: str, params: Params, writes_each: bool = False) -> PageReader:
    """The reader of a list; `writes_each` says that each row of a page will be written, with its custom fields."""
    is_parent = ENTITIES.get(entity.name, entity).path != entity.path

    def may_prefetch() -> bool:
        return context.may_prefetch and not is_parent and not tags_cost_calls(context, entity)

    def on_page() -> None:
        context.current = entity.name
        context.chunk.add(1)
        if may_prefetch():
            context.chunk.end_to_overlap(calls_to_go(context))

    request = _page_request(context, entity, path, params)

    def read(skip: int, top: int) -> Page:
        page = request(skip, top)
        if writes_each and page.rows and may_prefetch():
            _prefetch_definitions(context, entity)
        return page

    return PageReader(read, context.prefetch_window, top_of(context), may_prefetch, on_page)


def _page_request(context: SyncContext, entity: Entity, path: str, params: Params) -> Read:
    def read(skip: int, top: int) -> Page:
        paging: Params = {"top": top, "skip": skip, "count_total": "true"} if entity.paged else {}
        request, sent = {**params, **paging}, time.monotonic()
        try:
            rows, response = context.client.get_list(path, request, label=entity.name)
        except NotFound as error:
            if path != entity.search_path or skip:
                raise
            rows, response = [], _answer_without_rows(context, entity, error, sent)
        return Page(
            rows,
            response.total if entity.paged else len(rows),
            (response.top or top) if entity.paged else len(rows) + 1,
            len(response.body),
            _requested_at(response, entity.name) if skip == 0 else None,
            response.clock_skew or 0.0,
        )

    return read


def _answer_without_rows(context: SyncContext, entity: Entity, refused: NotFound, sent: float) -> Response:
    """What a search that finds nothing may be answered with instead of 404 (api.md 7.1), by one or two further calls.

    Args:
        context: the run.
        entity: the entity that was searched.
        refused: the 404.
        sent: when the search was sent, by the monotonic clock.

    Raises:
        NotFound: the 404 has another cause, because a search without a condition is refused too.
    """
    assert entity.search_path is not None
    first: Params = {**dict(entity.params), "top": 1}
    try:
        response = context.client.get_list(entity.search_path, first, label=entity.name)[1]
    except NotFound:
        rows, response = context.client.get_list(entity.path, first, label=entity.name)
        if rows:
            raise refused from None
    # The watermark must not be later than the search.
    at = _requested_at(response, entity.name) - timedelta(seconds=time.monotonic() - sent)
    return replace(response, total=0, requested_at=at)


def _requested_at(response: Response, entity: str) -> datetime:
    """The service's clock when the request was sent; without a Date header, this machine's clock, with a warning."""
    if response.requested_at is not None:
        return response.requested_at
    at = datetime.now(UTC) - timedelta(seconds=response.elapsed)
    logger.warning("%s: the answer has no Date header; this machine's clock (%s) is taken instead", entity, iso(at))
    return at
