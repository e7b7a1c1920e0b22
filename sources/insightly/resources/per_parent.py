"""Entities without a list of their own: read under each parent record that is new or changed.

Of each entity of parents the state keeps a place and a watermark of its own, as if it were an entity by itself. So
the first run reads under every record, however long ago that was loaded, and a later one under those that changed.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dlt

from ..context import Record, SyncContext
from ..entities import ENTITIES, Entity
from ..errors import Forbidden, InsightlyError, NotAvailable, NotFound
from ..result import EntityResult
from ..state.checkpoint import Checkpoint, State, begin, checkpoint_of, end, loaded_from, note_full, settle
from ..state.request import ReadRequest
from ..state.times import iso
from ..state.watermark import watermark
from .fetch import parent_of
from .hints import marked, missing, shaper_of
from .incremental import BATCH_BYTES
from .sublists import Sublist, Taken, read_sublist, sublists

BATCH = 500
"""Sublists that are written together at the most."""
REFUSALS = 20
"""Refusals in a row, from the first record on, after which it is asked whether any record may be read."""


@dataclass
class _Part:
    """How far a run came under the records of one entity.

    `held` is what is not written yet; before one `answered`, or is `known` to, a refusal may mean that none will.
    """

    answers: Iterator[Taken]
    checkpoint: Checkpoint
    held: list[Taken] = field(default_factory=list)
    answered: bool = False
    known: bool = False


@dataclass
class _UnderWay:
    """How far a run came with an entity."""

    parts: dict[str, _Part] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    refused: dict[str, NotAvailable] = field(default_factory=dict)


def read_under(entity: Entity, context: SyncContext, result: EntityResult) -> Iterator[Any]:
    """Yields the rows under the parent records that changed, all rows of a record together.

    Raises:
        NotAvailable: no record answered, and of those that were refused some once did, or none ever.
    """
    state = dlt.current.resource_state()
    if entity.name not in context.under_way:
        context.under_way[entity.name] = _UnderWay()
        _begin(entity, context.request_of(entity.name), state)
        result.watermark = result.watermark_before = reached(entity, state)
    run: _UnderWay = context.under_way[entity.name]
    if context.chunk_spent():
        return
    yield from missing(shaper_of(entity, context, tuple(entity.parent_key)))
    left = [parent for parent in entity.read_parents if parent not in run.done]
    # Unfinished ones first: asked for again within a budget, all come to their end.
    for parent in sorted(left, key=lambda name: "checkpoint" not in state["under"][name]):
        try:
            ended = yield from _Reading(entity, parent, context, result, state["under"][parent], run).read()
        except NotAvailable as error:
            run.refused[parent] = error
            result.notes.append(f"{entity.name} of {parent} are not available: {error}")
            ended = True
        if not ended:
            return
        run.done.add(parent)
    _assert_available(run, state)
    settle(state)
    result.watermark = reached(entity, state)
    context.end(result, state)


def reached(entity: Entity, state: Mapping[str, Any]) -> str | None:
    """Up to when everything that changed is loaded; None before the first complete walk over each entity of parents."""
    parts = [
        state.get("under", {}).get(name, {}) for name in entity.read_parents if ENTITIES[name].read == "incremental"
    ]
    marks = [part.get("watermark") for part in parts]
    return None if None in marks else min(marks, default=None)


def checkpoint_under(parent: str, part: Mapping[str, Any], request: ReadRequest) -> Checkpoint:
    """Where the walk over the records of `parent` begins, by its part of the state, which is left as it is."""
    return begin(dict(part), part.get("watermark"), _request_of(parent, part, request))


def _begin(entity: Entity, request: ReadRequest, state: State) -> None:
    """Notes in every part what is to be read again, for a run may end before it comes to them all."""
    note_full(state, request)
    state["mask"] = request.mask
    parts = state.setdefault("under", {})
    for name in entity.read_parents:
        part = parts.setdefault(name, {})
        begin(part, part.get("watermark"), _request_of(name, part, request))


def _request_of(parent: str, part: Mapping[str, Any], request: ReadRequest) -> ReadRequest:
    """What is asked of one part: in a full read that takes several runs, only what changed, once it is done."""
    if request.full and "again" not in part and part.get("full_done") == request.run:
        request = replace(request, full=False, rest=True)
    # Records without a date of their last change cannot be asked for by one.
    return request if ENTITIES[parent].read == "incremental" else replace(request, start_date=None, since=None)


def _assert_available(run: _UnderWay, state: State) -> None:
    """Where one entity of parents was never available, the others are not to fail with it."""
    ever = {name for name, part in state["under"].items() if "readable" in part}
    answered = any(part.answered for part in run.parts.values())
    if run.refused and not answered and (not ever or ever & run.refused.keys()):
        raise next(iter(run.refused.values()))


class _Reading:
    """One turn of reading under the records of one entity."""

    def __init__(
        self, entity: Entity, parent: str, context: SyncContext, result: EntityResult, state: State, run: _UnderWay
    ) -> None:
        self.entity, self.parent, self.context = entity, ENTITIES[parent], context
        self.result, self.state = result, state
        self.start_date = loaded_from(state, _request_of(parent, state, context.request_of(entity.name)).start_date)
        if parent not in run.parts:
            checkpoint = checkpoint_of(state, state.get("watermark"), self.start_date)
            run.parts[parent] = _Part(sublists(context, entity, parent, checkpoint), checkpoint)
        self.part = run.parts[parent]

    def read(self) -> Generator[Any, None, bool]:
        """Yields tables; returns True at the end, False where the chunk is spent."""
        while (taken := (yield from self._next())) is not None:
            self.context.count_calls(taken.sublist.calls, taken.sublist.size)
            self.part.held.append(taken)
            self._weigh(taken.sublist)
            size = sum(each.sublist.size for each in self.part.held)
            if len(self.part.held) >= BATCH or size >= BATCH_BYTES or self.context.chunk_spent():
                yield from self._write()
            if self.context.chunk_spent():
                return False
        self._assert_readable()
        yield from self._write()
        self._end()
        return True

    def _next(self) -> Generator[Any, None, Taken | None]:
        try:
            return next(self.part.answers, None)
        except InsightlyError:
            yield from self._write()
            raise

    def _weigh(self, sublist: Sublist) -> None:
        """A record that may not be read is passed over; when none may, nothing is."""
        if sublist.refused is None:
            self.part.answered = True
        elif len(self.part.held) == REFUSALS:
            self._assert_readable()

    def _assert_readable(self) -> None:
        """Raises NotAvailable where all records asked were refused, and so is one that was readable before."""
        part = self.part
        refusals = [refused for taken in part.held if (refused := taken.sublist.refused) is not None]
        if part.answered or part.known or not refusals:
            return
        if "readable" in self.state:
            witness = read_sublist(self.context, self.entity, self.parent.name, self.state["readable"])
            part.known = witness.refused is None
        else:
            part.known = all(isinstance(refused, NotFound) for refused in refusals) and len(refusals) < REFUSALS
        if not part.known:
            raise next((refused for refused in refusals if isinstance(refused, Forbidden)), refusals[0])

    def _write(self) -> Iterator[Any]:
        """Yields the rows held back; the place behind them is written to state first, so both are one load package."""
        held, part = self.part.held, self.part
        if not held or not (part.answered or part.known):
            return
        told = [taken.sublist for taken in held]
        read = [sublist for sublist in told if sublist.refused is None]
        groups = [(self.entity.parent_values(self.parent, sublist.id), sublist.rows) for sublist in read]
        tables = list(marked(self.context.shapers[self.entity.name].shape_groups(groups))) if groups else []
        if held[-1].skip is not None:
            part.checkpoint = Checkpoint(part.checkpoint.since, self._started(), held[-1].skip, told[-1].id)
            part.checkpoint.store(self.state)
        if read:
            self.state["readable"] = read[-1].id
        held.clear()
        yield from tables
        rows = sum(len(sublist.rows) for sublist in read)
        self.result.rows += rows
        self.result.merged += rows
        self._count(told)
        self.context.on_progress()

    def _count(self, told: Sequence[Sublist]) -> None:
        parent, name, counted = self.parent.name, self.entity.name, self.result.counted
        for sublist in told:
            if isinstance(sublist.refused, NotFound):
                counted[f"records of {parent} went away before their {name} were read"] += 1
            elif sublist.refused is not None:
                counted[
                    f"records of {parent} do not show this key their {name} (403): their rows stay as they are"
                ] += 1
            elif alike := _alike(self.entity, sublist.rows):
                counted["rows have the key of another row of their record: all are kept"] += alike

    def _end(self) -> None:
        checkpoint, started = self.part.checkpoint, self._started()
        if self.parent.read == "incremental":
            lookback = self.context.settings.lookback_seconds
            self.state["watermark"] = watermark(started, lookback, self.state.get("watermark"))
        end(self.state, Checkpoint(checkpoint.since, started, 0, None), self.start_date)
        if self.parent.read != "incremental" and checkpoint.last_id is not None:
            # The next run goes on behind the last record: only new ones can be told.
            checkpoint.store(self.state)

    def _started(self) -> str:
        return self.part.checkpoint.started or iso(self.context.started_at[parent_of(self.entity, self.parent.name)])


def _alike(entity: Entity, rows: Sequence[Record]) -> int:
    """How many rows have the key of one before; where there is one id, such a row is a copy and came once."""
    return len(rows) - len({str([row.get(part) for part in entity.key]) for row in rows})
