"""Query parameters: paging, flags and filters (API.md, sections 2 and 7.1)."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.sandbox.store.shapes import MAX_PAGE, facts_of
from pipelines.sandbox.store.table import parse, stamp_of
from pipelines.sandbox.switches import Switches

from .messages import ApiError

DEFAULT_PAGE = 100

Filter = Callable[[bytes], bool]
"""A test of a record."""

_DOCUMENTED = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?")


def paging(query: Mapping[str, str], switches: Switches) -> tuple[int, int]:
    """(skip, top); a `top` above 500 is clamped or refused."""
    skip, top = _number(query, "skip", 0), _number(query, "top", DEFAULT_PAGE)
    if top > MAX_PAGE and switches.top_limit == "refuse":
        raise ApiError(400, f"The value of top must not be greater than {MAX_PAGE}.")
    return skip, min(top, MAX_PAGE)


def flag(query: Mapping[str, str], name: str, switches: Switches) -> bool:
    """A boolean parameter; `true` and `True` are both valid."""
    value = query.get(name, "").strip().lower()
    if value not in ({"", "true", "false", "1", "0"} if switches.flag_values == "any" else {"", "true", "false"}):
        raise ApiError(400, f"The value {value!r} of {name} is not a boolean.")
    return value in {"true", "1"}


def parse_date(value: str, documented: bool) -> str:
    """A date or date-time, as it is stored: in every ISO 8601 form, its fraction cut off, or the documented ones.

    Raises:
        ValueError: it has another form.
    """
    value = value.strip()
    if documented and not _DOCUMENTED.fullmatch(value):
        raise ValueError(f"{value!r} is not a date-time")
    time = datetime.fromisoformat(value.replace(" ", "+") if value.count(":") > 2 else value)
    time = time.astimezone(UTC) if time.tzinfo else time
    return time.replace(tzinfo=None, microsecond=0).isoformat(" ")


def updated_after(query: Mapping[str, str], switches: Switches) -> Filter | None:
    """The date filter: strictly later, unless the switch makes it inclusive; an empty value filters nothing."""
    value = query.get("updated_after_utc", "")
    if not value.strip():
        return None
    try:
        bound = parse_date(value, switches.date_formats == "documented")
    except ValueError:
        raise ApiError(400, f"The value {value!r} of updated_after_utc is not a valid date.") from None
    if switches.filter_inclusive:
        return lambda raw: stamp_of(raw) >= bound
    return lambda raw: stamp_of(raw) > bound


def field_equals(entity: str, query: Mapping[str, str], custom: Collection[str]) -> Filter | None:
    """The exact match of one standard or custom field; `custom` are the names of the defined custom fields."""
    name, value = query.get("field_name", ""), query.get("field_value")
    if not name and value is None:
        return None
    if not name or value is None:
        raise ApiError(400, "field_name and field_value must be given together.")
    if name in facts_of(entity).fields:
        return lambda raw: _same(parse(raw).get(name), value)
    if name not in custom:
        raise ApiError(400, f"{name} is not a field of {facts_of(entity).path}.")
    mark = f'"{name}"'.encode()

    def matches(raw: bytes) -> bool:
        fields = parse(raw).get("CUSTOMFIELDS") or () if mark in raw else ()
        return any(item["FIELD_NAME"] == name and _same(item["FIELD_VALUE"], value) for item in fields)

    return matches


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise ApiError(400, f"The value {text!r} of {name} is not a whole number of 0 or more.")
    return int(text)


def _same(stored: Any, text: str) -> bool:
    if stored is None:
        return False
    if isinstance(stored, bool):
        return text.lower() == str(stored).lower()
    if isinstance(stored, int | float):
        try:
            return float(text) == stored
        except ValueError:
            return False
    try:
        return stored in (text, parse_date(text, documented=True))
    except ValueError:
        return bool(stored == text)
