"""What a destination must hold of an account, and the comparison of both."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import requests
from dlt.common.normalizers.naming.snake_case import NamingConvention

from pipelines.sandbox import Sandbox
from sources.insightly import ENTITIES
from sources.insightly.entities import Entity, custom_object
from tests.support.process import ROOT

CORE = tuple(json.loads((ROOT / "tests/recorded/entities.json").read_text(encoding="utf-8"))["first_17"])

TAGGED_TYPES = ("contacts", "leads", "opportunities", "organisations", "projects", "emails")
SQL_TYPES = {
    "integer": "BIGINT",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "number": "DECIMAL(38,9)",
    "datetime": "TIMESTAMP WITH TIME ZONE",
    "date": "DATE",
    "json": "VARCHAR",
}
CUSTOM_TYPES = {
    "BIT": "boolean",
    "DATE": "date",
    "DATETIME": "datetime",
    "NUMERIC": "number",
    "PERCENT": "number",
    "TEXT": "string",
    "MULTILINETEXT": "string",
    "DROPDOWN": "string",
    "MULTISELECT": "string",
}
normalize = cache(NamingConvention().normalize_path)
Row = dict[str, Any]
Reader = Callable[[str], list[Row]]


def assert_equal(reader: Reader, sandbox: Sandbox, entity: str, deleted: bool = False) -> None:
    """Asserts that every value of an entity's table and child tables is what the account holds.

    Args:
        reader: reads the destination.
        sandbox: the account.
        entity: the entity's name, or a custom object's as the API spells it.
        deleted: whether rows may be left over whose records have gone.
    """
    own, children = expected(sandbox, entity)
    key = [normalize(part) for part in facts_of(entity).key]
    live = {tuple(row[part] for part in key) for row in own}
    for table, wanted in {normalize(entity): own, **children}.items():
        loaded = [known(row) for row in reader(f'select * from insightly."{table}"')]
        if deleted:
            loaded = [row for row in loaded if tuple(row[part] for part in key) in live]
        order = [*key, "list_idx"] if table in children else key
        loaded.sort(key=lambda row: [row[part] for part in order])
        wanted = sorted(map(known, wanted), key=lambda row: [row[part] for part in order])
        assert len(loaded) == len(wanted), table
        for row, row_wanted in zip(loaded, wanted, strict=True):
            assert row == row_wanted, table


def expected(sandbox: Sandbox, entity: str) -> tuple[list[Row], dict[str, list[Row]]]:
    """The rows of an entity's table and of its child tables, made from the account's records."""
    facts = facts_of(entity)
    if entity == "tags":
        pairs = [(kind, name) for kind in TAGGED_TYPES for name in sandbox.store.tag_names(kind)]
        return [{"record_type": kind, "tag_name": name} for kind, name in pairs], {}
    definitions = [row for row in sandbox.store.definitions if facts.matches_name(row["FIELD_FOR"])]
    custom = {row["FIELD_NAME"]: CUSTOM_TYPES.get(row["FIELD_TYPE"], "any") for row in definitions}
    own: list[Row] = []
    children: dict[str, list[Row]] = {f"{entity}__{array.lower()}": [] for array in facts.arrays}
    for record in records_of(sandbox, entity):
        key = {normalize(part): record[part] for part in facts.key}
        row = {
            normalize(name): stored(value, facts.fields[name].type if name in facts.fields else "any")
            for name, value in record.items()
            if name not in facts.arrays and name != "CUSTOMFIELDS"
        }
        for item in record.get("CUSTOMFIELDS") or ():
            row[normalize(item["FIELD_NAME"])] = stored(item["FIELD_VALUE"], custom.get(item["FIELD_NAME"], "any"))
        own.append(row)
        for array in facts.arrays:
            for index, item in enumerate(record.get(array) or ()):
                values = {normalize(name): stored(value, child_type(name)) for name, value in item.items()}
                children[f"{entity}__{array.lower()}"].append({**values, **key, "list_idx": index})
    return own, children


def records_of(sandbox: Sandbox, entity: str) -> list[Row]:
    """The account's records, or what it has of what is no list of records."""
    if entity == "custom_fields":
        return sandbox.store.definitions
    if entity in ("instance", "permissions"):
        body = requests.get(f"{sandbox.url}/{entity}", auth=(sandbox.key, ""), timeout=10).json()
        rows: list[Row] = body if isinstance(body, list) else body.get("OBJECT_PERMISSIONS", [body])
        return rows
    return sandbox.store.rows(entity)


def facts_of(name: str) -> Entity:
    """The entity of a name; a custom object's name is the API's."""
    return ENTITIES.get(name) or custom_object(name, normalize(name))


def stored(value: Any, kind: str) -> Any:
    """What a destination is to hold for a JSON value; independent of the code under test."""
    if value is None or value == "":
        return None
    if kind in ("datetime", "date"):
        if value.startswith(("0001-01-01", "0000-00-00")):
            return None
        parsed = datetime.strptime(value, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return parsed if kind == "datetime" else parsed.date()
    if kind == "json":
        return json.dumps(value, ensure_ascii=False)
    if kind == "number":
        return Decimal(str(value))
    return value


def child_type(name: str) -> str:
    return "date" if name == "OCCASION_DATE" else "datetime" if name.endswith("_UTC") else "any"


def known(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}
