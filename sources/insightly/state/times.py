"""UTC times as the API and the state write them."""

from datetime import UTC, datetime

WIRE = "%Y-%m-%d %H:%M:%S"


def iso(time: datetime) -> str:
    """A time as the API's query parameters and the state have it: UTC, whole seconds, `Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """The aware UTC time of a text by `iso`, or of the API's `yyyy-MM-dd HH:mm:ss`. Raises ValueError for others."""
    time = datetime.fromisoformat(text)
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is before year 1 or after 9999 in UTC") from None


def earlier(bound: str | None, than: str | None) -> bool:
    """True where the lower bound `bound` includes more than `than` does; None includes everything."""
    return than is not None and (bound is None or bound < than)
