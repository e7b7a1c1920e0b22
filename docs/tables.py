"""Writes docs/reference/tables.md from the table of facts: `make docs`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from dlt.common.normalizers.naming.snake_case import NamingConvention

from pipelines.destinations.system_tables import COLUMNS, TABLES
from sources.insightly.entities import ENTITIES, RECORDS, Entity
from sources.insightly.fields import Field, added_columns, child_fields
from sources.insightly.rows.descriptions import description_of
from sources.insightly.rows.naming import VARIANT, child_table
from sources.insightly.selection import PRESETS

PAGE = Path(__file__).with_name("reference") / "tables.md"
INTRO = """\
# Tables and columns

`make docs` writes this page from `sources/insightly/entities.py` and `fields.toml`. [Entities](entities.md) explains
how each is read. Words in parentheses are those of other CRMs: search this page for *deal*, *company* or *assignee*.

- Columns are the API's fields in snake case: integers BIGINT, other numbers DECIMAL(38,9), date-times TIMESTAMP WITH
  TIME ZONE in UTC, calendar dates DATE. Empty texts and empty dates (`""`, `0001-01-01`, `0000-00-00`) are null.
- A number with more than nine decimals is rounded in its column, half away from zero, and exact as text in
  `<column>__v_text`. A number of more than 23 digits before the point is only there.
- A custom field `Hobby__c` is the column `hobby__c`, typed from its definition. A value that does not fit is kept as
  text in `hobby__c__v_text` and reported. Two names that would become one column are refused; the message names both.
- A field that Insightly adds later becomes a column, and the run reports it. The `ETag` of a record is not stored.

[![How the tables refer to each other](tables.svg)](tables.svg)

Each table and column has its description as a comment in the database (BigQuery: description), so that other tools show
it: what it is, the key of the table, and the table whose keys a column contains. The comment of a custom field is its
label, help text and options. Comments are written with the tables, and again only when they changed. The views of
[marts](../guide/marts.md) have the texts of the columns that they pass on. dlt's schema has the same descriptions and
`references`, so that `schema.to_mermaid()`, `to_dot()` and `to_dbml()` draw the tables of your account. No primary key
is declared in the database: in DuckDB it makes each load three times slower. On Snowflake, dlt declares keys, which
Snowflake does not enforce, if `DESTINATION__SNOWFLAKE__CREATE_INDEXES` is true.

Marks: **key**; → the table whose keys the values are; *new*: seen in live answers, not in Insightly's own model;
`!`: never null as far as seen.
"""
CHILDREN = """\
## Child tables

A child table has its parent's key, `list_idx` from 0, and the item's fields. An item that was removed in Insightly
disappears after the next load of its record.
"""
ADDED = """\
## Columns of insightly-sync

Columns that this program adds to the fields of the API.

| column | type | what it is | in |
|---|---|---|---|
"""
SYSTEM = """\
## Tables of insightly-sync

`deletions` is the [ledger](../why/glossary.md) of sweeps, and `_push_log` that of [pushes](../guide/push.md).
`<entity>_history` has the columns of the entity's table and the bounds of each version: [history](../guide/history.md).
The records of a custom object are in a table of its name, such as `fruit__c`, with these columns and its custom fields:
[custom objects](../guide/custom-objects.md).
"""
IN = {
    "LIST_IDX": "child tables",
    "PARENT_TYPE": "`comments`, `file_attachments`",
    "PARENT_ID": "`comments`, `file_attachments`",
    "_is_empty": "child tables, and tables of per-record collections",
    "_deleted_at": "each table whose deletions a sweep finds",
    "_dlt_valid_from": "`<entity>_history`",
    "_dlt_valid_to": "`<entity>_history`",
    VARIANT: "a table with such a value, as `<column>__v_text`",
}
"""The tables that have an added column."""
SQL = {"integer": "BIGINT", "number": "DECIMAL", "boolean": "BOOLEAN", "datetime": "TIMESTAMPTZ", "date": "DATE"}
OF_DLT = {"bigint": "BIGINT", "double": "DOUBLE", "timestamp": "TIMESTAMPTZ"}
HEADER = "| column | type | what it is |\n|---|---|---|"
normalize = NamingConvention().normalize_path


def page() -> str:
    """The whole page."""
    tables = [entity for entity in ENTITIES.values() if entity.read != "embedded" and entity.name != RECORDS]
    parts = [INTRO, *_index(tables), *(line for entity in tables for line in _entity(entity)), CHILDREN]
    arrays = dict.fromkeys(array for entity in tables for array in entity.arrays)
    parts += [line for array in arrays for line in _array(array, tables)]
    return "\n".join([*parts, *_system(), ADDED + "\n".join(_added()), ""])


def _index(tables: Iterable[Entity]) -> Iterator[str]:
    yield "## All tables\n"
    yield "| table | what it contains |\n|---|---|"
    for entity in tables:
        yield f"| [`{entity.name}`](#{entity.name}) | {_with_code(entity.description)} |"
    yield "| [`…__tags` and others](#child-tables) | Items of records: tags, links, dates and other lists. |"
    for table in COLUMNS:
        yield f"| [`{table}`](#{table}) | {TABLES[table]} |"
    yield "| [`<entity>_history`](#tables-of-insightly-sync) | Versions of records, with the setting `history`. |"
    yield f"| [`fruit__c`](#{RECORDS}) | {_with_code(ENTITIES[RECORDS].description)} |\n"


def _entity(entity: Entity) -> Iterator[str]:
    presets = " and ".join(f"`{name}`" for name, names in PRESETS.items() if entity.name in names)
    yield f"## {entity.name}\n"
    yield f"{_with_code(entity.description)}\n"
    where = f"`/{entity.path}`, in {presets or 'no preset: name it'}."
    yield " ".join(filter(None, [where, _reading(entity), entity.plan])) + "\n"
    yield HEADER
    for name in (name for name in entity.parent_key if name not in entity.fields):
        target = entity.read_parents[0] if len(entity.parent_key) == 1 else ""
        kind = SQL.get(entity.parent_key[name], "TEXT")
        yield _row(f"**`{normalize(name)}`**", kind, description_of(entity.name, name), target)
    for field in entity.fields.values():
        yield _column(field, entity.key)
    if entity.swept:
        yield _column(added_columns()["_deleted_at"])
    custom = ["One column per custom field."] if entity.custom_fields else []
    children = ", ".join(f"[`{child_table(entity, array)}`](#__{array.lower()})" for array in entity.arrays)
    more = " ".join([*custom, *([f"Child tables: {children}."] if children else [])])
    yield f"\n{more}\n" if more else ""


def _array(array: str, tables: Iterable[Entity]) -> Iterator[str]:
    owners = [entity for entity in tables if array in entity.arrays]
    names = [child_table(entity, array) for entity in owners]
    text, keys = description_of(names[0]), owners[0].key if len(owners) == 1 else ()
    yield f"### …__{array.lower()}\n"
    yield f"{', '.join(f'`{name}`' for name in names)}.\n"
    yield f"{_with_code(text if keys else text.replace(owners[0].name, 'records'))}\n"
    yield HEADER
    for key in keys:
        target = owners[0].name if len(keys) == 1 else ""
        yield _row(f"**`{normalize(key)}`**", _type(owners[0].fields[key]), description_of(names[0], key), target)
    if not keys:
        yield _row("**the parent's key**", "BIGINT", "Record that this row belongs to, such as contact_id.")
    yield _column(added_columns()["LIST_IDX"], ("LIST_IDX",))
    for name, field in child_fields(array).items():
        if name not in keys:
            yield _column(field)
    yield ""


def _system() -> Iterator[str]:
    yield SYSTEM
    for table, columns in COLUMNS.items():
        yield f"### {table}\n"
        yield f"{TABLES[table]}\n"
        yield HEADER
        for name, column in columns.items():
            yield _row(f"`{name}`", OF_DLT.get(column.type, "TEXT"), column.description)
        yield ""
    yield f"### {RECORDS}\n"
    yield f"{_with_code(ENTITIES[RECORDS].description)}\n"
    yield HEADER
    for field in ENTITIES[RECORDS].fields.values():
        yield _column(field, ENTITIES[RECORDS].key)
    yield ""


def _added() -> Iterator[str]:
    for name, field in added_columns().items():
        if name in IN:
            column = f"<column>{name}" if name == VARIANT else normalize(name)
            text = field.description.format(column="the column")
            yield f"{_row(f'`{column}`', _type(field), text)} {IN[name]} |"


def _reading(entity: Entity) -> str:
    if entity.read == "per_parent":
        return f"A call for each new or changed record of {', '.join(entity.read_parents)}."
    if entity.read == "incremental":
        return "Read by DATE_UPDATED_UTC: only what changed."
    return "Read in full, in blocks." if entity.read == "full" else "Read in full, replaced when it changed."


def _column(field: Field, key: tuple[str, ...] = ()) -> str:
    column = f"`{normalize(field.name)}`"
    marks = "!" if "set" in field.flags else ""
    new = " *new*" if "undocumented" in field.flags else ""
    name = f"**{column}**" if field.name in key else column
    return _row(name, f"{_type(field)}{marks}{new}", field.description, field.references)


def _row(column: str, kind: str, text: str, references: str = "") -> str:
    arrow = f" → [{references}](#{references})" if references else ""
    return f"| {column} | {kind} | {_with_code(text)}{arrow} |"


def _with_code(text: str) -> str:
    """The text with names of tables and columns as code."""
    return re.sub(r"\w*_\w+", r"`\g<0>`", text)


def _type(field: Field) -> str:
    return SQL.get(field.type, "TEXT")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
