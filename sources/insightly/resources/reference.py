"""Entities without a cursor whose lists are short: read whole each run and written only when their content changed."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import dlt

from ..context import Record, SyncContext
from ..entities import ENTITIES, OBJECTS, RECORD_TYPES, RECORDS, Entity
from ..errors import MalformedResponse, NotAvailable
from ..paging.digests import digest
from ..paging.prefetch import PageReader, read_list
from ..paging.walk import Key, identify
from ..result import EntityResult
from ..rows.custom_fields import definitions_of, object_of
from ..state.checkpoint import State, note_full, settle
from .discovery import discover
from .fetch import ask_definitions, page_reader, read_objects
from .hints import MERGE, REPLACE, marked, missing, shaper_of


def read_reference(entity: Entity, context: SyncContext, result: EntityResult) -> Iterator[Any]:
    """Yields the whole list, or each group of it, if it changed.

    The page itself says `replace`: a run that reads nothing empties nothing. A group is replaced by its merge key, and
    one that may not be read keeps its rows.
    """
    state = dlt.current.resource_state()
    note_full(state, context.request_of(entity.name))
    if context.chunk_spent():
        return
    group = GROUPS.get(entity.name, ())
    shaper = shaper_of(entity, context, group)
    yield from missing(shaper) if group else ()
    kept = definitions_kept() if entity.name == "custom_fields" else state.setdefault("contents", {})
    for name, records in read_groups(entity, context, result):
        result.rows += len(records)
        if changed(kept, name, digest(shaper.masked(records))) or "full" in state:
            groups = [(dict.fromkeys(group, name), records)]
            tables = shaper.shape_groups(groups) if group else shaper.shape(records)
            yield from marked(tables, MERGE if group else REPLACE)
            result.merged += len(records)
    settle(state)
    context.end(result, state)


def definitions_kept() -> State:
    """The digests of the definitions of custom fields that are loaded, an object each: entities load their own too."""
    kept: State = dlt.current.source_state().setdefault("definitions", {})
    return kept


def changed(kept: State, name: str, told: str) -> bool:
    """True where a digest differs from the one kept under `name`, which it then replaces."""
    if kept.get(name) == told:
        return False
    kept[name] = told
    return True


GROUPS = {"tags": ("RECORD_TYPE",), "custom_fields": ("FIELD_FOR",)}
"""Entities of which each call tells one group of rows, and the field that names it; a group is replaced by itself."""

Read = Callable[[], list[Record]]


def read_groups(entity: Entity, context: SyncContext, result: EntityResult) -> Iterator[tuple[str, list[Record]]]:
    """Reads an entity, group by group; what is no group of others is called "".

    A group that may not be read is left out, and `result` tells so.

    Raises:
        NotAvailable: none of them may be read.
    """
    readers = _readers(entity, context)
    refused: list[NotAvailable] = []
    for name, read in readers.items():
        try:
            records = read()
        except NotAvailable as error:
            refused.append(error)
            continue
        if entity.name == "custom_fields":
            name = object_of(context.entity(name), records)
        yield name, records
    if len(refused) == len(readers):
        raise refused[0]
    result.notes += [f"a part of {entity.name} is not available: {error}" for error in refused]


def calls_of(entity: Entity, context: SyncContext) -> int:
    """How many calls it takes to read an entity of one page."""
    if entity.name == "custom_fields":
        return len(_defined(context))
    return len(RECORD_TYPES) if entity.name == "tags" else 1


def _readers(entity: Entity, context: SyncContext) -> dict[str, Read]:
    if entity.read == "object":
        return {"": partial(_rows_of_object, entity, context)}
    if entity.name == "custom_fields":
        return {each.name: partial(_definitions, each, context) for each in _defined(context)}
    if entity.name == OBJECTS:
        return {"": partial(_objects, context)}
    if entity.name != "tags":
        return {"": partial(_whole, page_reader(context, entity), entity.identity)}
    fetches = {kind: page_reader(context, entity, variant=kind) for kind in RECORD_TYPES}
    for fetch in fetches.values():
        fetch.prime(0)
    return {kind: partial(_whole, fetch, "TAG_NAME") for kind, fetch in fetches.items()}


def _defined(context: SyncContext) -> list[Entity]:
    with suppress(NotAvailable):
        discover(context)
    own = [
        each for each in ENTITIES.values() if each.custom_fields and each.read != "embedded" and each.name != RECORDS
    ]
    return own + list(context.objects.values())


def _definitions(entity: Entity, context: SyncContext) -> list[Record]:
    return definitions_of(entity, ask_definitions(context, entity))


def _objects(context: SyncContext) -> list[Record]:
    key = ENTITIES[OBJECTS].identity
    return list({identify(row, key): row for row in read_objects(context)}.values())


def _whole(fetch: PageReader, key: Key) -> list[Record]:
    return list({identify(row, key): row for step in read_list(fetch, key) for row in step.rows}.values())


def _rows_of_object(entity: Entity, context: SyncContext) -> list[Record]:
    """The object itself, or the items of the array that holds its rows; a bare list of them is taken as well."""
    context.count_calls(1)
    try:
        told: Record = context.client.get_object(entity.path, {}, label=entity.name)[0]
    except MalformedResponse:
        if not entity.rows:
            raise
        told = {entity.rows: context.client.get_list(entity.path, {}, label=entity.name)[0]}
    if not entity.rows:
        return [told]
    items: Any = told.pop(entity.rows, None) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise MalformedResponse(f"GET /{entity.path}: {entity.rows} is not a list of objects; nothing is loaded")
    rows = [told | {name: value for name, value in item.items() if value is not None} for item in items]
    return list({identify(row, entity.identity): row for row in rows}.values())
