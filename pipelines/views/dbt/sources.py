"""The tables of a destination as dbt sources: what each one is, its key, and the tables that it points at. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sources.insightly.entities import Entity
from sources.insightly.rows.naming import DELETED_AT, LIST_IDX, VALID_FROM, child_table, history_table

DEFINITIONS = "custom_fields"
"""The table that is loaded together with the records that have these fields."""
Normalize = Callable[[str], str]


@dataclass(frozen=True)
class SourceTable:
    """One table.

    Attributes:
        name: of the table.
        entity: whose sync loads it; None if every run may write it.
        key: the columns that identify a row; () if none do.
        parent: the table with the records that the rows of an array belong to; None for another table.
        references: column -> table and column that it points at.
        staged: whether it has a staging model.
        description: what a row is.
        columns: column -> what it is.
    """

    name: str
    entity: str | None = None
    key: tuple[str, ...] = ()
    parent: str | None = None
    references: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    staged: bool = False
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def marks_deletions(self) -> bool:
        """Whether deleted records stay in it."""
        return DELETED_AT in self.columns


def source_tables(
    schema: Mapping[str, Any],
    entities: Mapping[str, Entity],
    normalize: Normalize,
    description_of: Callable[[str, str], str],
) -> dict[str, SourceTable]:
    """The tables of a destination by name, without those of dlt.

    Args:
        schema: the tables as dlt stores them, with their columns, descriptions and references.
        entities: all that can have a table here, custom objects included.
        normalize: the name of an API field -> the name of its column.
        description_of: a table and its column, or "" for the table itself -> what it is, if the schema does not say.
    """
    known = {table.name: table for entity in entities.values() for table in _tables_of(entity, normalize)}
    found = dict[str, SourceTable]()
    for name, facts in schema.items():
        columns = {column: of for column, of in facts["columns"].items() if "data_type" in of}
        if columns and not name.startswith("_dlt_"):
            found[name] = replace(
                known.get(name, SourceTable(name)),
                references=_references(facts),
                description=facts.get("description") or description_of(name, ""),
                columns={key: of.get("description") or description_of(name, key) for key, of in columns.items()},
            )
    return found


def _tables_of(entity: Entity, normalize: Normalize) -> Iterator[SourceTable]:
    """The tables that the records of an entity can be in."""
    key = tuple(map(normalize, entity.key))
    synced = entity.name if entity.name != DEFINITIONS else None
    yield SourceTable(entity.name, synced, key, staged=True)
    yield SourceTable(history_table(entity), synced, (*key, normalize(VALID_FROM)))
    for array in entity.arrays:
        child = child_table(entity, array)
        yield SourceTable(child, synced, (*key, normalize(LIST_IDX)), parent=entity.name, staged=True)


def _references(table: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The columns that are the key of another table by themselves."""
    references = [each for each in table.get("references") or () if len(each["columns"]) == 1]
    return {each["columns"][0]: (each["referenced_table"], each["referenced_columns"][0]) for each in references}
