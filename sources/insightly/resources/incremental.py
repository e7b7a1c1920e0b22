"""Entities with a cursor: walk what changed, keep place and watermark in the resource's state. Long lists without one
are walked whole, and what is as it was is passed over."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt

from ..context import Record, SyncContext
from ..entities import DATE_UPDATED, Entity
from ..paging.digests import Blocks, forget, whole_blocks
from ..paging.prefetch import read_list
from ..paging.walk import Step, gather
from ..result import EntityResult
from ..rows.shaper import RowShaper
from ..state.checkpoint import Checkpoint, State, begin, checkpoint_of, end, loaded_from, rereads
from ..state.missing import MissingIds
from ..state.request import ReadRequest
from ..state.times import earlier, iso, parse
from ..state.watermark import Watermark, cursor_reliable, note_dates, watermark
from .enrich import define, definition_tables, fill_tags
from .fetch import page_reader, tags_cost_calls
from .hints import marked, missing, shaper_of

logger = logging.getLogger(__name__)

BATCH_BYTES = 8_000_000


def read_changes(
    entity: Entity, context: SyncContext, result: EntityResult, updated: Watermark | None = None
) -> Iterator[Any]:
    """Yields the tables of what changed since the watermark, from where the last run stopped.

    Place and rows are one load package: the place is written to state before the rows are yielded, and a chunk or
    budget that ends lets the generator return, since an exception would throw both away.

    Args:
        updated: what holds the watermark; None for a list that is walked whole.
    """
    state = dlt.current.resource_state(entity.name)
    request = wish_in(state, entity, context)
    held = updated.last_value if updated is not None and cursor_reliable(entity, state) else None
    result.watermark = result.watermark_before = held
    checkpoint = _begin(entity, context, result, state, request, held)
    if context.chunk_spent():
        return
    shaper = shaper_of(entity, context)
    yield from missing(shaper)
    # One decision for the whole walk, however many rounds it takes: digests are those of what the destination holds.
    whole = entity.read == "full" or (checkpoint.since is None and not entity.cursor_documented)
    blocks = _blocks(entity, state, checkpoint, result) if whole else None
    steps = read_list(
        page_reader(context, entity, checkpoint.since), entity.key[0], checkpoint.skip, checkpoint.last_id
    )
    if blocks is not None:
        steps = whole_blocks(steps, entity.key[0], context.chunk_spent)
    for step in gather(steps, lambda held: _enough(held, entity, context, result)):
        note_dates(entity, state, step.rows)
        if result.missing_ids is not None:
            result.missing_ids.meet((row[entity.key[0]] for row in step.rows), step.last_id)
        changed = step.rows if blocks is None else blocks.changed(step.rows, shaper.masked)
        if "full" in state:
            changed = step.rows
        records, tables = _shaped(entity, context, result, shaper, changed)
        cut = len(records) < len(changed)
        if cut and records and step.at is not None:
            checkpoint = Checkpoint(
                checkpoint.since, _started(checkpoint, entity, context), step.at, records[-1][entity.key[0]]
            )
            _store(checkpoint, state, result)
        elif step.skip is not None and not cut:
            checkpoint = Checkpoint(checkpoint.since, _started(checkpoint, entity, context), step.skip, step.last_id)
            _store(checkpoint, state, result)
        if blocks is not None and not cut:
            blocks.note()
        yield from tables
        result.rows += len(records) if cut else len(step.rows)
        result.merged += len(records)
        context.on_progress()
        if cut:
            context.budget.check()
            return
        if step.skip is not None and context.chunk_spent():
            return
    started = _started(checkpoint, entity, context)
    if updated is not None and cursor_reliable(entity, state):
        result.watermark = watermark(started, context.settings.lookback_seconds, held)
        updated.advance(result.watermark)
        forget(state)
    elif blocks is not None:
        blocks.end()
    missing_ids = () if result.missing_ids is None else result.missing_ids.up_to(None)
    end(state, Checkpoint(checkpoint.since, started, 0, None), loaded_from(state, request.start_date), missing_ids)
    context.end(result, state)


def wish_in(state: State, entity: Entity, context: SyncContext) -> ReadRequest:
    """What a run asks of an entity: everything, where its state tells that the filter by date cannot be gone by."""
    request = context.request_of(entity.name)
    return request if cursor_reliable(entity, state) else replace(request, whole=True, since=None)


def _begin(
    entity: Entity, context: SyncContext, result: EntityResult, state: State, request: ReadRequest, held: str | None
) -> Checkpoint:
    """Where the walk goes on; in a run's first round, what is asked of it is taken into account."""
    start_date = loaded_from(state, request.start_date)
    if entity.name in context.begun:
        return checkpoint_of(state, held, start_date)
    context.begun.add(entity.name)
    waiting = state.get("again")
    _tell_of_a_later_start(state, request, result)
    checkpoint = begin(state, held, request)
    if waiting is not None and state["again"] is waiting:
        _tell_of_a_walk_under_way(waiting, request, result)
    if rereads(state, start_date) and context.live_ids is not None:
        result.missing_ids = MissingIds(context.live_ids(entity), checkpoint.last_id, state.get("missing_ids", ()))
    if checkpoint.since is None and checkpoint.last_id is None:
        state.pop("dated", None)
    return checkpoint


def _shaped(
    entity: Entity, context: SyncContext, result: EntityResult, shaper: RowShaper, records: list[Record]
) -> tuple[list[Record], list[Any]]:
    """Records that are complete, as many from the first on as there are calls for, and their tables."""
    if not records:
        return [], []
    define(entity, context, shaper)
    complete = fill_tags(entity, context, records, result)
    context.record_changed_keys(entity, complete)
    tables = [*marked(shaper.shape(complete)), *definition_tables(entity, context)]
    _warn_of_the_future(entity, context, complete)
    return complete, tables


def _blocks(entity: Entity, state: State, checkpoint: Checkpoint, result: EntityResult) -> Blocks:
    missing_ids = result.missing_ids
    is_live = (lambda _: True) if missing_ids is None else missing_ids.holds
    return Blocks(state, entity.key[0], checkpoint.last_id is not None, is_live)


def _enough(step: Step, entity: Entity, context: SyncContext, result: EntityResult) -> bool:
    """Pages are written together, for each table written costs a while.

    Not so the first, which tells whether definitions and tags must be asked for while there are calls, nor pages whose
    tags cost calls.
    """
    return not result.rows or step.size >= BATCH_BYTES or context.chunk_spent() or tags_cost_calls(context, entity)


def _store(checkpoint: Checkpoint, state: State, result: EntityResult) -> None:
    checkpoint.store(state)
    if result.missing_ids is not None:
        state["missing_ids"] = result.missing_ids.up_to(checkpoint.last_id)


def _tell_of_a_later_start(state: State, request: ReadRequest, result: EntityResult) -> None:
    loaded = loaded_from(state, request.start_date)
    if earlier(loaded, request.start_date):
        told = f"everything from {loaded or 'the first record'} on is loaded already"
        result.notes.append(f"start_date {request.start_date} changes nothing: {told}")


def _tell_of_a_walk_under_way(waiting: Mapping[str, Any], request: ReadRequest, result: EntityResult) -> None:
    begun = f"this goes on with reading again everything from {waiting['since'] or 'the first record'} on"
    if request.full:
        result.notes.append(f"{begun}, which an earlier run began")
    elif request.since is not None and request.since != waiting["since"]:
        told = f"for what it has read already, ask for --since {request.since} once more when it is done"
        result.notes.append(f"{begun}, which an earlier run began: {told}")


def _started(checkpoint: Checkpoint, entity: Entity, context: SyncContext) -> str:
    return checkpoint.started or iso(context.started_at[entity])


def _warn_of_the_future(entity: Entity, context: SyncContext, records: list[Record]) -> None:
    """A stamp later than the service's own clock means a skew that the lookback has to cover."""
    latest = max((stamp for record in records if isinstance(stamp := record.get(DATE_UPDATED), str)), default=None)
    if latest is None:
        return
    try:
        ahead = parse(latest) - datetime.now(UTC) - timedelta(seconds=context.clock_skew)
    except ValueError:
        return
    if ahead > timedelta(seconds=1):
        logger.warning("%s: a record is stamped %s after the service's own clock", entity.name, ahead)
