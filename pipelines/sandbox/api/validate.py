"""Checks of what a client writes: known fields, types, lengths, required fields, custom fields (API.md 4, 5.2)."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pipelines.sandbox.store.shapes import LINKED, Record, collections, facts_of
from sources.insightly.entities import Field, child_fields

from .messages import ApiError
from .query import moment

_PLAIN = {"integer": int, "boolean": bool, "number": (int, float), "string": str}


def json_body(body: bytes) -> Any:
    """The parsed body; anything but JSON is a 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(400, "The request body is not valid JSON.") from None


def json_object(body: bytes) -> Record:
    value = json_body(body)
    if not isinstance(value, dict):
        raise ApiError(400, "The request body must be a JSON object.")
    return value


def writable(entity: str, sent: Mapping[str, Any], definitions: Iterable[Record]) -> Record:
    """The fields of `sent` that are written: read-only ones are left out, date forms made one.

    Raises:
        ApiError: 400 for an unknown field, a wrong type or a text too long.
    """
    facts, fields = facts_of(entity), {}
    for name, value in sent.items():
        if name in facts.fields:
            about = facts.fields[name]
            if (
                "read_only" not in about.flags
                and name not in facts.key
                and not name.startswith(("DATE_CREATED", "DATE_UP"))
            ):
                fields[name] = checked(about, value)
        elif name == "CUSTOMFIELDS" and name in collections(entity):
            fields[name] = _custom_fields(facts.field_for, value, definitions)
        elif name in facts.arrays:
            fields[name] = items(name, value)
        elif name != "ETag":
            raise ApiError(400, f"{name} is not a field of {facts.path}.")
    return fields


def require(entity: str, fields: Mapping[str, Any]) -> None:
    """Refuses a create without the fields the entity table marks as required."""
    absent = [
        name
        for name, about in facts_of(entity).fields.items()
        if "required" in about.flags and "read_only" not in about.flags and fields.get(name) in (None, "")
    ]
    if absent:
        raise ApiError(400, f"{', '.join(absent)} is required.")


def checked(about: Field, value: Any) -> Any:
    """`value` when it fits the field; None always does."""
    if value is None or about.type in {"json", "any"}:
        return value
    if about.type in {"date", "datetime"}:
        return _date(about.name, value)
    fits = isinstance(value, _PLAIN[about.type]) and (about.type == "boolean" or not isinstance(value, bool))  # type: ignore[arg-type]
    if not fits:
        raise ApiError(400, f"{about.name} must be of type {about.type}.")
    if about.max_length and isinstance(value, str) and len(value) > about.max_length:
        raise ApiError(400, f"{about.name} must not be longer than {about.max_length} characters.")
    return value


def items(array: str, value: Any) -> list[Record]:
    """The items of TAGS, LINKS, DATES or EMAILDOMAINS, checked like fields."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ApiError(400, f"{array} must be an array of objects.")
    return [item_of(array, item) for item in value]


def item_of(array: str, sent: Mapping[str, Any]) -> Record:
    """One item with every field of its kind, unset ones null."""
    known = child_fields(array)
    for name in sent:
        if name not in known:
            raise ApiError(400, f"{name} is not a field of {array}.")
    if array == "TAGS" and not sent.get("TAG_NAME"):
        raise ApiError(400, "TAG_NAME is required.")
    if array == "LINKS" and (sent.get("LINK_OBJECT_NAME") not in LINKED or not sent.get("LINK_OBJECT_ID")):
        raise ApiError(400, "LINK_OBJECT_NAME must be a singular object name, with a LINK_OBJECT_ID.")
    return {name: checked(about, sent.get(name)) for name, about in known.items()}


def _date(name: str, value: Any) -> str:
    try:
        return moment(f"{value} 00:00:00" if len(value) == 10 else value)
    except (ValueError, TypeError, AttributeError):
        raise ApiError(400, f"{name} must be a date in the form yyyy-MM-dd HH:mm:ss.") from None


def _custom_fields(field_for: str, value: Any, definitions: Iterable[Record]) -> list[Record]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ApiError(400, "CUSTOMFIELDS must be an array of objects.")
    known = {row["FIELD_NAME"]: row for row in definitions if row["FIELD_FOR"] == field_for}
    written = []
    for item in value:
        name = item.get("FIELD_NAME") or item.get("CUSTOM_FIELD_ID")
        if name not in known:
            raise ApiError(400, f"{name} is not a custom field of {field_for}.")
        _fits(known[name], item.get("FIELD_VALUE"))
        written.append({"FIELD_NAME": name, "FIELD_VALUE": item.get("FIELD_VALUE"), "CUSTOM_FIELD_ID": name})
    return written


def _fits(about: Record, value: Any) -> None:
    kind, name = about["FIELD_TYPE"], about["FIELD_NAME"]
    if value is None:
        return
    if kind in {"DATE", "DATETIME"}:
        _date(name, value)
    elif kind == "BIT":
        fits = isinstance(value, bool)
    elif about["JOIN_OBJECT"]:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif kind in {"NUMERIC", "PERCENT"}:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = isinstance(value, str)
    if kind not in {"DATE", "DATETIME"} and not fits:
        raise ApiError(400, f"The value of {name} does not fit its type {kind}.")
    options = {option["OPTION_VALUE"] for option in about["CUSTOM_FIELD_OPTIONS"]}
    if kind in {"DROPDOWN", "MULTISELECT"} and options:
        for part in value.split(";") if kind == "MULTISELECT" else [value]:
            if part not in options:
                raise ApiError(400, f"{part!r} is not an option of {name}.")
