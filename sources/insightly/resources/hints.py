"""Arrow tables -> what dlt loads: table variants of one resource, each with its own keys and write disposition."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import dlt
from dlt.common.schema import Schema

from ..context import SyncContext
from ..entities import Entity
from ..fields import FieldType
from ..rows.naming import DELETED_AT, IS_EMPTY, child_tables

if TYPE_CHECKING:
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

GROUPS = {"tags": ("RECORD_TYPE",), "custom_fields": ("FIELD_FOR",)}
"""Entities that are read one group of rows per call, and the field that names the group; it is replaced by itself."""


def shaper_of(entity: Entity, context: SyncContext, schema: Schema | None = None) -> "RowShaper":
    """The run's shaper of an entity, with a child table of tags or without and with columns masked, by the settings.

    Args:
        entity: whose records it shapes.
        context: the run, which has one shaper per entity.
        schema: which columns the destination has; None for the schema of the source that is being extracted.
    """
    if entity.name not in context.shapers:
        from ..rows.shaper import RowShaper  # imports pyarrow, which an hourly run without new rows does not need

        schema = schema or dlt.current.source_schema()
        mask = context.settings.privacy.mask(entity)
        existing = column_types(schema, (entity.name, *child_tables(entity)))
        context.shapers[entity.name] = RowShaper(
            shaped_entity(entity, context), schema.naming.normalize_path, existing, group_of(entity), mask
        )
    return context.shapers[entity.name]


def shaped_entity(entity: Entity, context: SyncContext) -> Entity:
    """The entity as its tables are: without tags, where the settings leave them out."""
    return entity.without_tags if context.settings.tags == "off" else entity


def group_of(entity: Entity) -> tuple[str, ...]:
    """The fields whose rows are replaced together; none where each row is replaced by itself."""
    return GROUPS.get(entity.name) or tuple(entity.parent_key)


def column_types(schema: Schema, tables: Iterable[str]) -> dict[str, dict[str, FieldType]]:
    """The types of the columns of some tables, by table; without tables that the destination does not have."""
    return {
        name: {
            column: TYPES.get(str(facts["data_type"]), "string")
            for column, facts in schema.tables[name]["columns"].items()
            if "data_type" in facts
        }
        for name in filter(schema.tables.__contains__, tables)
    }


def empty_tables(entity: Entity, context: SyncContext) -> Iterator[Any]:
    """The entity's tables that no row has created yet, without rows, so that queries can join them."""
    shaped = shaped_entity(entity, context)
    missing = {shaped.name, *child_tables(shaped)} - dlt.current.source_schema().tables.keys()
    if not missing:
        return iter(())
    return marked(table for table in shaper_of(entity, context).shape([]) if table.table in missing)


def marked(tables: Iterable["ShapedTable"], disposition: Any = MERGE) -> Iterator[Any]:
    """Tables as dlt takes them from a resource.

    Each is a variant with its own primary key: it would inherit the resource's, which keeps one child per parent.
    """
    for table in tables:
        # Columns that no record has: a child row's tombstone, and a sweep's mark, cleared when the record is loaded.
        columns: dict[str, Any] = {IS_EMPTY: {"hard_delete": True}} if IS_EMPTY in table.rows.column_names else {}
        if table.swept:
            columns[DELETED_AT] = {"data_type": "timestamp", "nullable": True}
        hints = dlt.mark.make_hints(
            table_name=table.table,
            primary_key=[] if table.merge_key else list(table.key),
            merge_key=list(table.merge_key or ()),
            write_disposition=disposition,
            columns=cast(Any, columns),
        )
        yield dlt.mark.with_hints(table.rows, hints, create_table_variant=True)
