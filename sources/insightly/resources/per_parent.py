"""Per-record collections: read for each parent record that is new or changed.

The state keeps a checkpoint and a watermark per parent entity, as if it were an entity by itself. So the first run
reads the rows of every parent record, however long ago that was loaded, and a later run those of the changed ones.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dlt

from ..context import Record, SyncContext
from ..entities import ENTITIES, Entity
from ..errors import EndlessList, Forbidden, InsightlyError, NotAvailable, NotFound
from ..result import EntityResult
from ..state.checkpoint import (
    UNCONFIRMED_END,
    Checkpoint,
    State,
    accept_end,
    begin,
    checkpoint_of,
    end,
    finish_full,
    loaded_from,
    rereads_everything,
    restart,
    start_full,
)
from ..state.request import ReadRequest
from ..state.watermark import next_watermark
from .hints import marked, shaper_of
from .incremental import BATCH_BYTES, note_contradiction
from .sublists import Sublist, Sublists, read_sublist

BATCH = 500
"""Sublists that are written together at most."""
REFUSALS = 20
"""Refusals in a row, from the first record on, after which it is checked whether any record is readable."""


@dataclass
class _Progress:
    """How far a run came with an entity; `refused` are the errors of parent entities that are not available."""

    parents: dict[str, "_ParentRead"] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    refused: dict[str, NotAvailable] = field(default_factory=dict)


def read_per_parent(entity: Entity, context: SyncContext, request: ReadRequest, result: EntityResult) -> Iterator[Any]:
    """Yields the rows of the parent records that changed, all rows of a record together.

    Raises:
        NotAvailable: a parent entity is refused that was readable before, or none ever was. The others were yielded.
    """
    state = dlt.current.resource_state()
    if result.progress is None:
        result.progress = _Progress()
        _begin(entity, request, result, state)
        result.watermark = result.watermark_before = watermark_of_parents(entity, state)
    progress: _Progress = result.progress
    if context.chunk.full:
        return
    left = [parent for parent in entity.read_parents if parent not in progress.done]
    # Unfinished ones first: a read that is repeated within a budget ends this way.
    for parent in sorted(left, key=lambda name: "checkpoint" not in state["parents"][name]):
        own = state["parents"][parent]
        if parent not in progress.parents:
            progress.parents[parent] = _ParentRead(entity, parent, context, request, result, own)
        try:
            ended = yield from progress.parents[parent].read(own)
        except NotAvailable as error:
            progress.refused[parent] = error
            result.notes.append(f"{entity.name} of {parent} are not available: {error}")
            ended = True
        if not ended:
            return
        progress.done.add(parent)
    _assert_available(progress, state)
    finish_full(state)
    result.watermark = watermark_of_parents(entity, state)
    result.end(state)


def watermark_of_parents(entity: Entity, state: Mapping[str, Any]) -> str | None:
    """Up to when every change is loaded; None before the first complete walk over each parent entity."""
    names = [name for name in entity.read_parents if ENTITIES[name].read == "incremental"]
    watermarks = [state.get("parents", {}).get(name, {}).get("watermark") for name in names]
    return None if None in watermarks else min(watermarks, default=None)


def parent_checkpoint(parent: str, state: Mapping[str, Any], request: ReadRequest) -> Checkpoint:
    """Where the walk over the records of `parent` starts, by its part of the state, which is not changed."""
    return begin(dict(state), state.get("watermark"), _parent_request(parent, state, request))


def _begin(entity: Entity, request: ReadRequest, result: EntityResult, state: State) -> None:
    """Records for every parent entity what is to be read again, since a run may end before it comes to all."""
    start_full(state, request)
    state["mask"] = request.mask
    parents = state.setdefault("parents", {})
    for name in entity.read_parents:
        own = parents.setdefault(name, {})
        note_contradiction(own.get("watermark"), request, result)
        begin(own, own.get("watermark"), _parent_request(name, own, request))


def _parent_request(parent: str, state: Mapping[str, Any], request: ReadRequest) -> ReadRequest:
    """The request for one parent entity: in a full read of several runs, only what changed once that entity is done."""
    if request.full and "again" not in state and state.get("full_done") == request.run:
        request = replace(request, full=False, rest=True)
    # Records without the date of their last change cannot be searched by it.
    return request if ENTITIES[parent].read == "incremental" else replace(request, start_date=None, since=None)


def _assert_available(progress: _Progress, state: State) -> None:
    """A parent entity that was never available does not make the others fail."""
    lost = [error for name, error in progress.refused.items() if "readable" in state["parents"][name]]
    ever = any("readable" in own for own in state["parents"].values())
    if lost or (progress.refused and not ever):
        raise (lost or list(progress.refused.values()))[0]


class _ParentRead:
    """Reads the rows of the records of one parent entity, in all rounds of a run.

    `unwritten` are sublists, with offsets, that are not written yet. Until a record has `answered`, or the collection
    `is_readable`, refusals may mean that no record is.
    """

    def __init__(
        self,
        entity: Entity,
        parent: str,
        context: SyncContext,
        request: ReadRequest,
        result: EntityResult,
        state: State,
    ) -> None:
        self.entity, self.parent, self.context, self.result = entity, ENTITIES[parent], context, result
        self.start_date = loaded_from(state, _parent_request(parent, state, request).start_date)
        self.checkpoint = checkpoint_of(state, state.get("watermark"), self.start_date)
        self.sublists = Sublists(context, entity, parent, self.checkpoint)
        self.iterator = iter(self.sublists)
        self.unwritten = list[tuple[Sublist, int | None]]()
        self.answered = self.is_readable = False

    def read(self, state: State) -> Generator[Any, None, bool]:
        """Yields tables; returns True at the end, False where the chunk is spent.

        Args:
            state: that of the parent entity's walk, in this round.
        """
        self.state, unwritten = state, self.unwritten
        while True:
            try:
                taken = next(self.iterator, None)
            except InsightlyError as error:
                yield from self._write()
                if isinstance(error, EndlessList):
                    restart(self.state)
                raise
            if taken is None:
                break
            self.checkpoint = self.checkpoint.with_start(self.sublists.requested_at)
            sublist, _ = taken
            self.context.chunk.add(sublist.calls)
            unwritten.append(taken)
            if sublist.refused is None:
                self.answered = True
            elif len(unwritten) == REFUSALS:
                self._assert_readable()
            size = sum(each.size for each, _ in unwritten)
            if len(unwritten) >= BATCH or size >= BATCH_BYTES or self.context.chunk.full:
                yield from self._write()
            if self.context.chunk.full:
                return False
        self._assert_readable()
        yield from self._write()
        self.result.notes += [f"{self.parent.name}: {note}" for note in self.sublists.notes]
        self._end()
        return True

    def _assert_readable(self) -> None:
        """Raises NotAvailable where all records are refused, and so is one that was readable before.

        One refused record is skipped.
        """
        refusals = [sublist.refused for sublist, _ in self.unwritten if sublist.refused is not None]
        if self.answered or self.is_readable or not refusals:
            return
        if "readable" in self.state:
            probed = read_sublist(self.context, self.entity, self.parent.name, self.state["readable"])
            self.is_readable = probed.refused is None
        else:
            self.is_readable = all(isinstance(error, NotFound) for error in refusals) and len(refusals) < REFUSALS
        if not self.is_readable:
            raise next((error for error in refusals if isinstance(error, Forbidden)), refusals[0])

    def _write(self) -> Iterator[Any]:
        """Yields the unwritten rows; the checkpoint after them is in the state first, so both are one load package."""
        if not self.unwritten or not (self.answered or self.is_readable):
            return
        sublists = [sublist for sublist, _ in self.unwritten]
        readable = [sublist for sublist in sublists if sublist.refused is None]
        groups = [(self.entity.parent_values(self.parent, sublist.id), sublist.rows) for sublist in readable]
        tables = list(marked(shaper_of(self.entity, self.context).shape_groups(groups))) if groups else []
        if (skip := self.unwritten[-1][1]) is not None:
            patience = self.sublists.patience
            self.checkpoint = replace(self.checkpoint, skip=skip, last_id=sublists[-1].id, patience=patience)
            self.checkpoint.store(self.state)
        if readable:
            self.state["readable"] = readable[-1].id
        self.unwritten.clear()
        yield from tables
        rows = sum(len(sublist.rows) for sublist in readable)
        self.result.rows += rows
        self.result.merged += rows
        self._count(sublists)
        self.context.on_progress()

    def _count(self, sublists: Sequence[Sublist]) -> None:
        parent, name, counted = self.parent.name, self.entity.name, self.result.counted
        for sublist in sublists:
            if isinstance(sublist.refused, NotFound):
                counted[f"records of {parent} deleted before their {name} were read"] += 1
            elif sublist.refused is not None:
                counted[f"records of {parent} that do not show this key their {name} (403), whose rows are kept"] += 1
            elif duplicates := _duplicates(self.entity, sublist.rows):
                counted["rows with the key of another row of their record, which are all kept"] += duplicates
            if sublist.miscounted:
                counted[f"records of {parent} that list other numbers of {name} than the API counts"] += 1

    def _end(self) -> None:
        if self.parent.read == "incremental" and not accept_end(self.state, self.sublists.unconfirmed):
            self.result.notes.append(f"{self.parent.name}: {UNCONFIRMED_END}")
            return
        checkpoint = self.checkpoint.with_start(self.sublists.requested_at)
        assert checkpoint.started is not None
        if self.parent.read == "incremental":
            lookback, current = self.context.settings.lookback_seconds, self.state.get("watermark")
            full = rereads_everything(self.state, self.start_date)
            self.state["watermark"] = next_watermark(checkpoint.started, lookback, current, full)
        end(self.state, checkpoint, self.start_date)
        if self.parent.read != "incremental" and checkpoint.last_id is not None:
            # The next run continues after the last record: only new ones of these parents can be recognized.
            replace(checkpoint, patience=None).store(self.state)


def _duplicates(entity: Entity, rows: Sequence[Record]) -> int:
    """How many rows have the key of an earlier one. With a single id, copies of a row were dropped before."""
    return len(rows) - len({str([row.get(part) for part in entity.key]) for row in rows})
