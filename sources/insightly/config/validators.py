"""Values of settings as files, the environment and callers give them -> values in range. Each raises BadSetting."""

import contextlib
import math
import re
from datetime import UTC, date, datetime, time, timedelta

from ..errors import BadSetting, redact


def bad(name: str, value: object, accepted: str) -> BadSetting:
    """The error that names the setting, the value seen and what is accepted."""
    return BadSetting(f"sources.insightly.{name}", redact(value), f"must be {accepted}")


def whole(name: str, value: object, low: int, high: float = math.inf) -> int:
    number = _as_number(value)
    if low <= number <= high and number == int(number):
        return int(number)
    raise bad(name, value, f"a whole number from {low}" + (f" to {high}" if high < math.inf else " on"))


def number(name: str, value: object, low: float, high: float, *, above: bool = False) -> float:
    number = _as_number(value)
    if low <= number <= high and not (above and number == low):
        return number
    raise bad(name, value, f"a number {'above' if above else 'from'} {low}, up to {high}")


def _as_number(value: object) -> float:
    """NaN, which no range holds, for what is no finite number."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def names(name: str, value: object) -> list[str]:
    """A list, or one text with commas between; a JSON list is one too, as the environment has no other."""
    items = re.split(r"[,\[\]\"'\s]+", value) if isinstance(value, str) else [] if value is None else value
    if not isinstance(items, list | tuple | set) or not all(isinstance(item, str) for item in items):
        raise bad(name, value, "names, as a list or with commas between")
    for item in (named := [item.strip() for item in items if item.strip()]):
        if name in ("hash", "drop") and not re.fullmatch(r"[^.]+\.[^.]+", item):
            raise bad(name, item, "entity.column")
    return list(dict.fromkeys(named))


def moment(name: str, value: object) -> datetime | None:
    """UTC; a date is its first second, a time without zone is UTC (as all of the API's are, API.md 4.1)."""
    if value is None or value == "":
        return None
    told: object = value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            told = datetime.fromisoformat(value.strip())
    elif isinstance(value, date) and not isinstance(value, datetime):
        told = datetime.combine(value, time.min)
    if isinstance(told, datetime):
        utc = told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
        if datetime(1900, 1, 1, tzinfo=UTC) <= utc <= datetime.now(UTC) + timedelta(days=1):
            return utc
    raise bad(name, value, "an ISO date or date-time that has begun, as 2025-01-31 or 2025-01-31T00:00:00Z")
