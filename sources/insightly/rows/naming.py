"""Names of tables and columns: those of fields, those of this tool, and collisions between them."""

import re
from collections.abc import Callable, Collection, Iterable

from ..entities import ENTITIES, Entity
from ..errors import ColumnCollision, DataError

Normalize = Callable[[str], str]

LIST_IDX = "LIST_IDX"
IS_EMPTY = "_is_empty"
DELETED_AT = "_deleted_at"
VALID_FROM, VALID_TO = "_dlt_valid_from", "_dlt_valid_to"
"""dlt's own names for the bounds of a version."""
RESERVED = re.compile(r"_is_empty|_deleted_at|_dlt_.*")
"""This tool's columns: a field of that name would delete its record, or look like a deletion."""
VARIANT = "__v_text"
"""What dlt appends to a column's name for values of another type."""


def child_table(entity: Entity, array: str) -> str:
    """The table of an array: `contacts__tags`."""
    return f"{entity.name}__{array.lower()}"


def child_tables(entity: Entity) -> list[str]:
    """The tables of an entity's arrays."""
    return [child_table(entity, array) for array in entity.arrays]


def history_table(entity: Entity) -> str:
    """The table with the versions of an entity's records."""
    return f"{entity.name}_history"


ARRAY_TABLES = {child_table(entity, array): (entity, array) for entity in ENTITIES.values() for array in entity.arrays}
HISTORY_TABLES = {history_table(entity): entity for entity in ENTITIES.values()}
"""Table -> the entity, and the array, that it belongs to; custom objects have none of these tables."""


def column_of(table: str, field: str, normalize: Normalize) -> str:
    """The column of a field. Raises DataError if its name normalizes to nothing."""
    if column := normalize(field):
        return column
    raise DataError(f"field {field!r} of {table} has no letter or digit for a column name; rename it in Insightly")


def check_collisions(table: str, fields: Iterable[str], normalize: Normalize, own: Collection[str] = ()) -> None:
    """Raises ColumnCollision if two fields would become one column, or a field one of this tool's columns.

    Args:
        table: for the message.
        fields: names of fields.
        normalize: a field's name -> its column.
        own: those of `fields` that are this tool's.
    """
    columns: dict[str, list[str]] = {}
    for field in fields:
        if field not in own:
            columns.setdefault(column_of(table, field, normalize), []).append(field)
    for column, same in columns.items():
        base = columns.get(column.removesuffix(VARIANT), same)
        if len(same) > 1:
            become = "both become" if len(same) == 2 else "all become"
            raise collision(table, column, f"fields {' and '.join(map(repr, same))}", become)
        if RESERVED.fullmatch(column):
            raise collision(table, column, f"field {same[0]!r}", "become this tool's")
        if base is not same:
            both = f"field {same[0]!r} and the invalid values of field {base[0]!r}"
            raise collision(table, column, both, "both become")


def collision(table: str, column: str, fields: str, become: str) -> ColumnCollision:
    return ColumnCollision(
        f"{fields} of {table} would {become} column {column!r}; "
        "rename one of them in Insightly, or leave the entity out of the setting entities"
    )
