"""The tables that marts read: those that a destination holds, and those that it might hold."""

from collections.abc import Callable

import pyarrow as pa
from dlt.common.schema import Schema

from pipelines.destinations.system_tables import COLUMNS
from sources.insightly.entities import ENTITIES, FieldType, child_fields
from sources.insightly.resources.hints import held as columns_held
from sources.insightly.rows.naming import DELETED_AT, LIST_IDX, VALID_FROM, VALID_TO, child_table, history_table

from .marts import Tables

TEXT, MOMENT = "VARCHAR", "TIMESTAMPTZ"
TYPES: dict[FieldType, str] = {
    "integer": "BIGINT",
    "number": "DECIMAL(38, 15)",
    "boolean": "BOOLEAN",
    "datetime": MOMENT,
    "date": "DATE",
}


def held(schema: Schema) -> Tables:
    """The tables of a destination, as its schema has them."""
    tables = columns_held(schema).items()
    return {table: {name: TYPES.get(kind, TEXT) for name, kind in columns.items()} for table, columns in tables}


def known(normalize: Callable[[str], str]) -> Tables:
    """The tables of all entities, of their arrays and histories, and our own; without custom fields.

    Args:
        normalize: an API field name -> the column's name at the destination.
    """
    own = {table: {name: _of_arrow(kind) for name, kind in columns.items()} for table, columns in COLUMNS.items()}
    tables = dict[str, dict[str, str]]()
    for name, entity in ENTITIES.items():
        columns = {normalize(field): TYPES.get(facts.type, TEXT) for field, facts in entity.fields.items()}
        tables[name] = columns | dict.fromkeys([DELETED_AT] if entity.swept else [], MOMENT)
        if entity.read == "incremental":
            tables[history_table(entity)] = columns | dict.fromkeys((VALID_FROM, VALID_TO), MOMENT)
        keys = {normalize(key): columns[normalize(key)] for key in entity.key if normalize(key) in columns}
        for array in entity.arrays:
            items = {normalize(field): TYPES.get(facts.type, TEXT) for field, facts in child_fields(array).items()}
            tables[child_table(entity, array)] = {**keys, normalize(LIST_IDX): TYPES["integer"], **items}
    return tables | own


def _of_arrow(kind: pa.DataType) -> str:
    """The type of a column of ours, which are texts, moments, whole numbers and seconds."""
    if pa.types.is_timestamp(kind):
        return MOMENT
    return "BIGINT" if pa.types.is_integer(kind) else "DOUBLE" if pa.types.is_floating(kind) else TEXT
