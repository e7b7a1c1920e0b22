"""Where a walk begins and what it leaves behind: the place, the watermark, and their form in state. Pure logic."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

WIRE = "%Y-%m-%d %H:%M:%S"

State = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """How far an unfinished walk came.

    `since` is the bound it asks for (None: everything), `started` the service's clock when its first request left.
    """

    since: str | None
    started: str | None
    skip: int
    last_id: Any

    def store(self, state: State) -> None:
        state["place"] = {"since": self.since, "started": self.started, "skip": self.skip, "last_id": self.last_id}


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


def watermark(started: str, lookback_seconds: int, held: str | None) -> str:
    """What the next run asks for: nothing that changed since the walk's start is earlier; it never moves back.

    The greatest DATE_UPDATED_UTC seen is no safe watermark: a record read early can change while the walk goes on.
    """
    reached = iso(parse(started) - timedelta(seconds=lookback_seconds))
    return max(reached, held) if held else reached


@dataclass(frozen=True, slots=True)
class Wish:
    """What a run asks of every entity.

    `start_date` is the lower bound set for first runs: an earlier one than was loaded from is walked from. `full` means
    everything again, `since` again from that moment on, `full_before` everything again where the last such walk began
    before that moment.
    """

    start_date: str | None = None
    full: bool = False
    since: str | None = None
    full_before: str | None = None


def begin(state: State, held: str | None, wish: Wish) -> Place:
    """Where a run's walk of an entity begins; what it is to read again is noted in state until that walk has ended.

    Args:
        state: the resource's state.
        held: the watermark held, None before the first complete walk; without one everything is read anyway.
        wish: what the run asks for.
    """
    if "again" in state and not wish.full:
        return place_of(state, held, wish.start_date)
    due = wish.full_before is not None and state.get("full_at", wish.full_before) < wish.full_before
    wider = "start_date" in state and earlier(wish.start_date, state["start_date"])
    if wish.full or due or wider:
        request_again(state, wish.start_date)
    elif wish.since is not None and held is not None:
        request_again(state, wish.since)
    return place_of(state, held, wish.start_date)


def end(state: State, place: Place, start_date: str | None) -> None:
    """Notes in state that a walk came to its end."""
    state.pop("place", None)
    state.pop("again", None)
    state["start_date"] = start_date
    if place.since == start_date:
        state["full_at"] = place.started


def request_again(state: State, since: str | None) -> None:
    """Notes that everything from `since` on is to be read again; the note stays until that walk has ended."""
    state.pop("place", None)
    state["again"] = {"since": since}


def place_of(state: Mapping[str, Any], held: str | None, start_date: str | None) -> Place:
    """Where the next walk of an entity goes on, or begins.

    Args:
        state: the resource's state, with the stored `place` and a requested re-read (`again`), if any.
        held: the watermark held, None before the first complete walk.
        start_date: the first run's lower bound, None for everything.
    """
    since = state["again"]["since"] if "again" in state else held or start_date
    place = state.get("place")
    if place is not None and place["since"] == since:
        return Place(since, place["started"], place["skip"], place["last_id"])
    return Place(since, None, 0, None)


def earlier(bound: str | None, than: str | None) -> bool:
    """True where `bound` lets in more than `than` does; None lets in everything."""
    return than is not None and (bound is None or bound < than)
