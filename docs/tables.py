"""Writes docs/reference/tables.md from the table of facts: `make docs`."""

from collections.abc import Iterator
from pathlib import Path

from dlt.common.normalizers.naming.snake_case import NamingConvention

from sources.insightly.entities import ENTITIES, PRESETS, Entity, Field, child_fields
from sources.insightly.rows.naming import child_table

PAGE = Path(__file__).with_name("reference") / "tables.md"
INTRO = """\
# Tables and columns

`make docs` writes this page from `sources/insightly/entities.py` and `fields.toml`. [Entities](entities.md) explains
how each is read.

- Columns are the API's fields in snake case: integers BIGINT, other numbers DECIMAL(38,9), date-times TIMESTAMP WITH
  TIME ZONE in UTC, calendar dates DATE. Empty texts and empty dates (`""`, `0001-01-01`, `0000-00-00`) are null.
- A number with more than nine decimals is rounded in its column, half away from zero, and exact as text in
  `<column>__v_text`. A number of more than 23 digits before the point is there only.
- A custom field `Hobby__c` is the column `hobby__c`, typed from its definition. A value that does not fit is kept as
  text in `hobby__c__v_text` and reported. Two names that would become one column are refused; the message names both.
- A field that Insightly adds later becomes a column, and the run reports it.
- A child table has its parent's key, `list_idx` from 0, and the item's fields (and `_is_empty`, never true). An item
  that was removed in Insightly disappears after the next load of its record.
- `_deleted_at` (null: live) is in each table whose deletions a sweep finds. `deletions` is the
  [ledger](../why/glossary.md).

Marks: **key**; *new*: seen in live answers, absent from Insightly's own model; `!`: never null as far as seen.

## The program's own tables

| table | one row is | columns |
|---|---|---|
| `_sync_runs` | an entity of a run | run_id, command, entity, started, finished, state, reason, rows, \
inserted_or_updated, deleted, calls, calls_left_today, seconds, watermark_before, watermark_after, schema_changes |
| `deletions` | a deletion that a sweep found | entity, record_id, found_at, reason, restored_at |
| `_push_log` | a pushed row | [push](../guide/push.md) |
| `<entity>_history` | a version of a record | [history](../guide/history.md) |
| `fruit__c` | a record of a custom object | [custom objects](../guide/custom-objects.md) |
"""
SQL = {"integer": "BIGINT", "number": "DECIMAL", "boolean": "BOOLEAN", "datetime": "TIMESTAMPTZ", "date": "DATE"}
fold = NamingConvention().normalize_path


def page() -> str:
    """The whole page."""
    tables = [
        entity for entity in ENTITIES.values() if entity.read != "embedded" and entity.name != "custom_object_records"
    ]
    return "\n".join([INTRO, *(line for entity in tables for line in _entity(entity))])


def _entity(entity: Entity) -> Iterator[str]:
    presets = " and ".join(f"`{name}`" for name, names in PRESETS.items() if entity.name in names)
    yield f"## {entity.name}\n"
    where = f"`/{entity.path}`, in {presets or 'no preset: name it'}."
    yield " ".join(filter(None, [where, _reading(entity), entity.plan])) + "\n"
    own = [_column(name, field, entity.key) for name, field in entity.fields.items()]
    above = {name: kind for name, kind in entity.parent_key.items() if name not in entity.fields}
    under = [f"**`{fold(name)}`** {SQL.get(kind, 'TEXT')}" for name, kind in above.items()]
    custom = ["one column per custom field"] if entity.custom_fields else []
    yield " · ".join([*under, *own, *custom]) + "\n"
    for array in entity.arrays:
        key = [f"**`{fold(part)}`**" for part in entity.key]
        items = [_column(name, field, ()) for name, field in child_fields(array).items() if name not in entity.key]
        yield f"`{child_table(entity, array)}`: {' · '.join([*key, '**`list_idx`**', *items])}\n"


def _reading(entity: Entity) -> str:
    if entity.read == "per_parent":
        return f"A call for each new or changed record of {', '.join(entity.read_parents)}."
    if entity.read == "incremental":
        return "Read by DATE_UPDATED_UTC: only what changed."
    return "Read in full, in blocks." if entity.read == "full" else "Read in full, replaced when it changed."


def _column(name: str, field: Field, key: tuple[str, ...]) -> str:
    column = f"`{fold(name)}`"
    marks = "!" if "set" in field.flags else ""
    new = " *new*" if "undocumented" in field.flags else ""
    return f"{f'**{column}**' if name in key else column} {SQL.get(field.type, 'TEXT')}{marks}{new}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
