"""The headers of a response: Date, Retry-After and counts."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse_http_date(text: str | None) -> datetime | None:
    """An HTTP date in UTC; None if it is missing, malformed, or older than HTTP."""
    try:
        parsed = parsedate_to_datetime(text or "")
        date = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.year >= 1990 else None


def parse_retry_after(text: str | None, now: datetime | None) -> float | None:
    """The seconds of a Retry-After header (a number, or an HTTP date counted from `now`); None unless above 0."""
    if re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]*)?\s*", text or "", re.ASCII):
        seconds = float(text or "")
    else:
        until = parse_http_date(text)
        seconds = (until - (now or datetime.now(UTC))).total_seconds() if until else 0.0
    return seconds if seconds > 0 else None


def parse_count(text: str | None) -> int | None:
    """The integer of a header; None if it is missing or malformed. -1 means that there is no limit or no count."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text.strip()) else None
