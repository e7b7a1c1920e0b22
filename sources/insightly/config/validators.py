"""Checks for the values of settings, which come from files, the environment and callers. Each raises BadSetting."""

import contextlib
import math
import re
from datetime import UTC, date, datetime, time, timedelta

from ..errors import BadSetting, redact


def bad(name: str, value: object, accepted: str) -> BadSetting:
    """The error with the setting, the value seen and what is accepted."""
    return BadSetting(f"sources.insightly.{name}", redact(value), f"must be {accepted}")


def number(name: str, value: object, low: float, high: float, *, above: bool = False) -> float:
    """A finite number from `low` to `high`; `above` excludes `low`."""
    parsed = math.nan
    # Python also reads 1_000, and the digits of other scripts.
    plain = not isinstance(value, str) or (value.isascii() and "_" not in value)
    if isinstance(value, int | float | str) and not isinstance(value, bool) and plain:
        with contextlib.suppress(ValueError, OverflowError):
            parsed = float(value)
    if math.isfinite(parsed) and low <= parsed <= high and not (above and parsed == low):
        return parsed
    raise bad(name, value, f"a number {'above' if above else 'from'} {low}, up to {high}")


def integer(name: str, value: object, low: int, high: float = math.inf) -> int:
    """A whole number from `low` to `high`."""
    with contextlib.suppress(BadSetting):
        if (parsed := number(name, value, low, high)) == int(parsed):
            return int(parsed)
    raise bad(name, value, f"a whole number from {low}" + (f" to {high}" if high < math.inf else " on"))


def names(name: str, value: object) -> list[str]:
    """A list, or a text separated by commas, which may be a JSON list: an environment variable is always a text."""
    items = re.split(r"[,\[\]\"'\s]+", value) if isinstance(value, str) else [] if value is None else value
    if not isinstance(items, list | tuple | set) or not all(isinstance(item, str) for item in items):
        raise bad(name, value, "a list of names, or names separated by commas")
    unique = list(dict.fromkeys(item.strip() for item in items if item.strip()))
    for item in unique:
        if name in ("hash", "drop") and not re.fullmatch(r"[^.]+\.[^.]+", item):
            raise bad(name, item, "entity.column")
    return unique


def parse_datetime(name: str, value: object) -> datetime | None:
    """UTC. A date means its first second; a time without zone is UTC, as all times of the API (api.md 4.1)."""
    if value is None or value == "":
        return None
    parsed: object = value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            parsed = datetime.fromisoformat(value.strip())
    elif isinstance(value, date) and not isinstance(value, datetime):
        parsed = datetime.combine(value, time.min)
    if isinstance(parsed, datetime):
        utc = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        if datetime(1900, 1, 1, tzinfo=UTC) <= utc <= datetime.now(UTC) + timedelta(days=1):
            return utc
    raise bad(name, value, "an ISO date or time, not in the future, such as 2025-01-31 or 2025-01-31T00:00:00Z")
