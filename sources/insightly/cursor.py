"""Where a walk begins and what it leaves behind: the place, the watermark, and their form in state. Pure logic."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
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
    before that moment. `rest` means what changed, where an earlier run of the same full read has everything else.
    `whole` means everything again in every run, for there is no cursor. `mask` tells what is hashed or left out: where
    it differs, everything is read again. `run` tells the runs apart.
    """

    start_date: str | None = None
    full: bool = False
    since: str | None = None
    full_before: str | None = None
    rest: bool = False
    whole: bool = False
    mask: str = ""
    run: str = ""


class Absent:
    """The ids held that a walk over everything comes past without meeting them.

    Args:
        known: the ids held when the run began, in ascending order.
        last_id: the last id that the walk met in earlier runs, None where it begins.
        ids: those it missed in earlier runs.
    """

    def __init__(self, known: Sequence[int], last_id: Any, ids: Iterable[int]) -> None:
        self._known, self._ids = known, list(ids)
        self._at = 0 if last_id is None else bisect_right(known, last_id)
        self._met: set[Any] = set()
        self._whole = False

    def meet(self, ids: Iterable[Any], last_id: Any) -> None:
        """Takes the ids of a step; one without `last_id` is of a list that is read whole, from its first row on."""
        if last_id is None and not self._whole:
            self._whole, self._at, self._ids = True, 0, []
        self._met.update(ids)

    def holds(self, id_: Any) -> bool:
        """Whether an id was held when the run began."""
        at = bisect_left(self._known, id_) if type(id_) is int else len(self._known)
        return at < len(self._known) and self._known[at] == id_

    def up_to(self, last_id: Any) -> list[int]:
        """Those missed so far, once the walk has come to `last_id`; None: to its end."""
        until = len(self._known) if last_id is None else bisect_right(self._known, last_id)
        self._ids += [id_ for id_ in self._known[self._at : until] if id_ not in self._met]
        self._at = max(self._at, until)
        return list(self._ids)


def begin(state: State, held: str | None, wish: Wish) -> Place:
    """Where a run's walk of an entity begins; what it is to read again is noted in state until that walk has ended.

    Args:
        state: the resource's state.
        held: the watermark held, None before the first complete walk; without one everything is read anyway.
        wish: what the run asks for.
    """
    start_date = loaded_from(state, wish.start_date)
    due = wish.full_before is not None and state.get("full_at", wish.full_before) < wish.full_before
    wider = "start_date" in state and earlier(start_date, state["start_date"])
    if wish.whole and wish.full and "full" not in state:
        # A reading under way passes over what is as it was, which is to be written all the same.
        request_again(state, None)
    note_full(state, wish)
    if state.get("mask", "") != wish.mask:
        if held is not None or "place" in state:
            request_again(state, start_date)
        state["mask"] = wish.mask
    if wish.full or wish.whole or due or wider:
        _ask_again(state, start_date)
    elif wish.since is not None and held is not None:
        _ask_again(state, wish.since)
    return place_of(state, held, start_date)


def end(state: State, place: Place, start_date: str | None, absent: Sequence[int] = ()) -> None:
    """Notes in state that a walk came to its end; `absent` is what one over everything did not meet."""
    whole = rereads(state, start_date)
    state.pop("place", None)
    state.pop("again", None)
    state["start_date"] = start_date
    if whole or place.since == start_date:
        state["full_at"] = place.started
    if absent:
        state["absent"] = list(absent)
    elif whole or "absent" not in state:
        settle(state)


def rereads(state: Mapping[str, Any], start_date: str | None) -> bool:
    """True while everything is read again."""
    return "again" in state and not earlier(start_date, state["again"]["since"])


def unsettled(state: Mapping[str, Any]) -> bool:
    """True where a walk over everything has ended, and what it did not meet is still to be confirmed and marked."""
    return "absent" in state and "again" not in state


def note_full(state: State, wish: Wish) -> None:
    """Notes that the entity has a part in a full read, until it is done with: others may take longer."""
    if wish.full or wish.rest:
        state.setdefault("full", state.get("full_done", wish.run) if wish.rest else wish.run)


def settle(state: State) -> None:
    """Notes that an entity's part in a full read is done with."""
    state.pop("absent", None)
    if "full" in state:
        state["full_done"] = state.pop("full")


def go_on(wish: Wish, states: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> dict[str, Wish]:
    """What to wish of each of `names`, where `wish` asks for a full read that an earlier run began; {} where it is new.

    Repeated within a budget, a full read thus comes to an end, and only then the next begins.
    """
    known = {name: states.get(name, {}) for name in names}
    begun = {state["full"] for state in known.values() if "full" in state}
    if not wish.full or not begun:
        return {}
    whole = replace(wish, run=min(begun))
    rest = replace(whole, full=False, rest=True)

    def done(state: Mapping[str, Any]) -> bool:
        again = any("again" in each for each in (state, *state.get("under", {}).values()))
        return not again and ("full" in state or state.get("full_done") in begun)

    return {name: rest if done(state) else whole for name, state in known.items()}


def request_again(state: State, since: str | None) -> None:
    """Notes that everything from `since` on is to be read again; the note stays until that walk has ended."""
    state.pop("place", None)
    state.pop("absent", None)
    state["again"] = {"since": since}


def _ask_again(state: State, since: str | None) -> None:
    """Has a walk under way go on where it reads all that is asked for: repeated within a budget, it comes to an end."""
    if "again" not in state or earlier(since, state["again"]["since"]):
        request_again(state, since)


def loaded_from(state: Mapping[str, Any], start_date: str | None) -> str | None:
    """The lower bound of what is loaded: a later one than the one loaded from changes nothing."""
    held = state.get("start_date", start_date)
    return held if earlier(held, start_date) else start_date


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
