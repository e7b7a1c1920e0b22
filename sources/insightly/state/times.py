"""UTC times as the API and the state write them."""

from datetime import UTC, datetime

WIRE = "%Y-%m-%d %H:%M:%S"


def iso(moment: datetime) -> str:
    """A moment as the API's query parameters and our state tell it: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """The aware UTC moment of `iso`, or of the API's `yyyy-MM-dd HH:mm:ss`. Raises ValueError where it is none."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is before year 1 or after 9999 in UTC") from None


def earlier(bound: str | None, than: str | None) -> bool:
    """True where `bound` lets in more than `than` does; None lets in everything."""
    return than is not None and (bound is None or bound < than)
