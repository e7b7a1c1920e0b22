"""What each table and column is, in a sentence for the reader of the database. The texts are in `fields.toml`."""

from collections.abc import Mapping
from functools import cache

from ..entities import ENTITIES, RECORDS, is_custom_object
from ..fields import Field, added_columns, child_fields, table_text
from .naming import ARRAY_TABLES, HISTORY_TABLES, VARIANT


def description_of(table: str, column: str = "") -> str:
    """What a table of the source has in it, or what one of its columns is; "" if that is not known.

    Args:
        table: a table of an entity, an array, a history or a custom object.
        column: one of its columns, or a field of the API; none for the table itself. A custom field is not known here.
    """
    texts = _texts(table)
    base = column.removesuffix(VARIANT)
    if texts and base != column:
        return added_columns()[VARIANT].description.format(column=base)
    return texts.get(_compact(column), "")


@cache
def references_of(table: str) -> tuple[tuple[tuple[str, ...], str], ...]:
    """The fields of a table of the source that are the key of a record in another table, each with that table.

    A child table and a history refer to their entity; a history also to what its entity refers to. What a custom field
    refers to is not known here.
    """
    if table in ENTITIES or is_custom_object(table):
        entity = ENTITIES.get(table, ENTITIES[RECORDS])
        parents = [(tuple(entity.parent_key), *entity.read_parents)] if len(entity.read_parents) == 1 else []
        return tuple(dict.fromkeys([*parents, *_references(entity.fields)]))
    if table in HISTORY_TABLES:
        return ((HISTORY_TABLES[table].key, HISTORY_TABLES[table].name), *references_of(HISTORY_TABLES[table].name))
    if table in ARRAY_TABLES:
        entity, array = ARRAY_TABLES[table]
        return ((entity.key, entity.name), *_references(child_fields(array)))
    return ()


def _references(fields: Mapping[str, Field]) -> list[tuple[tuple[str, ...], str]]:
    return [((name,), field.references) for name, field in fields.items() if field.references]


@cache
def _texts(table: str) -> Mapping[str, str]:
    """The description of a table under "", and those of its columns by compact name; nothing for another table."""
    if table in ENTITIES or is_custom_object(table):
        entity = ENTITIES.get(table, ENTITIES[RECORDS])
        parents = {_compact(key): _key(parent, key) for key in entity.parent_key for parent in entity.read_parents}
        return {**parents, **_named(entity.description, entity.fields)}
    if table in HISTORY_TABLES:
        return _named(table_text("_history").format(table=HISTORY_TABLES[table].name), HISTORY_TABLES[table].fields)
    if table in ARRAY_TABLES:
        entity, array = ARRAY_TABLES[table]
        texts = _named(table_text(array).format(table=entity.name), child_fields(array))
        return {**texts, **{_compact(key): _key(entity.name, key) for key in entity.key}}
    return {}


def _named(text: str, fields: Mapping[str, Field]) -> dict[str, str]:
    columns = {**added_columns(), **fields}
    return {**{_compact(name): field.description for name, field in columns.items()}, "": text}


def _key(parent: str, column: str) -> str:
    return table_text("_key").format(table=parent, column=column.lower())


def _compact(name: str) -> str:
    """A name in any naming convention of dlt."""
    return name.replace("_", "").lower()
