"""Descriptions and references in dlt's schema: what dlt's own tools and diagrams show, and comments are made of."""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import dlt
from dlt.common.schema import Schema

from ..context import SyncContext
from ..entities import ENTITIES, RECORDS
from ..rows.custom_fields import definitions_of, lookups, text_of
from ..rows.descriptions import references_of
from ..rows.naming import LIST_IDX, Normalize, history_table

DescriptionOf = Callable[[str, str], str]
ByColumn = Mapping[tuple[str, str], str]
HISTORY = "_history"
NONE: ByColumn = MappingProxyType({})
# dlt warns of each table in which two columns refer to the same other table, and then keeps both references.
logging.getLogger("dlt").addFilter(lambda record: "has multiple references to" not in record.getMessage())
UNKNOWN = "Field of Insightly that this version of the program does not know; its type is that of its values."


def describe(context: SyncContext) -> None:
    """Describes the tables of the schema that is being extracted, unless nothing has changed since it was done."""
    schema = dlt.current.source_schema()
    size = sum(len(table["columns"]) for table in schema.tables.values()), len(context.definitions)
    if context.described == size:
        return
    context.described = size
    texts, lookups = _custom_fields(context, schema)
    for table, columns in context.settings.privacy.rules.items():
        for column in (column for column, action in columns.items() if action == "hash"):
            if text := texts.get((table, column)) or context.description_of(table, column):
                hashed = f"{text} Hashed with a secret key."
                texts |= dict.fromkeys([(table, column), (f"{table}{HISTORY}", column)], hashed)
    for name in schema.tables.keys() - schema.dlt_table_names():
        describe_table(schema, name, context.description_of, texts, lookups)


def describe_table(
    schema: Schema, name: str, description_of: DescriptionOf, texts: ByColumn = NONE, lookups: ByColumn = NONE
) -> None:
    """Says in a schema what a table and its columns are, and which columns are keys of other tables.

    What is not known stays, such as the text of a custom field whose definition was not read.

    Args:
        schema: of dlt; it is changed.
        name: of the table.
        description_of: what a table is, or one of its columns; "" if that is not known.
        texts: what custom fields are, by table and column.
        lookups: the tables that custom fields refer to.
    """
    table: Any = schema.tables[name]
    _refer(schema, table, lookups)
    if text := description_of(name, ""):
        keys = _keys(table, schema.naming.normalize_path)
        table["description"] = f"{text} Key: {', '.join(keys)}." if keys else text
    targets = _targets(table)
    for column, facts in table["columns"].items():
        if text := texts.get((name, column)) or description_of(name, column):
            reference = f" References {targets[column]}." if column in targets else ""
            facts["description"] = text.removesuffix(reference) + reference
        facts.setdefault("description", UNKNOWN)


def _custom_fields(context: SyncContext, schema: Schema) -> tuple[dict[tuple[str, str], str], ByColumn]:
    """What custom fields are, and which tables those that are keys refer to; both by table and column."""
    normalize, others = schema.naming.normalize_path, (*ENTITIES.values(), *context.catalog.objects.values())
    texts, tables = dict[tuple[str, str], str](), dict[tuple[str, str], str]()
    for name, definitions in context.definitions.items():
        entity = context.catalog.entity(name)
        own = definitions_of(entity, definitions or ())
        for definition in own:
            column = normalize(str(definition.get("FIELD_NAME")))
            texts |= dict.fromkeys([(name, column), (history_table(entity), column)], text_of(definition))
        for field, other in lookups(own, others).items():
            column = normalize(field)
            tables |= dict.fromkeys([(name, column), (history_table(entity), column)], other.name)
    return texts, tables


def _keys(table: Any, normalize: Normalize) -> list[str]:
    """The columns that identify a row. The database has no constraint for them, because each load would be slower."""
    hinted = [name for name, facts in table["columns"].items() if facts.get("primary_key")]
    if hinted or normalize(LIST_IDX) not in table["columns"]:
        return hinted
    (parent_key, _), *_ = references_of(table["name"])
    return [*map(normalize, parent_key), normalize(LIST_IDX)]


def _targets(table: Any) -> dict[str, str]:
    """The columns that are the key of another table by themselves, each with that table and column."""
    references = [each for each in table.get("references", ()) if len(each["columns"]) == 1]
    return {each["columns"][0]: f"{each['referenced_table']}.{each['referenced_columns'][0]}" for each in references}


def _refer(schema: Schema, table: Any, lookups: ByColumn) -> None:
    name, normalize = table["name"], schema.naming.normalize_path
    references = {tuple(reference["columns"]): reference for reference in table.get("references", ())}
    for columns, other in [
        *((tuple(map(normalize, fields)), other) for fields, other in references_of(name)),
        *(((column,), other) for (of, column), other in lookups.items() if of == name),
    ]:
        if other in schema.tables and all(column in table["columns"] for column in columns):
            key = ENTITIES.get(other, ENTITIES[RECORDS]).key
            references[columns] = {
                "columns": list(columns),
                "referenced_table": other,
                "referenced_columns": list(map(normalize, key)),
                "cardinality": "many_to_one",
            }
    if references:
        table["references"] = list(references.values())
