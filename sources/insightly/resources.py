"""Entities -> dlt resources: the only module that turns walks into tables and state."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import dlt
from dlt.common.schema import Schema
from dlt.extract import DltResource

from .cursor import Place, State, earlier, iso, parse, place_of, request_again, watermark
from .custom_fields import definitions_of
from .entities import DATE_UPDATED, ENTITIES, RECORD_TYPES, Entity, FieldType
from .errors import Forbidden, NotAvailable, Unsorted
from .records import IS_EMPTY, Shaped, Shaper
from .session import Outcome, Record, Session
from .walk import Step, read_whole, walk

logger = logging.getLogger(__name__)

MERGE = {"disposition": "merge", "strategy": "delete-insert"}
DELETED_AT = "_deleted_at"
HELD_TYPES: Mapping[str, FieldType] = {
    "bigint": "integer",
    "text": "string",
    "bool": "boolean",
    "decimal": "number",
    "timestamp": "datetime",
    "date": "date",
}


def resource_of(entity: Entity, session: Session) -> DltResource:
    """The dlt resource of one entity; its child tables are variants of it, so they are selected and kept together."""

    def read_changes(
        updated: Any = dlt.sources.incremental(DATE_UPDATED, allow_external_schedulers=False),
    ) -> Iterator[Any]:
        # Its row logic is off: boundary hashes would grow the state without bound.
        updated.advance(None)
        with session.reading(entity.name) as outcome:
            yield from _changes(entity, session, outcome, updated)

    def read_reference() -> Iterator[Any]:
        with session.reading(entity.name) as outcome:
            yield from (_tags if entity.name == "tags" else _reference)(entity, session, outcome)

    return dlt.resource(
        read_changes if entity.incremental else read_reference,
        name=entity.name,
        primary_key=list(entity.key),
        write_disposition=cast(Any, MERGE),
    )


def place_in(entity: Entity, state: Mapping[str, Any], start_date: str | None) -> Place:
    """Where the next walk of an entity begins, from its resource's state."""
    held = state.get("incremental", {}).get(DATE_UPDATED, {}).get("last_value")
    return place_of(state, held, start_date)


def _changes(entity: Entity, session: Session, outcome: Outcome, updated: Any) -> Iterator[Any]:
    state = _state(session)
    start_date = session.settings.start_date_iso
    outcome.watermark = updated.last_value
    _note_request(state, session, outcome, start_date)
    place = place_of(state, updated.last_value, start_date)
    outcome.since = place.since
    if session.chunk_spent():
        return
    shaper = _shaper(entity, session)
    yield from _tables(shaper.shape([]), new_only=shaper)
    for step in _steps(entity, session, place):
        outcome.rows += len(step.rows)
        if step.rows:
            _define(entity, session, shaper)
            _fill_tags(entity, session, step.rows, outcome)
            _warn_of_the_future(entity, session, step.rows)
        if step.skip is not None:
            started = place.started or iso(session.started_at[entity.name])
            place = Place(place.since, started, step.skip, step.last_id)
            place.store(state)
        if step.rows:
            yield from _tables(shaper.shape(step.rows))
            yield from _custom_fields(entity, session)
            outcome.merged += len(step.rows)
        _tell(shaper, outcome)
        session.on_progress()
        if step.skip is not None and session.chunk_spent():
            return
    started = place.started or iso(session.started_at[entity.name])
    outcome.watermark = watermark(started, session.settings.lookback_seconds, updated.last_value)
    updated.advance(outcome.watermark)
    state.pop("place", None)
    state.pop("again", None)
    state["start_date"] = start_date
    _end(state, outcome)


def _note_request(state: State, session: Session, outcome: Outcome, start_date: str | None) -> None:
    """Notes in state what this run was asked to read again, once; a later chunk finds it there."""
    if outcome.since is not None or outcome.rows or outcome.notes:
        return
    if session.request.full:
        request_again(state, start_date)
    elif session.request.since is not None:
        request_again(state, session.request.since)
    elif "start_date" in state and earlier(start_date, state["start_date"]):
        request_again(state, start_date)
    elif "start_date" in state and earlier(state["start_date"], start_date):
        outcome.notes.append(
            f"start_date {start_date} is later than the one loaded from ({state['start_date'] or 'everything'}); "
            "it changes nothing"
        )


def _steps(entity: Entity, session: Session, place: Place) -> Iterator[Step]:
    fetch = session.lookahead(entity, place.since)
    key = entity.key[0]
    try:
        yield from walk(fetch, key, place.skip, place.last_id)
    except Unsorted as error:
        logger.warning("%s: %s; it is read whole", entity.name, error)
        fetch.close()
        yield from read_whole(fetch, key)


def _reference(entity: Entity, session: Session, outcome: Outcome) -> Iterator[Any]:
    if session.chunk_spent():
        return
    state = _state(session)
    place = Place(None, None, 0, None)
    records = [row for step in _steps(entity, session, place) for row in step.rows]
    outcome.rows = len(records)
    if _changed(state, "content", records) or session.request.full:
        shaper = _shaper(entity, session)
        replace = {"disposition": "replace"}
        for shaped in shaper.shape(records):
            yield _marked(shaped, replace)
        _tell(shaper, outcome)
        outcome.merged = len(records)
    _end(state, outcome)


def _tags(entity: Entity, session: Session, outcome: Outcome) -> Iterator[Any]:
    if session.chunk_spent():
        return
    state = _state(session)
    contents = state.setdefault("contents", {})
    shaper = _shaper(entity, session, group="RECORD_TYPE")
    readers = {kind: session.lookahead(entity, variant=kind) for kind in RECORD_TYPES}
    for reader in readers.values():
        reader.prime(0)
    refused: NotAvailable | None = None
    yield from _tables(shaper.shape([]), new_only=shaper)
    for kind, fetch in readers.items():
        try:
            records = [row for step in _tag_steps(fetch) for row in step.rows]
        except NotAvailable as error:
            refused = error
            outcome.notes.append(f"tags of {kind} are not available: {error}")
            continue
        outcome.rows += len(records)
        if _changed(contents, kind, records) or session.request.full:
            yield from _tables(shaper.shape_group(kind, records))
            outcome.merged += len(records)
    if refused is not None and not outcome.rows:
        raise refused
    _tell(shaper, outcome)
    _end(state, outcome)


def _state(session: Session) -> State:
    """The resource's state; with it goes the account that the destination holds."""
    if session.account is not None:
        dlt.current.source_state()["account"] = session.account
    return dlt.current.resource_state()


def _end(state: State, outcome: Outcome) -> None:
    state["ended"] = iso(datetime.now(UTC))
    outcome.state = "ok"


def _tag_steps(fetch: Any) -> Iterator[Step]:
    try:
        yield from walk(fetch, "TAG_NAME")
    except Unsorted:
        # Names are no numbers: more than a page of them is read until none is missing.
        fetch.close()
        yield from read_whole(fetch, "TAG_NAME")


def _changed(state: State, name: str, records: Sequence[Record]) -> bool:
    """True where the content differs from what was loaded last; the new content's digest is kept in state."""
    told = json.dumps(records, sort_keys=True, default=str).encode()
    digest = hashlib.sha256(told).hexdigest()
    if state.get(name) == digest:
        return False
    state[name] = digest
    return True


def _define(entity: Entity, session: Session, shaper: Shaper) -> None:
    if not entity.custom_fields or entity.name in session.definitions:
        return
    shaper.define(definitions_of(entity, session.definitions_of(entity) or ()))


def _custom_fields(entity: Entity, session: Session) -> Iterator[Any]:
    """The definitions themselves, as table `custom_fields`, once a run and only when they changed."""
    told = session.definitions.get(entity.name)
    if told is None or not entity.custom_fields:
        return
    mine = definitions_of(entity, told)
    if not _changed(dlt.current.resource_state(), "custom_fields", mine):
        return
    definitions = ENTITIES["custom_fields"]
    shaper = _shaper(definitions, session, group="FIELD_FOR")
    yield from _tables(shaper.shape_group(entity.field_for, mine))


def _fill_tags(entity: Entity, session: Session, records: list[Record], outcome: Outcome) -> None:
    """Asks for the tags of records whose payload does not tell them (`auto`), or of all (`endpoint`)."""
    mode = session.settings.tags
    if not entity.tagged or mode not in ("auto", "endpoint"):
        return
    asked = [record for record in records if mode == "endpoint" or record.get("TAGS") is None]
    if not asked:
        return
    try:
        answers = session.tags_of(entity, [record[entity.key[0]] for record in asked])
    except Forbidden as error:
        outcome.notes.append(f"tags of {entity.name} may not be read: {error}")
        return
    gone = 0
    for record, tags in zip(asked, answers, strict=True):
        if tags is None:
            gone += 1
            record.pop("TAGS", None)
        else:
            record["TAGS"] = tags
    if gone:
        outcome.notes.append(f"{gone} records of {entity.name} went away before their tags were read")


def _warn_of_the_future(entity: Entity, session: Session, records: Iterable[Record]) -> None:
    """A stamp later than the service's own clock means a skew that the lookback has to cover."""
    stamps = [stamp for record in records if isinstance(stamp := record.get(DATE_UPDATED), str)]
    started = session.started_at.get(entity.name)
    if not stamps or started is None:
        return
    try:
        ahead = (parse(max(stamps)) - started).total_seconds()
    except ValueError:
        return
    if ahead > session.settings.lookback_seconds:
        logger.warning("%s: a record is stamped %.0f s after the service's own clock", entity.name, ahead)


def _shaper(entity: Entity, session: Session, group: str | None = None) -> Shaper:
    if entity.name not in session.shapers:
        schema = dlt.current.source_schema()
        session.shapers[entity.name] = Shaper(entity, schema.naming.normalize_path, _held(schema), group)
    return session.shapers[entity.name]


def _held(schema: Schema) -> dict[str, dict[str, FieldType]]:
    """The types of the columns the destination holds."""
    return {
        name: {
            column: HELD_TYPES.get(str(facts.get("data_type")), "string")
            for column, facts in table["columns"].items()
            if "data_type" in facts
        }
        for name, table in schema.tables.items()
    }


def _tables(tables: Iterable[Shaped], new_only: Shaper | None = None) -> Iterator[Any]:
    for shaped in tables:
        if new_only is None or shaped.table not in new_only.held:
            yield _marked(shaped, MERGE)


def _marked(shaped: Shaped, disposition: Mapping[str, str]) -> Any:
    # A variant inherits the resource's primary key; without its own, one child per parent would be kept.
    columns: dict[str, Any] = {}
    if IS_EMPTY in shaped.rows.column_names:
        columns[IS_EMPTY] = {"hard_delete": True}
    hints = dlt.mark.make_hints(
        table_name=shaped.table,
        primary_key=list(shaped.key),
        merge_key=list(shaped.merge_key or ()),
        write_disposition=cast(Any, disposition),
        columns=columns,
    )
    return dlt.mark.with_hints(shaped.rows, hints, create_table_variant=True)


def _tell(shaper: Shaper, outcome: Outcome) -> None:
    outcome.notes.extend(change for change in shaper.changes if change not in outcome.notes)
