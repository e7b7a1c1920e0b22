"""Names of tables and columns: what a field becomes, names of our own, and names that collide."""

import re
from collections.abc import Callable, Collection, Iterable

import pyarrow as pa

from ..entities import Entity
from ..errors import ColumnCollision, DataError

VARIANT = "__v_text"
"""What dlt appends to a column's name for values of another type."""

RESERVED = re.compile(r"_is_empty|_deleted_at|_dlt_.*")
"""Columns of the tool's own: a field of that name would delete its record, or pass for a deletion."""

Normalize = Callable[[str], str]


def column_of(table: str, key: str, normalize: Normalize) -> str:
    """The column of a field. Raises DataError where nothing is left of its name."""
    column = normalize(key)
    if not column:
        raise DataError(f"field {key!r} of {table} has no letter or digit to name a column by")
    return column


def check_collisions(table: str, keys: Iterable[str], normalize: Normalize, ours: Collection[str] = ()) -> None:
    """Raises ColumnCollision where two of a table's fields would become one column, or one the tool's own.

    Args:
        table: for the message.
        keys: names of fields.
        normalize: a field's name -> the column's.
        ours: those among `keys` that are the tool's own.
    """
    columns: dict[str, list[str]] = {}
    for key in (key for key in keys if key not in ours):
        columns.setdefault(column_of(table, key, normalize), []).append(key)
    for column, alike in columns.items():
        base = columns.get(column.removesuffix(VARIANT), alike)
        if len(alike) > 1:
            become = "both become" if len(alike) == 2 else "all become"
            raise collision(table, column, f"fields {' and '.join(map(repr, alike))}", become)
        if RESERVED.fullmatch(column):
            raise collision(table, column, f"field {alike[0]!r}", "become the tool's own")
        if base is not alike:
            both = f"field {alike[0]!r} and what does not fit field {base[0]!r}"
            raise collision(table, column, both, "both become")


def collision(table: str, column: str, fields: str, become: str) -> ColumnCollision:
    return ColumnCollision(
        f"{fields} of {table} would {become} column {column!r}; "
        "rename one of them in Insightly, or leave the entity out of the setting entities"
    )


def rename_variants(table: pa.Table, normalize: Normalize) -> pa.Table:
    """`_` at the end of a name folds to `x`, in front of more it does not; a variant is named after its column."""
    names = table.column_names
    for index, name in enumerate(names):
        base = name.removesuffix(VARIANT)
        if base != name and base in names and normalize(name) != normalize(base) + VARIANT:
            names[index] = normalize(base) + VARIANT
    return table.rename_columns(names)


LIST_IDX = "LIST_IDX"
IS_EMPTY = "_is_empty"


def child_table(entity: Entity, array: str) -> str:
    """The table an array becomes: `contacts__tags`."""
    return f"{entity.name}__{array.lower()}"


DELETED_AT = "_deleted_at"
VALID_FROM, VALID_TO = "_dlt_valid_from", "_dlt_valid_to"
"""dlt's own names for the bounds of a version; no field of the API can become a column of that name."""


def history_table(entity: Entity) -> str:
    """The table that holds the versions of an entity's records."""
    return f"{entity.name}_history"
