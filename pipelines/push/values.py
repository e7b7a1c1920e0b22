"""Values of a file in the form the API takes, and whether two values are equal. Pure logic."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sources.insightly.errors import redact
from sources.insightly.fields import Field
from sources.insightly.rows.json_text import NUMERAL, RepairedText, objects_of
from sources.insightly.state.times import NO_DATE, parse_api

WIRE_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


class InvalidValue(ValueError):
    """A value that its field does not take.

    Args:
        reason: what is wrong with it, such as `is not a number`.
        value: the value; the message quotes it, `reason` does not.
    """

    def __init__(self, reason: str, *value: object) -> None:
        super().__init__(" ".join((*map(redact, value), reason)))
        self.reason = reason


def to_api(field: Field, value: Any) -> Any:
    """`value` in the form the API takes; "" and None become None.

    Raises:
        InvalidValue: it is not of the field's type, too long or too large.
    """
    if value is None or value == "":
        return None
    converted = _CONVERTERS[field.type](value)
    if field.type == "string" and field.max_length is not None and len(converted) > field.max_length:
        raise InvalidValue(f"has {len(converted):,} characters, at most {field.max_length:,} are allowed")
    if field.type == "integer" and abs(converted) >= 2 ** (31 if "int32" in field.flags else 63):
        raise InvalidValue("is too large", value)
    return converted


def search_values(value: Any) -> list[str]:
    """The texts by which a search finds the records whose value is `equal`, whether or not it ignores blanks and case.

    The first is the text without surrounding blanks. Most values have no other.
    """
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return list(dict.fromkeys((_strip(text), text, _strip(text).casefold())))


def changed_fields(new: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `new` whose values differ from the record's."""
    return {name: value for name, value in new.items() if not equal(value, record.get(name))}


def custom_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """The custom fields of a record: name -> value."""
    return {str(entry.get("FIELD_NAME")): entry.get("FIELD_VALUE") for entry in objects_of(record.get("CUSTOMFIELDS"))}


def equal(sent: Any, stored: Any, lenient: bool = False) -> bool:
    """True if the API stores what was sent.

    Args:
        sent: a value in the form of `to_api`. An array is equal if each of its items is stored; fields that the item
            does not have are not compared.
        stored: the value in the API's response.
        lenient: ignore surrounding blanks and the kind of line ends of texts.
    """
    if isinstance(sent, list):
        items = stored if isinstance(stored, list) else []
        return all(any(_contains(other, item, lenient) for other in items) for item in sent)
    if sent is None or sent == "":
        return stored is None or stored == "" or (isinstance(stored, str) and stored.startswith(NO_DATE))
    if isinstance(sent, bool) or isinstance(stored, bool):
        return bool(sent is stored)
    if isinstance(sent, int | float | Decimal):
        number = _decimal_or_none(stored)
        return number is not None and number == _decimal_or_none(sent)
    text = str(sent)
    if not isinstance(stored, str):
        return text == str(stored)
    if WIRE_FORM.fullmatch(text) and (time := parse_api(stored)) is not None:
        return time.replace(microsecond=0) == parse_api(text)
    return _strip(text) == _strip(stored) if lenient else text == stored


def _contains(stored: Any, item: Any, lenient: bool) -> bool:
    if not isinstance(item, dict) or not isinstance(stored, dict):
        return bool(item == stored)
    return all(equal(value, stored.get(name), lenient) for name, value in item.items())


def _strip(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _decimal_or_none(value: Any) -> Decimal | None:
    """The finite number that a value is, or that its text is; None if it is none."""
    if isinstance(value, str):
        return Decimal(value.strip()) if NUMERAL.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(repr(value) if isinstance(value, float) else value)
    return number if number.is_finite() else None


def stripped(value: Any) -> Any:
    """A text without surrounding blanks; any other value as it is."""
    return _strip(value) if isinstance(value, str) else value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidValue("is not a text", value)
    if isinstance(value, RepairedText):
        raise InvalidValue("contains half a surrogate pair, which is not a character", value.original)
    return value


def _boolean(value: Any) -> bool:
    boolean = value if isinstance(value, bool) else None
    if isinstance(value, str):
        boolean = BOOLEANS.get(value.strip().lower())
    if boolean is None:
        raise InvalidValue("is neither true nor false", value)
    return boolean


def _integer(value: Any) -> int:
    number = _decimal_or_none(value)
    if number is None or number != number.to_integral_value():
        raise InvalidValue("is not a whole number", value)
    if abs(number) >= 2**63:
        raise InvalidValue("is too large", value)
    return int(number)


def _number(value: Any) -> int | float:
    number = _decimal_or_none(value)
    if number is None:
        raise InvalidValue("is not a number", value)
    if abs(number) < 2**53 and number == int(number):
        return int(number)
    # A float is sent as it is. A decimal must not change when it becomes a float.
    if not isinstance(value, float) and Decimal(repr(float(number))) != number:
        raise InvalidValue("has more digits than JSON numbers keep", value)
    return float(number)


def _parse_datetime(value: Any) -> datetime:
    """A date or date-time without a time zone, in UTC and whole seconds."""
    try:
        parsed = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if isinstance(parsed, date) and not isinstance(parsed, datetime):
            parsed = datetime(parsed.year, parsed.month, parsed.day)
        if isinstance(parsed, datetime):
            return (parsed.astimezone(UTC) if parsed.tzinfo else parsed).replace(tzinfo=None, microsecond=0)
    except (ValueError, OverflowError):
        pass
    raise InvalidValue("is not a date, such as 2026-01-31 or 2026-01-31 09:30:00 (UTC)", value)


def _datetime(value: Any) -> str:
    return _parse_datetime(value).isoformat(sep=" ")


def _date(value: Any) -> str:
    parsed = _parse_datetime(value)
    if parsed.hour or parsed.minute or parsed.second:
        raise InvalidValue("has a time of day, but the field takes a date", value)
    return parsed.isoformat(sep=" ")


def _any(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, date):
        return _datetime(value)
    raise InvalidValue("is not a text, number, boolean or date", value)


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "datetime": _datetime,
    "date": _date,
    "any": _any,
    "json": _any,
}
