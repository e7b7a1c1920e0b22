"""Custom fields: column types from definitions, and columns from the `CUSTOMFIELDS` of records. Pure logic."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..entities import Entity
from ..errors import MalformedResponse, describe, listing, redact
from ..fields import FieldType
from .json_text import objects_of

DEFINED_TYPES: Mapping[str, FieldType] = {
    "TEXT": "string",
    "MULTILINETEXT": "string",
    "DROPDOWN": "string",
    "MULTISELECT": "string",
    "BIT": "boolean",
    "DATE": "date",
    "DATETIME": "datetime",
    "NUMERIC": "number",
    "PERCENT": "number",
}
"""FIELD_TYPE values whose values are known from live data; the type of any other is inferred from its values."""
SHOWN_OPTIONS = 20
"""Options that the text about a custom field lists."""


def definitions_of(entity: Entity, definitions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The definitions of the entity: for an unknown object name the API returns those of every entity."""
    return [dict(row) for row in definitions if entity.matches_name(row.get("FIELD_FOR"))]


def object_of(entity: Entity, definitions: Iterable[Mapping[str, Any]]) -> str:
    """The name of the entity in its own definitions, in upper case."""
    return next((str(row["FIELD_FOR"]).upper() for row in definitions), entity.field_for)


def declared_types(definitions: Iterable[Mapping[str, Any]]) -> dict[str, FieldType | None]:
    """The column type of each custom field by name; None if the definition does not determine it."""
    types: dict[str, FieldType | None] = {}
    for definition in definitions:
        name = definition.get("FIELD_NAME")
        if not isinstance(name, str) or not name:
            raise MalformedResponse(f"the definition of a custom field has no FIELD_NAME; {describe(definition)}")
        # The value of a lookup is the id of the other record.
        lookup: FieldType | None = "integer" if definition.get("JOIN_OBJECT") else None
        types[name] = DEFINED_TYPES.get(str(definition.get("FIELD_TYPE")).upper(), lookup)
    return types


def unlisted_names(definitions: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The custom fields of a type that lists leave out (api.md 11): a record without an entry for one says nothing."""
    return frozenset(str(row.get("FIELD_NAME")) for row in definitions if "IMAGE" in str(row.get("FIELD_TYPE")).upper())


def entries_of(record: Mapping[str, Any]) -> frozenset[str]:
    """The custom fields that a record has an entry for."""
    return frozenset(str(entry.get("FIELD_NAME")) for entry in objects_of(record.get("CUSTOMFIELDS")))


def text_of(definition: Mapping[str, Any]) -> str:
    """What a custom field is, in one line: its label, help text and options."""
    texts = (str(definition.get(name) or "") for name in ("FIELD_LABEL", "FIELD_HELP_TEXT"))
    label, help_text = (" ".join(text.split()) for text in texts)
    options = [str(option.get("OPTION_VALUE")) for option in objects_of(definition.get("CUSTOM_FIELD_OPTIONS"))]
    text = f'Custom field "{label or definition.get("FIELD_NAME")}"'
    text += f": {help_text.removesuffix('.')}." if help_text else "."
    if options:
        text += f" Options: {listing(options, SHOWN_OPTIONS)}."
    return text


def lookups(definitions: Iterable[Mapping[str, Any]], entities: Iterable[Entity]) -> dict[str, Entity]:
    """The custom fields whose values are keys of another entity's records, each with that entity."""
    joined = {str(row.get("FIELD_NAME")): row.get("JOIN_OBJECT") for row in definitions if row.get("JOIN_OBJECT")}
    return {name: entity for name, object_ in joined.items() for entity in entities if entity.matches_name(object_)}


def pivot(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, list[Any]]:
    """The values of each custom field, one for each row; None where a record has no entry for it.

    Raises:
        MalformedResponse: CUSTOMFIELDS is not a list of objects with a FIELD_NAME, or has two values of one field.
    """
    columns: dict[str, list[Any]] = {name: [None] * len(rows) for name in names}
    for index, row in enumerate(rows):
        entries = row.get("CUSTOMFIELDS")
        if entries is None or entries == "":
            continue
        if not isinstance(entries, list):
            raise MalformedResponse(f"CUSTOMFIELDS of a record is not a list: {type(entries).__name__}")
        for entry in entries:
            name = entry.get("FIELD_NAME") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name:
                raise MalformedResponse(f"an entry of CUSTOMFIELDS has no FIELD_NAME: {describe(entry)}")
            column = columns.get(name)
            if column is None:
                column = columns[name] = [None] * len(rows)
            value = entry.get("FIELD_VALUE")
            if column[index] is not None and value != column[index]:
                raise MalformedResponse(f"a record has two values of its custom field {redact(name)}")
            column[index] = value
    return columns
