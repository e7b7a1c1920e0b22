"""The tables that marts read: those of a destination, and those that a destination can have."""

from collections.abc import Callable

from dlt.common.schema import Schema

from pipelines.destinations.system_tables import COLUMNS
from sources.insightly.entities import ENTITIES
from sources.insightly.fields import FieldType, child_fields
from sources.insightly.resources.hints import column_types
from sources.insightly.rows.naming import DELETED_AT, LIST_IDX, VALID_FROM, VALID_TO, child_table, history_table

from .marts import Tables

TEXT, TIMESTAMP = "VARCHAR", "TIMESTAMPTZ"
TYPES: dict[FieldType, str] = {
    "integer": "BIGINT",
    "number": "DECIMAL(38, 9)",
    "boolean": "BOOLEAN",
    "datetime": TIMESTAMP,
    "date": "DATE",
}


def loaded_tables(schema: Schema) -> Tables:
    """The tables in the schema of a destination."""
    tables = column_types(schema, schema.tables).items()
    return {table: {name: TYPES.get(kind, TEXT) for name, kind in columns.items()} for table, columns in tables}


def known_tables(normalize: Callable[[str], str]) -> Tables:
    """The tables of all entities, their arrays and histories, and the system tables; without custom fields.

    Args:
        normalize: the name of an API field -> the name of its column.
    """
    types = {"bigint": "BIGINT", "double": "DOUBLE", "timestamp": TIMESTAMP}
    system = {
        table: {name: types.get(column.type, TEXT) for name, column in columns.items()}
        for table, columns in COLUMNS.items()
    }
    tables = dict[str, dict[str, str]]()
    for name, entity in ENTITIES.items():
        columns = {normalize(field): TYPES.get(facts.type, TEXT) for field, facts in entity.fields.items()}
        tables[name] = columns | dict.fromkeys([DELETED_AT] if entity.swept else [], TIMESTAMP)
        if entity.read == "incremental":
            tables[history_table(entity)] = columns | dict.fromkeys((VALID_FROM, VALID_TO), TIMESTAMP)
        keys = {normalize(key): columns[normalize(key)] for key in entity.key if normalize(key) in columns}
        for array in entity.arrays:
            items = {normalize(field): TYPES.get(facts.type, TEXT) for field, facts in child_fields(array).items()}
            tables[child_table(entity, array)] = {**keys, normalize(LIST_IDX): TYPES["integer"], **items}
    return tables | system
