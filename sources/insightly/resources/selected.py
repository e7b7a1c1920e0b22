"""Single records, read by id or found by the value of a field: their rows and child rows are replaced, and neither
watermark nor checkpoint moves."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dlt

from ..api.search import parse_filter
from ..context import Record, SyncContext, normalize
from ..entities import DATE_UPDATED, Entity
from ..errors import Forbidden, MalformedResponse, NotFound, Stop, plural
from ..paging.digests import forget
from ..paging.walk import read_list
from ..result import EntityResult
from ..state.checkpoint import Checkpoint, State, loaded_from
from ..state.request import ReadRequest, SearchFilter
from ..state.times import parse, parse_api
from ..state.watermark import cursor_reliable, record_dates, watermark_in
from .enrich import complete_and_shape, definition_tables
from .fetch import page_reader, read_definitions, records_of
from .hints import marked
from .reference import without_digest

BATCH = 100


def search_filter(context: SyncContext, entity: Entity, where: str) -> SearchFilter:
    """What `FIELD=VALUE` means for an entity; this may request the definitions of its custom fields.

    Raises:
        BadSetting: there is no such field, or it cannot have that value.
    """
    return parse_filter(entity, where, normalize, lambda: read_definitions(context, entity))


def read_selected(entity: Entity, context: SyncContext, request: ReadRequest, result: EntityResult) -> Iterator[Any]:
    """Yields the tables of the records with the request's `ids`, or of those that its `search` finds.

    The row of a record that is gone or hidden stays as it is; its id is in the result.

    Args:
        entity: the entity to read.
        context: the run.
        request: which records.
        result: what the run did with the entity.
    """
    state = dlt.current.resource_state(entity.name)
    result.watermark = result.watermark_before = watermark_in(entity, state)
    # The next sync must write these records even if by then they are as they were before.
    contents: State = state.get("contents", {})
    contents.update({name: without_digest(content) for name, content in contents.items()})
    forget(state)
    read = _SelectedRead(entity, context, result, state, loaded_from(state, request.start_date))
    yield from read.by_id(request.ids or ()) if request.search is None else read.by_search(request.search)


@dataclass(frozen=True)
class _SelectedRead:
    """One round of reading records of an entity; those last changed before `start_date` are left out."""

    entity: Entity
    context: SyncContext
    result: EntityResult
    state: State
    start_date: str | None

    def by_id(self, requested: Sequence[Any]) -> Iterator[Any]:
        entity, context, result, key = self.entity, self.context, self.result, self.entity.key[0]
        if result.not_read is None:
            result.not_read = list(requested)
        while result.not_read:
            if context.chunk.full:
                return
            ids = result.not_read[: self._affordable()]
            answers = dict(zip(ids, records_of(context, entity, ids), strict=True))
            context.chunk.add(len(answers))
            for id_, answer in answers.items():
                if isinstance(answer, dict) and answer.get(key) != id_:
                    raise MalformedResponse(
                        f"GET of {key} {id_} came back with {key} {answer.get(key)}; nothing is loaded"
                    )
            records = [answer for answer in answers.values() if isinstance(answer, dict)]
            written = yield from self._tables(records)
            left = {record[key] for record in records[written:]}
            result.gone += [id_ for id_, answer in answers.items() if isinstance(answer, NotFound)]
            result.hidden += [id_ for id_, answer in answers.items() if isinstance(answer, Forbidden)]
            result.not_read[: len(ids)] = [
                id_ for id_, answer in answers.items() if isinstance(answer, Stop) or id_ in left
            ]
            if left:
                context.budget.check()
            for answer in answers.values():
                if isinstance(answer, Stop):
                    raise answer
        result.state = "ok"

    def _affordable(self) -> int:
        """How many records to read at once: with few calls left, those for definitions and tags are set aside."""
        left = self.context.budget.left()
        if left is None:
            return BATCH
        left -= self.entity.custom_fields and self.entity.name not in self.context.definitions
        tags = self.entity.tagged and self.context.settings.tags in ("auto", "endpoint")
        return min(BATCH, max(left // (1 + tags), 1))

    def by_search(self, search: SearchFilter) -> Iterator[Any]:
        entity, context, result = self.entity, self.context, self.result
        if context.chunk.full:
            return
        checkpoint = result.progress = result.progress or Checkpoint(None)
        reader = page_reader(context, entity, search=search)
        for step in read_list(reader, entity.key[0], checkpoint.skip, checkpoint.last_id, checkpoint.patience):
            if not all(map(search.matches, step.rows)):
                raise MalformedResponse(
                    f"GET /{entity.search_path}: the answer has records whose {search.field} is another, so "
                    "the API did not filter by that field; none of them is loaded"
                )
            written = yield from self._tables(step.rows)
            result.notes += filter(None, [step.note])
            if written < len(step.rows):
                context.budget.check()
            if step.skip is not None:
                result.progress = replace(checkpoint, skip=step.skip, last_id=step.last_id, patience=step.patience)
                if context.chunk.full:
                    return
        result.state = "ok"

    def _tables(self, records: Sequence[Record]) -> Generator[Any, None, int]:
        """Yields the tables of records; returns how many of them, from the first on, there were enough calls for."""
        entity, context, result = self.entity, self.context, self.result
        inside = list(filter(self._is_inside, records))
        if len(inside) < len(records):
            skipped = len(records) - len(inside)
            result.notes.append(f"{plural(skipped, 'record')} last changed before start_date left out, as a sync does")
        if not inside:
            return len(records)
        if cursor_reliable(entity, self.state):
            record_dates(entity, self.state, inside)
        complete, shaped = complete_and_shape(entity, context, inside, result)
        if complete:
            result.record_changed_keys(entity, complete)
            yield from marked(shaped)
            yield from definition_tables(entity, context)
        result.rows += len(complete)
        result.merged += len(complete)
        context.on_progress()
        return len(records) if len(complete) == len(inside) else records.index(inside[len(complete)])

    def _is_inside(self, record: Record) -> bool:
        """Whether a sync would read the record: sweep and verify compare with that set."""
        updated = parse_api(record.get(DATE_UPDATED))
        return self.start_date is None or updated is None or updated > parse(self.start_date)
