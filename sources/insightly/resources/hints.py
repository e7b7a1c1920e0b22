"""Shaped rows -> what dlt loads: table variants of one resource, each with its own key and way of writing."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import dlt
from dlt.common.schema import Schema

from ..context import SyncContext
from ..entities import Entity, FieldType
from ..rows.naming import DELETED_AT, IS_EMPTY
from ..rows.shaper import RowShaper, ShapedTable

MERGE: Any = {"disposition": "merge", "strategy": "delete-insert"}
REPLACE: Any = {"disposition": "replace"}
TYPES: dict[str, FieldType] = {
    "bigint": "integer",
    "text": "string",
    "bool": "boolean",
    "decimal": "number",
    "timestamp": "datetime",
    "date": "date",
}


def shaper_of(entity: Entity, context: SyncContext, group: Sequence[str] = ()) -> RowShaper:
    """The run's shaper of an entity; the first call tells it what the destination holds."""
    if entity.name not in context.shapers:
        context.shapers[entity.name] = make_shaper(entity, context, dlt.current.source_schema(), group)
    return context.shapers[entity.name]


def make_shaper(entity: Entity, context: SyncContext, schema: Schema, group: Sequence[str] = ()) -> RowShaper:
    """A shaper as the settings have it: with a child table of tags or without, with columns hashed or left out."""
    entity = entity.without_tags if context.settings.tags == "off" else entity
    return RowShaper(entity, schema.naming.normalize_path, held(schema), tuple(group), context.mask(entity))


def held(schema: Schema) -> dict[str, dict[str, FieldType]]:
    """The types of the columns that the destination holds, by table."""
    return {
        name: {
            column: TYPES.get(str(facts["data_type"]), "string")
            for column, facts in table["columns"].items()
            if "data_type" in facts
        }
        for name, table in schema.tables.items()
    }


def missing(shaper: RowShaper) -> Iterator[Any]:
    """The tables that the destination does not hold yet, without rows: analysts join them before the first record."""
    return marked(table for table in shaper.shape([]) if table.table not in shaper.existing)


def marked(tables: Iterable[ShapedTable], disposition: Any = MERGE) -> Iterator[Any]:
    """Tables as dlt takes them from a resource.

    Each is a variant with its own primary key: it would inherit the resource's, which keeps one child per parent.
    """
    for table in tables:
        columns = _bookkeeping(table)
        hints = dlt.mark.make_hints(
            table_name=table.table,
            primary_key=[] if table.merge_key else list(table.key),
            merge_key=list(table.merge_key or ()),
            write_disposition=disposition,
            columns=cast(Any, columns),
        )
        yield dlt.mark.with_hints(table.rows, hints, create_table_variant=True)


def _bookkeeping(table: ShapedTable) -> dict[str, Any]:
    """Columns that no record has: a sweep's mark, which loading the record again clears, and a child's tombstone."""
    columns: dict[str, Any] = {IS_EMPTY: {"hard_delete": True}} if IS_EMPTY in table.rows.column_names else {}
    if table.swept:
        columns[DELETED_AT] = {"data_type": "timestamp", "nullable": True}
    return columns
