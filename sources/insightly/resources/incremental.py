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
    UNCONFIRMED_END,
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
from ..state.times import earlier, parse_api
from ..state.watermark import cursor_reliable, next_watermark, record_dates, store_watermark, watermark_in
from .enrich import complete_and_shape, definition_tables
from .fetch import page_reader, tags_cost_calls, top_of
from .hints import marked

logger = logging.getLogger(__name__)

BATCH_BYTES, LAST_PAGES = 8_000_000, 2
WAITING_BYTES = 2_000_000
"""Of a batch that is written because the next page is awaited, and so the processor has nothing else to do."""


def read_changes(entity: Entity, context: SyncContext, request: ReadRequest, result: EntityResult) -> Iterator[Any]:
    """The tables of what changed since the watermark, from where the last run stopped.

    Args:
        entity: the entity to read.
        context: the run.
        request: what the run requests of the entity.
        result: what the run did with the entity.
    """
    state = dlt.current.resource_state(entity.name)
    request = with_state(request, entity, state)
    result.watermark = result.watermark_before = watermark_in(entity, state)
    checkpoint = _begin(entity, context, result, state, request)
    if context.chunk.full:
        return iter(())
    return _ListRead(entity, context, result, state, loaded_from(state, request.start_date), checkpoint).read()


class _ListRead:
    """One round of reading the list of an entity, from a checkpoint on."""

    def __init__(
        self,
        entity: Entity,
        context: SyncContext,
        result: EntityResult,
        state: State,
        start_date: str | None,
        checkpoint: Checkpoint,
    ) -> None:
        self.entity, self.context, self.result, self.state = entity, context, result, state
        self.start_date, self.checkpoint, self.key = start_date, checkpoint, entity.key[0]
        self.mask, self.missing_ids = context.settings.privacy.mask(entity), result.missing_ids
        self.reader = page_reader(context, entity, checkpoint.since, max_rows=state.get("page_rows"))
        # One decision for the whole walk, however many rounds it takes: digests are those of what the destination has.
        in_blocks = entity.read_in_blocks(checkpoint.since)
        is_live = (lambda _: True) if self.missing_ids is None else self.missing_ids.was_loaded
        self.blocks = Blocks(state, self.key, checkpoint.last_id is not None, is_live) if in_blocks else None

    def read(self) -> Iterator[Any]:
        """Yields tables up to the end of the list or of the chunk.

        Checkpoint and rows are one load package: the checkpoint is in the state before the rows are yielded. When the
        chunk or the budget ends, the generator returns, because an exception would discard both.
        """
        chunk = self.context.chunk
        from_checkpoint = read_list(
            self.reader, self.key, self.checkpoint.skip, self.checkpoint.last_id, self.checkpoint.patience
        )
        block_key = None if self.blocks is None else self.key
        for step in batches(from_checkpoint, self._is_enough, block_key, lambda: chunk.full):
            self._record_list(step)
            changed = self._changed(step)
            complete, tables = self._complete(step, changed)
            # Tags can cost a call per record, so the calls may run out before the last row.
            is_cut = len(complete) < len(changed)
            self._store_checkpoint(step, complete, is_cut)
            yield from tables
            self.result.notes += filter(None, [step.note])
            self.result.rows += len(complete) if is_cut else len(step.rows)
            self.result.merged += len(complete)
            self.context.on_progress()
            if is_cut:
                self.context.budget.check()
                return
            if step.skip is not None and chunk.full:
                return
        self._end(step.unconfirmed)

    def _is_enough(self, step: Step) -> bool:
        """Pages are written together, since each table written takes a while.

        The first page is written alone: after it, it is known whether definitions and tags cost calls. So are pages
        whose tags cost calls. While a page is awaited, less is written together, and before the last pages whatever
        was read.
        """
        at_once = not self.result.rows or tags_cost_calls(self.context, self.entity)
        is_last = self.reader.pages_to_go in range(LAST_PAGES + 1)
        enough = step.size >= (WAITING_BYTES if self.reader.awaits_page else BATCH_BYTES)
        return at_once or enough or (is_last and self.reader.awaits_page) or self.context.chunk.full

    def _record_list(self, step: Step) -> None:
        """Records what a step says of the list, whether or not its rows are written."""
        self.checkpoint = self.checkpoint.with_start(step.requested_at)
        _record_page_rows(self.state, self.reader.max_rows, self.context)
        record_dates(self.entity, self.state, step.rows)
        if self.missing_ids is not None:
            self.missing_ids.meet((row[self.key] for row in step.rows), step.last_id)

    def _changed(self, step: Step) -> list[Record]:
        """The rows to write: those of blocks that have changed, or all."""
        changed = step.rows if self.blocks is None else self.blocks.changed(step.rows, self.mask.mask)
        return step.rows if "full" in self.state else changed

    def _complete(self, step: Step, changed: list[Record]) -> tuple[list[Record], list[Any]]:
        """The records that are complete, as many as there are calls for, and their tables."""
        if not changed:
            return [], []
        entity, context = self.entity, self.context
        room = None if step.at is None else context.chunk.room  # a list in no order is not resumed
        complete, shaped = complete_and_shape(entity, context, changed, self.result, room)
        self.result.record_changed_keys(entity, complete)
        _warn_of_future_dates(entity, complete, step.clock_skew)
        return complete, [*marked(shaped), *definition_tables(entity, context)]

    def _store_checkpoint(self, step: Step, complete: list[Record], is_cut: bool) -> None:
        """Stores where the walk resumes: after the step, or after its last complete record."""
        if not is_cut and self.blocks is not None:
            self.blocks.record()
        if is_cut and complete and step.at is not None:
            self.checkpoint = replace(self.checkpoint, skip=step.at, last_id=complete[-1][self.key])
        elif not is_cut and step.skip is not None:
            self.checkpoint = replace(self.checkpoint, skip=step.skip, last_id=step.last_id, patience=step.patience)
        else:
            return
        self.checkpoint.store(self.state)
        if self.missing_ids is not None:
            self.state["missing_ids"] = self.missing_ids.up_to(self.checkpoint.last_id)

    def _end(self, unconfirmed: bool) -> None:
        """Records that the list was read to its end, and the watermark that follows from it."""
        state, result, started = self.state, self.result, self.checkpoint.started
        assert started is not None
        if not accept_end(state, unconfirmed):
            result.notes.append(UNCONFIRMED_END)
            result.end(state)
            return
        # Pages may have been too large for a busy hour alone, so the next walk tries larger ones.
        _record_page_rows(state, 2 * self.reader.max_rows, self.context)
        if self.entity.read == "incremental" and cursor_reliable(self.entity, state):
            full, lookback = rereads_everything(state, self.start_date), self.context.settings.lookback_seconds
            result.watermark = next_watermark(started, lookback, result.watermark_before, full)
            store_watermark(state, result.watermark)
            forget(state)
        elif self.blocks is not None:
            self.blocks.end()
        end(state, self.checkpoint, self.start_date, () if self.missing_ids is None else self.missing_ids.up_to(None))
        result.end(state)


def with_state(request: ReadRequest, entity: Entity, state: State) -> ReadRequest:
    """The request, or one of everything where the filter by date is not reliable by the entity's state."""
    return request if cursor_reliable(entity, state) else replace(request, always_full=True, since=None)


def _begin(
    entity: Entity, context: SyncContext, result: EntityResult, state: State, request: ReadRequest
) -> Checkpoint:
    """Where the walk goes on; in the first round of a run, the request is taken into account."""
    start_date, watermark = loaded_from(state, request.start_date), result.watermark
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


def _record_page_rows(state: State, rows: int, context: SyncContext) -> None:
    if rows < top_of(context):
        state["page_rows"] = rows
    else:
        state.pop("page_rows", None)


def _warn_of_future_dates(entity: Entity, records: list[Record], clock_skew: float) -> None:
    """A date later than the service's own clock means a skew that the lookback has to cover."""
    texts = (date for record in records if isinstance(date := record.get(DATE_UPDATED), str))
    latest = parse_api(max(texts, default=None))
    if latest is None:
        return
    ahead = latest - datetime.now(UTC) - timedelta(seconds=clock_skew)
    if ahead > timedelta(seconds=1):
        logger.warning("%s: a record is stamped %s after the service's own clock", entity.name, ahead)
