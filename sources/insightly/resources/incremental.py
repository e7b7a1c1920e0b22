"""Entities with a cursor: read what changed, and keep checkpoint and watermark in the resource's state. Long lists
without a cursor are read in full; blocks that have not changed are skipped."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt

from ..context import Record, SyncContext
from ..entities import DATE_UPDATED, Entity
from ..paging.batches import batches
from ..paging.digests import Blocks, forget
from ..paging.walk import Step, read_list
from ..result import EntityResult
from ..state.checkpoint import (
    DOUBTFUL_END,
    Checkpoint,
    State,
    accept_end,
    begin,
    checkpoint_of,
    end,
    loaded_from,
    rereads_everything,
)
from ..state.missing import MissingIds
from ..state.request import ReadRequest
from ..state.times import earlier, iso, parse_api
from ..state.watermark import cursor_reliable, next_watermark, record_dates, store_watermark, watermark_in
from .enrich import complete_and_shape, definition_tables
from .fetch import page_reader, tags_cost_calls, top_of
from .hints import marked, mask_of

logger = logging.getLogger(__name__)

BATCH_BYTES, LAST_PAGES = 8_000_000, 2


def read_changes(entity: Entity, context: SyncContext, request: ReadRequest, result: EntityResult) -> Iterator[Any]:
    """Yields the tables of what changed since the watermark, from where the last run stopped.

    Checkpoint and rows are one load package: the checkpoint is written to the state before the rows are yielded. When a
    chunk or the budget ends, the generator returns, because an exception would discard both.

    Args:
        entity: the entity to read.
        context: the run.
        request: what the run requests of the entity.
        result: what the run did with the entity.
    """
    state, key = dlt.current.resource_state(entity.name), entity.key[0]
    request = with_state(request, entity, state)
    watermark = watermark_in(entity, state)
    result.watermark = result.watermark_before = watermark
    checkpoint = _begin(entity, context, result, state, request, watermark)
    if context.chunk.full:
        return
    mask = mask_of(entity, context)
    # One decision for the whole walk, however many rounds it takes: digests are those of what the destination has.
    in_blocks = entity.read == "full" or (checkpoint.since is None and not entity.cursor_documented)
    missing_ids = result.missing_ids
    is_live = (lambda _: True) if missing_ids is None else missing_ids.was_loaded
    blocks = Blocks(state, key, checkpoint.last_id is not None, is_live) if in_blocks else None
    reader = page_reader(context, entity, checkpoint.since, max_rows=state.get("page_rows"))
    steps = read_list(reader, key, checkpoint.skip, checkpoint.last_id, checkpoint.patience)

    def is_enough(step: Step) -> bool:
        """Pages are written together, since each table written takes a while.

        Not so the first page, after which it is known whether definitions and tags cost calls, nor pages whose tags do.
        What was read is also written while the last pages are awaited.
        """
        at_once = not result.rows or tags_cost_calls(context, entity) or reader.pages_to_go == LAST_PAGES
        return at_once or step.size >= BATCH_BYTES or context.chunk.full

    for step in batches(steps, is_enough, key if in_blocks else None, lambda: context.chunk.full):
        if checkpoint.started is None and step.requested_at is not None:
            checkpoint = replace(checkpoint, started=iso(step.requested_at))
        _remember_page_rows(state, reader.max_rows, context)
        record_dates(entity, state, step.rows)
        if missing_ids is not None:
            missing_ids.meet((row[key] for row in step.rows), step.last_id)
        changed = step.rows if blocks is None else blocks.changed(step.rows, mask.mask)
        if "full" in state:
            changed = step.rows
        complete, tables = changed, list[Any]()
        if changed:
            room = None if step.at is None else context.chunk.room  # a list in no order is not resumed
            complete, shaped = complete_and_shape(entity, context, changed, result, room)
            result.record_changed_keys(entity, complete)
            tables = [*marked(shaped), *definition_tables(entity, context)]
            _warn_of_future_dates(entity, complete, step.clock_skew)
        # Tags can cost a call per record. If the calls end amid the rows, the walk resumes after the last complete one.
        cut = len(complete) < len(changed)
        if cut and complete and step.at is not None:
            checkpoint = replace(checkpoint, skip=step.at, last_id=complete[-1][key])
            _store(checkpoint, state, missing_ids)
        elif step.skip is not None and not cut:
            checkpoint = replace(checkpoint, skip=step.skip, last_id=step.last_id, patience=step.patience)
            _store(checkpoint, state, missing_ids)
        if blocks is not None and not cut:
            blocks.record()
        yield from tables
        result.notes += filter(None, [step.note])
        result.rows += len(complete) if cut else len(step.rows)
        result.merged += len(complete)
        context.on_progress()
        if cut:
            context.budget.check()
            return
        if step.skip is not None and context.chunk.full:
            return
    assert checkpoint.started is not None
    if not accept_end(state, step.doubtful):
        result.notes.append(DOUBTFUL_END)
        result.end(state)
        return
    # Pages may have been too large for a busy hour alone, so the next walk tries larger ones.
    _remember_page_rows(state, 2 * reader.max_rows, context)
    if entity.read == "incremental" and cursor_reliable(entity, state):
        full = rereads_everything(state, loaded_from(state, request.start_date))
        result.watermark = next_watermark(checkpoint.started, context.settings.lookback_seconds, watermark, full)
        store_watermark(state, result.watermark)
        forget(state)
    elif blocks is not None:
        blocks.end()
    missed = () if missing_ids is None else missing_ids.up_to(None)
    end(state, checkpoint, loaded_from(state, request.start_date), missed)
    result.end(state)


def with_state(request: ReadRequest, entity: Entity, state: State) -> ReadRequest:
    """The request, or one of everything where the filter by date is not reliable by the entity's state."""
    return request if cursor_reliable(entity, state) else replace(request, always_full=True, since=None)


def _begin(
    entity: Entity,
    context: SyncContext,
    result: EntityResult,
    state: State,
    request: ReadRequest,
    watermark: str | None,
) -> Checkpoint:
    """Where the walk goes on; in the first round of a run, the request is taken into account."""
    start_date = loaded_from(state, request.start_date)
    if result.progress is not None:
        return checkpoint_of(state, watermark, start_date)
    result.progress = "started"
    unfinished = state.get("again")
    if earlier(start_date, request.start_date):
        loaded = f"everything from {start_date or 'the first record'} on is loaded already"
        result.notes.append(f"start_date {request.start_date} changes nothing: {loaded}")
    checkpoint = begin(state, watermark, request)
    note_contradiction(watermark, request, result)
    if unfinished is not None and state["again"] is unfinished:
        _note_resumed_walk(unfinished["since"], request, result)
    if rereads_everything(state, start_date) and context.loaded is not None:
        result.missing_ids = MissingIds(
            context.loaded.live_ids(entity), checkpoint.last_id, state.get("missing_ids", ())
        )
    if checkpoint.since is None and checkpoint.last_id is None:
        state.pop("dated", None)
    return checkpoint


def note_contradiction(watermark: str | None, request: ReadRequest, result: EntityResult) -> None:
    """Adds a note where everything is read again because of a watermark that lies in the future."""
    if request.contradicts(watermark):
        why = "a clock was wrong, so everything is read again"
        result.notes.append(f"The watermark {watermark} lies in the future: {why}.")


def _note_resumed_walk(since: str | None, request: ReadRequest, result: EntityResult) -> None:
    resuming = f"Resuming the re-read from {since or 'the first record'}, which an earlier run started."
    if request.full:
        result.notes.append(resuming)
    elif request.since is not None and request.since != since:
        result.notes.append(f"{resuming} Run --since {request.since} again when it has finished.")


def _remember_page_rows(state: State, rows: int, context: SyncContext) -> None:
    if rows < top_of(context):
        state["page_rows"] = rows
    else:
        state.pop("page_rows", None)


def _store(checkpoint: Checkpoint, state: State, missing_ids: MissingIds | None) -> None:
    checkpoint.store(state)
    if missing_ids is not None:
        state["missing_ids"] = missing_ids.up_to(checkpoint.last_id)


def _warn_of_future_dates(entity: Entity, records: list[Record], clock_skew: float) -> None:
    """A date later than the service's own clock means a skew that the lookback has to cover."""
    texts = (date for record in records if isinstance(date := record.get(DATE_UPDATED), str))
    latest = parse_api(max(texts, default=None))
    if latest is None:
        return
    ahead = latest - datetime.now(UTC) - timedelta(seconds=clock_skew)
    if ahead > timedelta(seconds=1):
        logger.warning("%s: a record is stamped %s after the service's own clock", entity.name, ahead)
