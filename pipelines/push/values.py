"""Values between a file and the API: the form they are sent in, and whether two of them are the same. Pure logic."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sources.insightly.entities import Field
from sources.insightly.errors import redact

STAMP = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)?)?")
NO_DATES = ("0001-01-01", "0000-00-00")
TRUTHS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


class Misfit(ValueError):
    """A value that its field does not take; the message says what would be right."""


def wire(field: Field, value: Any) -> Any:
    """`value` as JSON has it for the API; "" and None are None.

    Raises:
        Misfit: it is not of the field's type, too long or too large.
    """
    if value is None or value == "":
        return None
    made = _FORMS[field.type](value)
    most = field.max_length if field.type == "string" else None
    if most is not None and len(made) > most:
        raise Misfit(f"has {len(made):,} characters, {most:,} at most are taken")
    if field.type == "integer" and abs(made) >= 2 ** (31 if "int32" in field.flags else 63):
        raise Misfit(f"{redact(value)} is too large")
    return made


def differing(sent: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `sent` whose values the record does not have."""
    return {name: value for name, value in sent.items() if not same(value, record.get(name))}


def custom_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The custom fields of a record by name."""
    entries = record.get("CUSTOMFIELDS") or []
    return {str(entry.get("FIELD_NAME")): entry.get("FIELD_VALUE") for entry in entries if isinstance(entry, dict)}


def same(sent: Any, told: Any, loosely: bool = False) -> bool:
    """True where the API's value is what was sent.

    Args:
        sent: a value in the form of `wire`; an array's items need only agree in what was sent of them.
        told: the value in the API's answer.
        loosely: whether blanks around a text and the kind of its line ends count for nothing.
    """
    if isinstance(sent, list):
        items = told if isinstance(told, list) else []
        return all(any(_holds(item, other, loosely) for other in items) for item in sent)
    if sent is None or sent == "":
        return told is None or told == "" or (isinstance(told, str) and told.startswith(NO_DATES))
    if isinstance(sent, bool) or isinstance(told, bool):
        return bool(sent is told)
    if isinstance(sent, int | float | Decimal):
        return _number_or_none(told) == Decimal(str(sent))
    text = str(sent)
    if not isinstance(told, str):
        return text == str(told)
    if STAMP.fullmatch(text) and len(text) == 19 and (stamp := STAMP.fullmatch(told)):
        return text == f"{stamp[1]} {stamp[2] or '00:00:00'}"
    return _plain(text) == _plain(told) if loosely else text == told


def _holds(item: Any, other: Any, loosely: bool) -> bool:
    if not isinstance(item, dict) or not isinstance(other, dict):
        return bool(item == other)
    return all(same(value, other.get(name), loosely) for name, value in item.items())


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _number_or_none(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Misfit(f"{redact(value)} is no text")
    return value


def _boolean(value: Any) -> bool:
    known = value if isinstance(value, bool) else TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None
    if known is None:
        raise Misfit(f"{redact(value)} is neither true nor false")
    return known


def _number(value: Any) -> Decimal:
    number = None if isinstance(value, bool) else _number_or_none(value.strip() if isinstance(value, str) else value)
    if number is None or not number.is_finite():
        raise Misfit(f"{redact(value)} is no number")
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if abs(number) >= 2**63 or number != int(number):
        raise Misfit(f"{redact(value)} is no whole number, or too large")
    return int(number)


def _decimal(value: Any) -> int | float:
    number = _number(value)
    if abs(number) < 2**53 and number == int(number):
        return int(number)
    # A float from a file is what JSON would have; a decimal must survive the way.
    if not isinstance(value, float) and Decimal(repr(float(number))) != number:
        raise Misfit(f"{redact(value)} has more digits than JSON numbers keep")
    return float(number)


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if isinstance(moment, date) and not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day)
        if isinstance(moment, datetime):
            return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        pass
    raise Misfit(f"{redact(value)} is no date, as 2026-01-31 or 2026-01-31 09:30:00 (UTC)")


def _datetime(value: Any) -> str:
    return _moment(value).replace(microsecond=0).isoformat(sep=" ")


def _date(value: Any) -> str:
    moment = _moment(value)
    if moment.hour or moment.minute or moment.second:
        raise Misfit(f"{redact(value)} has a time of day, and the field takes a date")
    return moment.replace(microsecond=0).isoformat(sep=" ")


def _any(value: Any) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, date):
        return _datetime(value)
    raise Misfit(f"{redact(value)} is no plain value")


_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "string": _text,
    "boolean": _boolean,
    "integer": _integer,
    "number": _decimal,
    "datetime": _datetime,
    "date": _date,
    "any": _any,
    "json": _any,
}
