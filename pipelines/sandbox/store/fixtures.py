"""The contents of a store as JSON: one list of records a table. `docs/guide/sandbox.md` has an example."""

from typing import Any

from sources.insightly.entities import ENTITIES, is_custom_object

from .shapes import CHILD_ENTITIES, HISTORY, has_list
from .store import Store

DEFINITIONS, INSTANCE, PARENT = "custom_fields", "instance", "PARENT"


def dump(store: Store) -> dict[str, Any]:
    """Everything that `load` needs to make the same store of an empty one."""
    with store.lock:
        data: dict[str, Any] = {name: store.rows(name) for name, table in store.tables.items() if table.keys}
        for name in CHILD_ENTITIES:
            for key, row in zip(store.tables[name].keys, data.get(name, ()), strict=True):
                row[PARENT] = "/".join(map(str, store.tables[name].parents[key]))
        data[DEFINITIONS] = store.definitions
        data[INSTANCE] = store.instance
        return data


def load(store: Store, data: object) -> None:
    """Adds records to a store; one with the id of an existing record replaces it.

    Raises:
        ValueError: the data are not as in the example of the page. Nothing is added.
    """
    check(data)
    assert isinstance(data, dict)
    with store.lock:
        store.instance |= data.get(INSTANCE, {})
        for row in data.get(DEFINITIONS, ()):
            store.define(row["FIELD_FOR"], row["FIELD_NAME"], row["FIELD_TYPE"]).update(row)
        for name in data:
            if is_custom_object(name) and name not in store.tables:
                store.define_object(name)
        for name, rows in data.items():
            if name not in (DEFINITIONS, INSTANCE):
                for row in rows:
                    implied = f"opportunities/{row['OPPORTUNITY_ID']}" if name == HISTORY else ""
                    parent, _, key = row.get(PARENT, implied).partition("/")
                    fields = {field: value for field, value in row.items() if field != PARENT}
                    store.put(name, fields, (parent, int(key) if key.isdigit() else key) if parent else None)


def check(data: object) -> None:
    """Raises ValueError if the data are not as in the example of the page."""
    if not isinstance(data, dict):
        raise ValueError('fixtures must be an object of lists, such as {"contacts": [{"FIRST_NAME": "Ada"}]}')
    for name, rows in data.items():
        if name == INSTANCE:
            if not isinstance(rows, dict):
                raise ValueError(f"{name} must be an object")
            continue
        known = name in ENTITIES and (has_list(ENTITIES[name]) or name in (*CHILD_ENTITIES, DEFINITIONS))
        if not known and not is_custom_object(name):
            raise ValueError(f"{name} is not a table with records: `insightly entities` lists them")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{name} must be a list of objects")
        needed = {DEFINITIONS: ("FIELD_FOR", "FIELD_NAME", "FIELD_TYPE"), HISTORY: ("OPPORTUNITY_ID",)}
        for field in needed.get(name, (PARENT,) if name in CHILD_ENTITIES else ()):
            if any(not row.get(field) for row in rows):
                raise ValueError(f"each of {name} needs {field}")
