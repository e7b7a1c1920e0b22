"""Single records, read again by id or found by a field's value: their rows and child rows are replaced, and neither
watermark nor place moves."""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import dlt

from ..context import Record, SyncContext
from ..entities import DATE_UPDATED, Entity
from ..errors import Forbidden, MalformedResponse, NotFound, Stop
from ..paging.digests import forget
from ..paging.prefetch import read_list
from ..result import EntityResult
from ..state.checkpoint import State, loaded_from
from ..state.times import parse
from ..state.watermark import Watermark, cursor_reliable, note_dates
from .enrich import define, definition_tables, fill_tags
from .fetch import page_reader, records_of, total_of
from .hints import marked, missing, shaper_of

BATCH = 100


def refresh(
    entity: Entity, context: SyncContext, result: EntityResult, updated: Watermark | None = None
) -> Iterator[Any]:
    """Yields the tables of the records in `context.wanted`, or of those that `context.searches` finds.

    A record that is gone or hidden leaves its row as it is, and its id in the outcome.

    Args:
        updated: what holds the watermark; None for an entity without one.
    """
    state = dlt.current.resource_state(entity.name)
    if updated is not None:
        result.watermark = result.watermark_before = updated.last_value if cursor_reliable(entity, state) else None
    # What is written when it changed must be written by the next sync, even if it then is as it was.
    state.pop("contents", None)
    forget(state)
    yield from missing(shaper_of(entity, context))
    read = _found if entity.name in context.searches else _wanted
    yield from read(entity, context, result, state)


def _wanted(entity: Entity, context: SyncContext, result: EntityResult, state: State) -> Iterator[Any]:
    wanted, key = context.wanted[entity.name], entity.key[0]
    while wanted:
        if context.chunk_spent():
            return
        some = wanted[: _affordable(entity, context)]
        answers = dict(zip(some, records_of(context, entity, some), strict=True))
        context.count_calls(len(answers))
        for id_, answer in answers.items():
            if isinstance(answer, dict) and answer.get(key) != id_:
                raise MalformedResponse(f"GET of {key} {id_} came back with {key} {answer.get(key)}; nothing is loaded")
        found = [answer for answer in answers.values() if isinstance(answer, dict)]
        written = yield from _tables(entity, context, result, state, found)
        left = {record[key] for record in found[written:]}
        result.gone += [id_ for id_, answer in answers.items() if isinstance(answer, NotFound)]
        result.hidden += [id_ for id_, answer in answers.items() if isinstance(answer, Forbidden)]
        wanted[: len(some)] = [id_ for id_, answer in answers.items() if isinstance(answer, Stop) or id_ in left]
        if left:
            context.budget.check()
        for answer in answers.values():
            if isinstance(answer, Stop):
                raise answer
    result.state = "ok"


def _affordable(entity: Entity, context: SyncContext) -> int:
    """How many records to read at once: with few calls left, what definitions and tags cost is set aside for them."""
    left = context.budget.left()
    if left is None:
        return BATCH
    left -= entity.custom_fields and entity.name not in context.definitions
    tags = entity.tagged and context.settings.tags in ("auto", "endpoint")
    return min(BATCH, max(left // (1 + tags), 1))


def _found(entity: Entity, context: SyncContext, result: EntityResult, state: State) -> Iterator[Any]:
    search = context.searches[entity.name]
    if context.chunk_spent():
        return
    fetch = page_reader(context, entity, match=search.match)
    try:
        for step in read_list(fetch, entity.key[0], search.skip, search.last_id):
            if not all(map(search.match.matches, step.rows)):
                raise MalformedResponse(
                    f"GET /{entity.search_path}: the answer holds records whose {search.match.field} is another, so "
                    "the API did not filter by that field; none of them is loaded"
                )
            written = yield from _tables(entity, context, result, state, step.rows)
            if written < len(step.rows):
                context.budget.check()
            if step.skip is not None:
                search.skip, search.last_id = step.skip, step.last_id
                if context.chunk_spent():
                    return
    except NotFound:
        # Some say that a search that finds nothing is a 404: then the list itself can be read.
        total_of(context, entity, None)
    result.state = "ok"


def _tables(
    entity: Entity, context: SyncContext, result: EntityResult, state: State, records: Sequence[Record]
) -> Generator[Any, None, int]:
    """Yields the tables of records; returns how many, from the first on, the calls left were enough for."""
    start_date = loaded_from(state, context.request_of(entity.name).start_date)
    inside = [record for record in records if _is_inside(record, start_date)]
    if len(inside) < len(records):
        left_out = len(records) - len(inside)
        result.notes.append(f"{left_out} records last changed before start_date are left out, as a sync does")
    if not inside:
        return len(records)
    if cursor_reliable(entity, state):
        note_dates(entity, state, inside)
    shaper = shaper_of(entity, context)
    define(entity, context, shaper)
    complete = fill_tags(entity, context, inside, result)
    if complete:
        context.record_changed_keys(entity, complete)
        yield from marked(shaper.shape(complete))
        yield from definition_tables(entity, context)
    result.rows += len(complete)
    result.merged += len(complete)
    context.on_progress()
    return len(records) if len(complete) == len(inside) else records.index(inside[len(complete)])


def _is_inside(record: Record, start_date: str | None) -> bool:
    """Whether a sync would read the record: sweep and verify compare with that set."""
    stamp = record.get(DATE_UPDATED)
    return start_date is None or not isinstance(stamp, str) or parse(stamp) > parse(start_date)
