"""What records need beyond their page: the definitions of custom fields, and tags that the page lacks."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from dlt.common.schema import Schema

from ..context import Record, SyncContext
from ..entities import ENTITIES, Entity
from ..errors import Forbidden, ImplausibleDeletion
from ..result import EntityResult
from ..rows.custom_fields import definitions_of, object_of
from .fetch import read_definitions, tags_of
from .hints import marked, shaper_of
from .reference import assert_plausible, changed, content_of, loaded_definitions

if TYPE_CHECKING:
    from ..rows.shaper import ShapedTable


def complete_and_shape(
    entity: Entity,
    context: SyncContext,
    records: list[Record],
    result: EntityResult,
    max_calls: int | None = None,
    schema: Schema | None = None,
) -> tuple[list[Record], list["ShapedTable"]]:
    """Reads the definitions of custom fields, once a run, and the tags that records lack, by `max_calls` at most.

    Returns:
        The complete records: all, or as many from the first on as there are calls for. And the tables that have rows of
        them. What lists leave out keeps the value that the destination has, if the run can read it.
    """
    shaper = shaper_of(entity, context, schema)
    if entity.custom_fields and not shaper.defined:
        definitions = read_definitions(context, entity)
        shaper.define(None if definitions is None else definitions_of(entity, definitions))
    complete, loaded = _with_tags(entity, context, records, result, max_calls), context.loaded
    tables = shaper.shape(complete, None if loaded is None else partial(loaded.values_by_id, entity))
    return complete, [table for table in tables if table.rows]


def definition_tables(entity: Entity, context: SyncContext) -> Iterator[Any]:
    """The definitions themselves, for the table `custom_fields`, if they have changed."""
    definitions = context.definitions.get(entity.name)
    if definitions is None:
        return
    rows, table = definitions_of(entity, definitions), ENTITIES["custom_fields"]
    name = object_of(entity, rows)
    try:
        assert_plausible(table, context, loaded_definitions(), {name: rows})
    except ImplausibleDeletion as error:
        notes = context.result(entity.name).notes
        notes += [] if str(error) in notes else [str(error)]
        return
    if changed(loaded_definitions(), name, content_of(context.settings.privacy.mask(table), rows)):
        shaper = shaper_of(table, context)
        yield from marked(shaper.shape_groups([(dict.fromkeys(shaper.group, name), rows)]))


def _with_tags(
    entity: Entity, context: SyncContext, records: list[Record], result: EntityResult, max_calls: int | None
) -> list[Record]:
    """Reads the tags of records that come without them (`auto`), or of every record (`endpoint`).

    `embedded` leaves records as they are; `off` removes their tags.
    """
    mode = context.settings.tags
    if mode == "off":
        for record in records:
            record.pop("TAGS", None)
    if not entity.tagged or mode in ("embedded", "off"):
        return records
    untagged = [record for record in records if mode == "endpoint" or record.get("TAGS") is None]
    if untagged:
        result.tags_cost_calls = True
    most = min(each for each in (context.budget.left(), max_calls, len(untagged)) if each is not None)
    if most < len(untagged):
        records = records[: next(index for index, record in enumerate(records) if record is untagged[most])]
        untagged = untagged[:most]
    try:
        tags = tags_of(context, entity, [record[entity.key[0]] for record in untagged])
    except Forbidden as error:
        result.notes.append(f"tags of {entity.name} may not be read: {error}")
        return records
    gone = 0
    for record, own in zip(untagged, tags, strict=True):
        if own is None:
            gone += 1
            record.pop("TAGS", None)
        else:
            record["TAGS"] = own
    if gone:
        result.notes.append(f"records of {entity.name} deleted before their tags were read: {gone:,}")
    return records
