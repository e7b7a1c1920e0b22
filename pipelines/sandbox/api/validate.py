"""Validation of request bodies: known fields, types, lengths, required fields, custom fields (api.md 4, 5.2)."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.sandbox.store.shapes import LINKED, Record, facts_of, parse_date
from pipelines.sandbox.switches import Switches
from sources.insightly.fields import Field, FieldType, child_fields

from .exchange import ApiError, Exchange

_TYPES: dict[str, Any] = {"integer": int, "boolean": bool, "number": (int, float), "string": str}
_CUSTOM_TYPES: dict[str, FieldType] = {
    **{"BIT": "boolean", "NUMERIC": "number", "PERCENT": "number"},
    **{"DATE": "date", "DATETIME": "datetime"},
}


def writable(x: Exchange) -> Record:
    """The fields of the body to store: without read-only ones, dates in one form.

    Raises:
        ApiError: 400 for a wrong type, a text too long, an id that refers to nothing, or an unknown field.
    """
    facts, fields = x.facts, {}
    for name, value in x.sent.items():
        name = name.upper() if x.switches.field_case == "any" and name.upper() in facts.fields else name
        if name in facts.fields:
            if name in facts.writable:
                fields[name] = stored(x, facts.fields[name], value)
        elif name == "CUSTOMFIELDS" and facts.custom_fields:
            fields[name] = _custom_fields(x, value)
        elif name in facts.arrays:
            fields[name] = [item_of(x, name, item) for item in _objects(name, value)]
        elif name != "ETag" and x.switches.unknown_fields == "refused":
            raise ApiError(400, f"{name} is not a field of {facts.path}.")
    return fields


def require(x: Exchange, fields: Record, names: Iterable[str]) -> None:
    """Raises a 400 if one of `names` is missing that the entity table marks as required."""
    flags = {name: field.flags for name, field in x.facts.fields.items()}
    required = [name for name in names if "required" in flags.get(name, ()) and "read_only" not in flags[name]]
    if missing := [name for name in required if fields.get(name) in (None, "")]:
        raise ApiError(400, f"{', '.join(missing)} is required.")


def checked(field: Field, value: Any, switches: Switches) -> Any:
    """`value` if it fits the field, as None always does; else raises a 400."""
    if value is None or field.type in {"json", "any"}:
        return value
    if field.type in {"date", "datetime"}:
        try:
            return parse_date(f"{value} 00:00:00" if len(value) == 10 else value, switches.date_formats == "documented")
        except (ValueError, TypeError, AttributeError):
            raise ApiError(400, f"{field.name} must be a date in the form yyyy-MM-dd HH:mm:ss.") from None
    if field.type == "integer" and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)  # clients send ids as strings, and the service takes them
    if not isinstance(value, _TYPES[field.type]) or (isinstance(value, bool) and field.type != "boolean"):
        raise ApiError(400, f"{field.name} must be of type {field.type}.")
    if field.max_length and isinstance(value, str) and len(value) > field.max_length:
        raise ApiError(400, f"{field.name} must not be longer than {field.max_length} characters.")
    return value


def stored(x: Exchange, field: Field, value: Any) -> Any:
    """The value to store in a field, or a 400: it must fit, and an id must be that of a record."""
    value, table = checked(field, value, x.switches), x.store.tables.get(field.references)
    if table and value == 0 and x.switches.zero_ids == "unset":
        return None  # clients in Go send 0 where they have no id
    if table and value is not None and value not in table.raw:
        raise ApiError(400, f"{field.name} {value} refers to nothing in {facts_of(field.references).path}.")
    return value


def item_of(x: Exchange, array: str, sent: Mapping[str, Any]) -> Record:
    """One item of an array, validated, with null for each missing field."""
    known = child_fields(array)
    for name in sent:
        if name not in known:
            raise ApiError(400, f"{name} is not a field of {array}.")
    if array == "TAGS" and not sent.get("TAG_NAME"):
        raise ApiError(400, "TAG_NAME is required.")
    if array == "LINKS" and (sent.get("LINK_OBJECT_NAME") not in LINKED or not sent.get("LINK_OBJECT_ID")):
        raise ApiError(400, "LINK_OBJECT_NAME must be a singular object name, with a LINK_OBJECT_ID.")
    return {name: stored(x, field, sent.get(name)) for name, field in known.items()}


def _objects(array: str, value: Any) -> list[Record]:
    if value is None:  # null clears a collection as it does a field
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ApiError(400, f"{array} must be an array of objects.")
    return value


def _custom_fields(x: Exchange, value: Any) -> list[Record]:
    known, written = x.definitions, []
    for item in _objects("CUSTOMFIELDS", value):
        name = item.get("FIELD_NAME") or item.get("CUSTOM_FIELD_ID")
        if name not in known:
            raise ApiError(400, f"{name} is not a custom field of {x.facts.field_for}.")
        value = _custom_value(known[name], item.get("FIELD_VALUE"), x.switches)
        written.append({"FIELD_NAME": name, "FIELD_VALUE": value, "CUSTOM_FIELD_ID": name})
    return written


def _custom_value(definition: Record, value: Any, switches: Switches) -> Any:
    kind, name = definition["FIELD_TYPE"], definition["FIELD_NAME"]
    type_: FieldType = "integer" if definition["JOIN_OBJECT"] else _CUSTOM_TYPES.get(kind, "string")
    value = checked(Field(name, type_, None, frozenset()), value, switches)
    options = {option["OPTION_VALUE"] for option in definition["CUSTOM_FIELD_OPTIONS"]}
    if value is not None and kind in {"DROPDOWN", "MULTISELECT"} and options:
        for part in value.split(";") if kind == "MULTISELECT" else [value]:
            if part not in options:
                raise ApiError(400, f"{part!r} is not an option of {name}.")
    return value
