"""Where a walk begins and what it leaves behind: the checkpoint, the watermark, and their form in state. Pure logic."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from .request import ReadRequest
from .times import earlier

State = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far an unfinished walk came.

    `since` is the bound it asks for (None: everything), `started` the service's clock when its first request left.
    """

    since: str | None
    started: str | None
    skip: int
    last_id: Any

    def store(self, state: State) -> None:
        state["checkpoint"] = {"since": self.since, "started": self.started, "skip": self.skip, "last_id": self.last_id}


def begin(state: State, held: str | None, request: ReadRequest) -> Checkpoint:
    """Where a run's walk of an entity begins; what it is to read again is noted in state until that walk has ended.

    Args:
        state: the resource's state.
        held: the watermark held, None before the first complete walk; without one everything is read anyway.
        request: what the run asks for.
    """
    start_date = loaded_from(state, request.start_date)
    due = request.full_before is not None and state.get("full_at", request.full_before) < request.full_before
    wider = "start_date" in state and earlier(start_date, state["start_date"])
    if request.whole and request.full and "full" not in state:
        # A reading under way passes over what is as it was, which is to be written all the same.
        request_again(state, None)
    note_full(state, request)
    if state.get("mask", "") != request.mask:
        if held is not None or "checkpoint" in state:
            request_again(state, start_date)
        state["mask"] = request.mask
    if request.full or request.whole or due or wider:
        _ask_again(state, start_date)
    elif request.since is not None and held is not None:
        _ask_again(state, request.since)
    return checkpoint_of(state, held, start_date)


def end(state: State, checkpoint: Checkpoint, start_date: str | None, missing_ids: Sequence[int] = ()) -> None:
    """Notes in state that a walk came to its end; `missing_ids` is what one over everything did not meet."""
    whole = rereads(state, start_date)
    state.pop("checkpoint", None)
    state.pop("again", None)
    state["start_date"] = start_date
    if whole or checkpoint.since == start_date:
        state["full_at"] = checkpoint.started
    if missing_ids:
        state["missing_ids"] = list(missing_ids)
    elif whole or "missing_ids" not in state:
        settle(state)


def rereads(state: Mapping[str, Any], start_date: str | None) -> bool:
    """True while everything is read again."""
    return "again" in state and not earlier(start_date, state["again"]["since"])


def needs_confirmation(state: Mapping[str, Any]) -> bool:
    """True where a walk over everything has ended, and what it did not meet is still to be confirmed and marked."""
    return "missing_ids" in state and "again" not in state


def note_full(state: State, request: ReadRequest) -> None:
    """Notes that the entity has a part in a full read, until it is done with: others may take longer."""
    if request.full or request.rest:
        state.setdefault("full", state.get("full_done", request.run) if request.rest else request.run)


def settle(state: State) -> None:
    """Notes that an entity's part in a full read is done with."""
    state.pop("missing_ids", None)
    if "full" in state:
        state["full_done"] = state.pop("full")


def request_again(state: State, since: str | None) -> None:
    """Notes that everything from `since` on is to be read again; the note stays until that walk has ended."""
    state.pop("checkpoint", None)
    state.pop("missing_ids", None)
    state["again"] = {"since": since}


def _ask_again(state: State, since: str | None) -> None:
    """Has a walk under way go on where it reads all that is asked for: repeated within a budget, it comes to an end."""
    if "again" not in state or earlier(since, state["again"]["since"]):
        request_again(state, since)


def loaded_from(state: Mapping[str, Any], start_date: str | None) -> str | None:
    """The lower bound of what is loaded: a later one than the one loaded from changes nothing."""
    held = state.get("start_date", start_date)
    return held if earlier(held, start_date) else start_date


def checkpoint_of(state: Mapping[str, Any], held: str | None, start_date: str | None) -> Checkpoint:
    """Where the next walk of an entity goes on, or begins.

    Args:
        state: the resource's state, with the stored `checkpoint` and a requested re-read (`again`), if any.
        held: the watermark held, None before the first complete walk.
        start_date: the first run's lower bound, None for everything.
    """
    since = state["again"]["since"] if "again" in state else held or start_date
    checkpoint = state.get("checkpoint")
    if checkpoint is not None and checkpoint["since"] == since:
        return Checkpoint(since, checkpoint["started"], checkpoint["skip"], checkpoint["last_id"])
    return Checkpoint(since, None, 0, None)
