"""The headers of an answer that say when it left, how long to wait and how many there are."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse_http_date(text: str | None) -> datetime | None:
    """An HTTP date as an aware UTC moment; None without one or if it cannot be read."""
    try:
        parsed = parsedate_to_datetime(text or "")
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def retry_after(text: str | None, now: datetime | None) -> float | None:
    """Seconds that a Retry-After header, a number or an HTTP date after `now`, asks for; None unless above 0."""
    if re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]*)?\s*", text or "", re.ASCII):
        seconds = float(text or "")
    else:
        until = parse_http_date(text)
        seconds = (until - (now or datetime.now(UTC))).total_seconds() if until else 0.0
    return seconds if seconds > 0 else None


def count(text: str | None) -> int | None:
    """A header's whole number, at least 0; None without one or if it is something else."""
    return max(int(text), 0) if re.fullmatch(r"-?[0-9]{1,18}", (text or "").strip()) and text else None
