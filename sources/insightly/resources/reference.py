"""Entities without a cursor whose lists are short: read in full by each run, written only when they have changed."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import dlt

from ..context import Record, SyncContext
from ..entities import ENTITIES, OBJECTS, RECORD_TYPES, RECORDS, Entity
from ..errors import ImplausibleDeletion, MalformedResponse, NotAvailable, Stop
from ..paging.digests import digest
from ..paging.prefetch import PageReader
from ..paging.walk import Key, identify
from ..result import EntityResult
from ..rows.custom_fields import definitions_of, object_of
from ..rows.masking import Mask
from ..state.checkpoint import State, finish_full, start_full
from ..state.missing import is_plausible
from ..state.request import ReadRequest
from .discovery import discover_objects
from .fetch import page_reader, read_objects, read_pages, require_definitions
from .hints import MERGE, REPLACE, group_of, marked, shaper_of


def read_reference(entity: Entity, context: SyncContext, request: ReadRequest, result: EntityResult) -> Iterator[Any]:
    """Yields the list, or each group of it, if it has changed.

    Only the yielded table has the disposition `replace`: a run that reads nothing empties nothing. A group is replaced
    by its merge key, and one that is not readable keeps its rows.

    Raises:
        ImplausibleDeletion: too many rows are gone; nothing was yielded.
    """
    state = dlt.current.resource_state()
    start_full(state, request)
    if context.chunk.full:
        return
    group, mask = group_of(entity), context.settings.privacy.mask(entity)
    loaded = loaded_definitions() if entity.name == "custom_fields" else state.setdefault("contents", {})
    groups, ended_by = dict[str, list[Record]](), None
    try:
        for name, records in read_groups(entity, context, result, frozenset(loaded)):
            groups[name] = records
            result.rows += len(records)
    except (Stop, NotAvailable) as error:
        ended_by = error
    if not request.force:
        assert_plausible(entity, context, loaded, groups)
    for name, records in groups.items():
        if changed(loaded, name, content_of(mask, records)) or "full" in state:
            shaper, rows = shaper_of(entity, context), [(dict.fromkeys(group, name), records)]
            tables = shaper.shape_groups(rows) if group else shaper.shape(records)
            yield from marked(tables, MERGE if group else REPLACE)
            result.merged += len(records)
    if ended_by is not None:
        raise ended_by
    finish_full(state)
    result.end(state)


def content_of(mask: Mask, records: Sequence[Record]) -> str:
    """The number of rows of a list or group, and their digest, as the state keeps them."""
    return f"{len(records)} {digest(mask.mask(records))}"


def without_digest(content: str) -> str:
    """The content of a list whose rows were changed in another way, so that the next sync writes it again."""
    return f"{content.partition(' ')[0]} "


def assert_plausible(
    entity: Entity, context: SyncContext, loaded: Mapping[str, str], groups: Mapping[str, Sequence[Record]]
) -> None:
    """Checks that the rows which are gone from a replaced list can have been deleted, since no call confirms it.

    Args:
        entity: the list.
        context: the run.
        loaded: the contents that the destination has, by group.
        groups: the groups that were read.

    Raises:
        ImplausibleDeletion: the list is empty and was not, or more are gone than `max_deleted_share` allows.
    """
    counts = {name: content.partition(" ")[0] for name, content in loaded.items()}
    before = {name: int(count) for name, count in counts.items() if count.isdigit()}
    after = {**before, **{name: len(records) for name, records in groups.items()}}
    known, left, share = sum(before.values()), sum(after.values()), context.settings.max_deleted_share
    gone = sum(max(count - after[name], 0) for name, count in before.items())
    if share < 1 and gone and not (left and is_plausible(gone, known, share)):
        raise ImplausibleDeletion(
            f"{gone:,} of the {known:,} rows of {entity.name} are no longer listed, more than "
            f"sources.insightly.max_deleted_share ({share:g}) allows, so all of them stay; if they are really deleted, "
            f"run insightly sweep {entity.name} --force"
        )


def loaded_definitions() -> State:
    """The digests of the loaded definitions of custom fields, by object: entities load their own too."""
    digests: State = dlt.current.source_state().setdefault("definitions", {})
    return digests


def changed(digests: State, name: str, new: str) -> bool:
    """True where a digest differs from that of `name`, which it then replaces."""
    if digests.get(name) == new:
        return False
    digests[name] = new
    return True


Read = Callable[[], list[Record]]


def read_groups(
    entity: Entity, context: SyncContext, result: EntityResult, loaded: Container[str] = ()
) -> Iterator[tuple[str, list[Record]]]:
    """Reads an entity group by group; the name of an entity's only group is "".

    A group that is not readable is left out, with a note in `result`.

    Args:
        entity: a list that each sync replaces.
        context: the run.
        result: what the run did with the entity.
        loaded: names of groups that were read in earlier runs.

    Raises:
        NotAvailable: no group is readable, or one of `loaded` is not. The others were yielded.
    """
    readers = _readers(entity, context, result.notes)
    refused: dict[str, NotAvailable] = {}
    for name, read in readers.items():
        records: list[Record] = []
        try:
            records = read()
        except NotAvailable as error:
            refused[_group_name(entity, context, name, records)] = error
        else:
            yield _group_name(entity, context, name, records), records
    if len(refused) == len(readers):
        raise next(iter(refused.values()))
    result.notes += [f"a part of {entity.name} is not available: {error}" for error in refused.values()]
    if lost := [error for name, error in refused.items() if name in loaded]:
        raise lost[0]


def _group_name(entity: Entity, context: SyncContext, name: str, records: list[Record]) -> str:
    return object_of(context.catalog.entity(name), records) if entity.name == "custom_fields" else name


def calls_of(entity: Entity, context: SyncContext) -> int:
    """How many calls an entity of one page takes."""
    if entity.name == "custom_fields":
        return len(_with_definitions(context))
    return len(RECORD_TYPES) if entity.name == "tags" else 1


def _readers(entity: Entity, context: SyncContext, notes: list[str]) -> dict[str, Read]:
    if entity.read == "object":
        return {"": partial(_rows_of_object, entity, context)}
    if entity.name == "custom_fields":
        return {each.name: partial(_definitions, each, context) for each in _with_definitions(context)}
    if entity.name == OBJECTS:
        return {"": partial(_objects, context)}
    if entity.name != "tags":
        return {"": partial(_rows_of_list, page_reader(context, entity), entity.identity, notes)}
    readers = {kind: page_reader(context, entity, record_type=kind) for kind in RECORD_TYPES}
    for reader in readers.values():
        reader.prime(0)
    return {kind: partial(_rows_of_list, reader, "TAG_NAME", notes) for kind, reader in readers.items()}


def _with_definitions(context: SyncContext) -> list[Entity]:
    with suppress(NotAvailable):
        discover_objects(context)
    own = [
        each for each in ENTITIES.values() if each.custom_fields and each.read != "embedded" and each.name != RECORDS
    ]
    return own + list(context.catalog.objects.values())


def _definitions(entity: Entity, context: SyncContext) -> list[Record]:
    return definitions_of(entity, require_definitions(context, entity))


def _objects(context: SyncContext) -> list[Record]:
    key = ENTITIES[OBJECTS].identity
    return list({identify(row, key): row for row in read_objects(context)}.values())


def _rows_of_list(reader: PageReader, key: Key, notes: list[str]) -> list[Record]:
    return list({identify(row, key): row for rows in read_pages(reader, key, notes) for row in rows}.values())


def _rows_of_object(entity: Entity, context: SyncContext) -> list[Record]:
    """The object itself, or the items of the array that has its rows; a bare list of them is read as well."""
    context.chunk.add(1)
    try:
        value: Record = context.client.get_object(entity.path, {}, label=entity.name)[0]
    except MalformedResponse:
        if not entity.rows:
            raise
        value = {entity.rows: context.client.get_list(entity.path, {}, label=entity.name)[0]}
    if not entity.rows:
        return [value]
    items: Any = value.pop(entity.rows, None) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise MalformedResponse(f"GET /{entity.path}: {entity.rows} is not a list of objects; nothing is loaded")
    rows = [value | {name: own for name, own in item.items() if own is not None} for item in items]
    return list({identify(row, entity.identity): row for row in rows}.values())
