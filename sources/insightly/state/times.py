"""UTC times as the API and the state write them."""

import re
from datetime import UTC, datetime, timedelta

NO_DATE = ("0001-01-01", "0000-00-00")
"""What the API's dates begin with where there is none."""
API_DATETIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[ T]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6})([0-9]*))?)?)?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):?([0-5][0-9]))?)?"
)


def iso(time: datetime) -> str:
    """A time as the API's query parameters and the state have it: UTC, whole seconds, `Z`."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"  # strftime pads no year


def parse(text: str) -> datetime:
    """The aware UTC time of a text that this program or its user wrote. Raises ValueError for others.

    Texts of the API can be anything: see `parse_api`.
    """
    time = datetime.fromisoformat(text)
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is before year 1 or after 9999 in UTC") from None


def parse_api(value: object) -> datetime | None:
    """The aware UTC time of a date or time of the API; None if it is none: null, "", 0000-00-00 or of another form."""
    if not isinstance(value, str) or value.strip().startswith(NO_DATE):
        return None
    try:
        local, offset, _ = split_api_datetime(value.strip())
        return local - offset
    except (ValueError, OverflowError):
        return None


def split_api_datetime(text: str) -> tuple[datetime, timedelta, bool]:
    """A date or time of the API in its own time zone, its offset, and whether it has digits below the microsecond.

    The datetime itself says UTC; subtract the offset. Raises ValueError for other texts, and days that do not exist.
    """
    parts = API_DATETIME.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = (int(part or 0) for part in parts.groups()[:6])
    local = datetime(year, month, day, hour, minute, second, int((parts[7] or "0").ljust(6, "0")), UTC)
    offset = timedelta(hours=int(parts[10] or 0), minutes=int(parts[11] or 0)) * (-1 if parts[9] == "-" else 1)
    return local, offset, bool((parts[8] or "").strip("0"))


def earlier(bound: str | None, than: str | None) -> bool:
    """True where the lower bound `bound` includes more than `than` does; None includes everything."""
    return than is not None and (bound is None or bound < than)
