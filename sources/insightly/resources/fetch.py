"""What a run asks of the API: lists page by page, single records, their tags, and definitions of custom fields."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from ..api.messages import Response
from ..api.search import SearchFilter
from ..context import PREFETCH_MIN_CALLS, Params, Record, SyncContext
from ..entities import ENTITIES, OBJECTS, Entity
from ..errors import NotAvailable, NotFound, Stop
from ..paging.prefetch import PageReader, Read, read_list
from ..paging.walk import Page
from ..state.times import iso

logger = logging.getLogger(__name__)
T = TypeVar("T")


def page_reader(
    context: SyncContext,
    entity: Entity,
    since: str | None = None,
    variant: str = "",
    brief: bool = False,
    match: SearchFilter | None = None,
) -> PageReader:
    """The reader of an entity's list, or of what changed after `since`; it outlives a chunk.

    Args:
        context: the run; the same list is read by the same reader all through it.
        entity: whose list.
        since: the bound of `/Search`, None for the plain list.
        variant: the `record_type` of `/Tags`.
        brief: without arrays, where the API offers that.
        match: what `/Search` is to find, in place of what changed.
    """
    found = () if match is None else (match.field, match.value)
    key = (entity.name, entity.path, since or "", variant, "brief" if brief else "", *found)
    if key not in context.page_readers:
        path, params = _list_of(entity, since, brief, match)
        if variant:
            params["record_type"] = variant
        context.page_readers[key] = _reader(context, entity, path, params)
    return context.page_readers[key]


def parent_of(entity: Entity, parent: str) -> Entity:
    """The list of an entity's parents as it is read for it: its calls are counted for the entity."""
    return replace(ENTITIES[parent], name=entity.name)


def tagged_with(context: SyncContext, entity: Entity, tag: str) -> PageReader:
    """The reader of the records that carry a tag, without their arrays (API.md 6)."""
    return _reader(context, entity, f"{entity.path}/SearchByTag", {"tagName": tag, "brief": "true"})


def pages_at(
    context: SyncContext, entity: Entity, since: str | None, top: int, brief: bool = False
) -> Callable[[Sequence[int]], list[Page]]:
    """What reads an entity's pages of `top` rows at some offsets at once."""
    path, params = _list_of(entity, since, brief)
    read = _fetcher(context, entity, path, params)
    return lambda skips: _at_once(context, lambda skip: read(skip, top), skips)


def top_of(context: SyncContext) -> int:
    """Rows a page; a page of one could not overlap the one before."""
    return max(2, context.settings.page_size)


def total_of(context: SyncContext, entity: Entity, since: str | None) -> int:
    """How many records a walk would read, for one call."""
    return first_of(context, entity, since=since)[0]


def first_of(
    context: SyncContext, entity: Entity, match: SearchFilter | None = None, since: str | None = None
) -> tuple[int, list[Record]]:
    """How many records a walk would read, and the first of them, if any, for one call."""
    path, params = _list_of(entity, since, False, match)
    rows, answer = context.client.get_list(path, {**params, "top": 1, "count_total": "true"}, label=entity.name)
    return len(rows) if answer.total is None else answer.total, rows


def records_of(context: SyncContext, entity: Entity, ids: Iterable[Any]) -> list[Record | NotAvailable | Stop]:
    """Records in full, one call each; for a record that cannot be read, why: 403, 404, or no calls left."""

    def ask(id_: Any) -> Record | NotAvailable | Stop:
        assert entity.get is not None
        try:
            return context.client.get_object(entity.get.format(id=id_), {}, label=entity.name)[0]
        except (NotAvailable, Stop) as error:
            return error

    return _at_once(context, ask, ids)


def changed_records(context: SyncContext, entity: Entity, since: datetime) -> list[Record]:
    """The records created or changed at `since` or later, in full. Each call reads the list again."""
    reader = _reader(context, entity, *_list_of(entity, iso(since - timedelta(seconds=1)), brief=False))
    try:
        return [row for step in read_list(reader, entity.key[0]) for row in step.rows]
    finally:
        reader.close()


def tags_of(context: SyncContext, entity: Entity, ids: Sequence[Any]) -> list[list[Record] | None]:
    """The tags of records, one call each; None for a record that went away meanwhile.

    Raises:
        Forbidden, Stop and the other errors of the client.
    """

    def ask(id_: Any) -> list[Record] | None:
        try:
            return context.client.get_list(f"{entity.path}/{id_}/Tags", {}, label=entity.name)[0]
        except NotFound:
            return None

    answers = _at_once(context, ask, ids)
    context.count_calls(len(ids))
    return answers


def tags_cost_calls(context: SyncContext, entity: Entity) -> bool:
    """Whether each record costs a call, as far as is known."""
    return entity.name in context.tags_cost_calls or (entity.tagged and context.settings.tags == "endpoint")


def read_definitions(context: SyncContext, entity: Entity) -> list[Record] | None:
    """What `/CustomFields` tells of the entity's object, asked once a run; None where it may not be read."""
    if entity.name not in context.definitions:
        try:
            context.definitions[entity.name] = _ask_definitions(context, entity, entity.name)
        except NotAvailable as error:
            logger.warning("custom fields of %s keep the types their values show: %s", entity.name, error)
            context.definitions[entity.name] = None
    return context.definitions[entity.name]


def ask_definitions(context: SyncContext, entity: Entity) -> list[Record]:
    """The same for the table of definitions, which asks for what no entity of this run asked for.

    Raises:
        NotAvailable: it may not be read.
    """
    known = context.definitions.get(entity.name)
    if known is None:
        context.count_calls(1)
        known = context.definitions[entity.name] = _ask_definitions(context, entity, "custom_fields")
    return known


def _ask_definitions(context: SyncContext, entity: Entity, label: str) -> list[Record]:
    path = ENTITIES["custom_fields"].path.format(objectName=entity.path)
    return context.client.get_list(path, {}, label=label)[0]


def read_objects(context: SyncContext) -> list[Record]:
    """The definitions of custom objects, asked once a run. Raises NotAvailable where they may not be read."""
    if context.told is None:
        try:
            context.told = page_reader(context, ENTITIES[OBJECTS])(0).rows
        except NotAvailable as error:
            context.told = error
    if isinstance(context.told, NotAvailable):
        raise context.told
    return context.told


def _at_once(context: SyncContext, ask: Callable[[Any], T], asked: Iterable[Any]) -> list[T]:
    return list(context.pool.map(ask, asked))


def _list_of(
    entity: Entity, since: str | None, brief: bool, match: SearchFilter | None = None
) -> tuple[str, dict[str, str | int]]:
    """Path and parameters of a list; only `/Search` takes the bound (API.md 2.4) and a field's value (7.1)."""
    path, params = entity.path, dict[str, str | int](entity.params)
    if since is not None:
        assert entity.search_path is not None
        path, params["updated_after_utc"] = entity.search_path, since
    if match is not None:
        assert entity.search_path is not None
        path, params = entity.search_path, params | {"field_name": match.field, "field_value": match.value}
    if brief and entity.brief:
        params["brief"] = "true"
    return path, params


def _reader(context: SyncContext, entity: Entity, path: str, params: Params) -> PageReader:
    read = _fetcher(context, entity, path, params)
    return PageReader(
        read,
        context.prefetch_window,
        top_of(context),
        eager=lambda: _eager(context, entity),
        on_page=lambda page: context.count_calls(1, page.size),
    )


def _fetcher(context: SyncContext, entity: Entity, path: str, params: Params) -> Read:
    begun_at: list[int] = []

    def read(skip: int, top: int) -> Page:
        begun_at.append(skip)
        paging: Params = {"top": top, "skip": skip, "count_total": "true"} if entity.paged else {}
        rows, answer = context.client.get_list(path, {**params, **paging}, label=entity.name)
        context.clock_skew = answer.clock_skew or 0.0
        if skip == 0:
            context.started_at.setdefault(entity, _moment(answer, entity.name))
        total = answer.total if entity.paged else len(rows)
        if total is not None and not _is_parent(entity):
            context.result(entity.name).total = total - begun_at[0]
        return Page(rows, total, top if entity.paged else len(rows) + 1, len(answer.body))

    return read


def _eager(context: SyncContext, entity: Entity) -> bool:
    """Whether to read ahead: not where each record costs a call, nor where there is no call to waste."""
    left = context.budget.left()
    return (
        (left is None or left >= PREFETCH_MIN_CALLS) and not tags_cost_calls(context, entity) and not _is_parent(entity)
    )


def _is_parent(entity: Entity) -> bool:
    """True of a list that is read for an entity whose rows lie under its records."""
    return ENTITIES.get(entity.name, entity).path != entity.path


def _moment(answer: Response, entity: str) -> datetime:
    """The service's clock when the request left; ours, with a warning, where the answer carries no Date."""
    if answer.requested_at is not None:
        return answer.requested_at
    moment = datetime.now(UTC) - timedelta(seconds=answer.elapsed)
    logger.warning("%s: the answer has no Date header; this machine's clock (%s) is taken instead", entity, iso(moment))
    return moment
