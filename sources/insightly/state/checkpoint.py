"""Where a walk starts and how far it came, in the state of its resource. Pure logic."""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from .request import ReadRequest
from .times import earlier, iso

State = MutableMapping[str, Any]
"""The state of a resource, which dlt keeps at the destination. Its keys, each there only where it says something:

- `checkpoint`: how far an unfinished walk came. `again`: what is to be read again, from `since` on, until that ends.
- `start_date`: the lower bound of what is loaded. `ended`: when the entity was last read to its end.
- `full`: the full read that is not done. `full_done`: the last one that is. `full_at`: when that walk started.
- `missing_ids`: loaded ids that a full walk has not met.
- `keys_checked`: the day on which each key was last found in one row only. `repeated_keys`: keys in several rows.
- `incremental`: the watermark. `dated`: whether all records have a date, where the API does not promise it.
- `blocks`, `contents`: digests of long lists, and of those that a sync replaces. `page_rows`: smaller pages to read.
- `mask`: the fingerprint of `hash` and `drop`. `unconfirmed`: the last walk ended at a page without a row (see `Step`).
- `parents`: of a per-record collection, such a state for each parent entity, with `watermark` and a `readable` id.
"""
UNCONFIRMED_END = "the list ended at a page without a row, so the next sync reads it from the same date again"
READ_MARKS = ("ended", "checkpoint", "readable")
"""What only a response of the API puts into a state."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far an unfinished walk came.

    Attributes:
        since: the lower bound that it reads from; None for everything.
        started: the service's clock when its first request was sent.
        skip: the offset to go on from.
        last_id: the greatest id read.
        patience: pages without new rows that the walk may still get; None before its first page.
    """

    since: str | None
    started: str | None = None
    skip: int = 0
    last_id: Any = None
    patience: int | None = None

    def with_start(self, requested_at: datetime | None) -> "Checkpoint":
        """The same with the time of the first request, unless it has one."""
        if self.started is not None or requested_at is None:
            return self
        return replace(self, started=iso(requested_at))

    def store(self, state: State) -> None:
        state["checkpoint"] = asdict(self)


def begin(state: State, watermark: str | None, request: ReadRequest) -> Checkpoint:
    """Where a run's walk of an entity starts; what it has to read again is recorded in the state until the walk ends.

    Args:
        state: the resource's state.
        watermark: None before the first complete walk; without one, everything is read anyway.
        request: what the run requests.
    """
    start_date = loaded_from(state, request.start_date)
    due = request.full_before is not None and state.get("full_at", request.full_before) < request.full_before
    wider = "start_date" in state and earlier(start_date, state["start_date"])
    if request.always_full and request.full and "full" not in state:
        # A walk that has started skips unchanged blocks, but a full read must write them.
        reread_from(state, None)
    start_full(state, request)
    if state.get("mask", "") != request.mask:
        if watermark is not None or "checkpoint" in state:
            reread_from(state, start_date)
        state["mask"] = request.mask
    if request.full or request.always_full or due or wider or request.contradicts(watermark):
        _reread_at_least(state, start_date)
    elif request.since is not None and watermark is not None:
        _reread_at_least(state, request.since)
    return checkpoint_of(state, watermark, start_date)


def end(state: State, checkpoint: Checkpoint, start_date: str | None, missing_ids: Sequence[int] = ()) -> None:
    """Records in the state that a walk has ended; `missing_ids` are the loaded ids that a full one has not met."""
    full = rereads_everything(state, start_date)
    state.pop("checkpoint", None)
    state.pop("again", None)
    state["start_date"] = start_date
    if full or checkpoint.since == start_date:
        state["full_at"] = checkpoint.started
    if missing_ids:
        state["missing_ids"] = list(missing_ids)
    elif full or "missing_ids" not in state:
        finish_full(state)


def restart(state: State) -> None:
    """Lets the next run start an unfinished walk from its beginning."""
    state.pop("checkpoint", None)
    if "again" in state:
        state.pop("missing_ids", None)


def accept_end(state: State, unconfirmed: bool) -> bool:
    """Whether a walk has really ended. An unconfirmed end counts the second time in a row; after the first, the next
    sync repeats the walk.

    An empty list can be right although the service counts rows in it, since a key may not see them all.
    """
    if not unconfirmed:
        state.pop("unconfirmed", None)
    elif "unconfirmed" not in state:
        state["unconfirmed"] = True
        restart(state)
        return False
    return True


def was_read(state: Mapping[str, Any]) -> bool:
    """True if the API has answered with the entity, or a part of it, in an earlier run."""
    return any(mark in part for part in walk_states(state) for mark in READ_MARKS)


def walk_states(state: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The state of each walk of an entity: its own, and those of a per-record collection's parent entities."""
    return state, *state.get("parents", {}).values()


def rereads_everything(state: Mapping[str, Any], start_date: str | None) -> bool:
    """True while everything is being read again."""
    return "again" in state and not earlier(start_date, state["again"]["since"])


def needs_confirmation(state: Mapping[str, Any]) -> bool:
    """True where a full walk has ended, and the ids it has not met are still to be confirmed and marked."""
    return "missing_ids" in state and "again" not in state


def resume_full(
    request: ReadRequest, states: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> dict[str, ReadRequest]:
    """The requests for `names` if `request` is a full read and an earlier run started one; otherwise {}.

    A full read that is repeated within a budget ends this way before the next one starts.
    """
    known = {name: states.get(name, {}) for name in names}
    started = {state["full"] for state in known.values() if "full" in state}
    if not request.full or not started:
        return {}
    full = replace(request, run=min(started))
    rest = replace(full, full=False, rest=True)

    def done(state: Mapping[str, Any]) -> bool:
        again = any("again" in each for each in walk_states(state))
        return not again and ("full" in state or state.get("full_done") in started)

    return {name: rest if done(state) else full for name, state in known.items()}


def start_full(state: State, request: ReadRequest) -> None:
    """Records that the entity takes part in a full read, until `finish_full`; other entities may take longer."""
    if request.full or request.rest:
        state.setdefault("full", state.get("full_done", request.run) if request.rest else request.run)


def finish_full(state: State) -> None:
    """Records that the entity's part in a full read is done."""
    state.pop("missing_ids", None)
    if "full" in state:
        state["full_done"] = state.pop("full")


def reread_from(state: State, since: str | None) -> None:
    """Records that everything from `since` on is to be read again; this holds until that walk has ended."""
    state.pop("checkpoint", None)
    state.pop("missing_ids", None)
    state["again"] = {"since": since}


def _reread_at_least(state: State, since: str | None) -> None:
    """Lets an unfinished walk go on if it reads all that is requested: repeated within a budget, it ends."""
    if "again" not in state or earlier(since, state["again"]["since"]):
        reread_from(state, since)


def loaded_from(state: Mapping[str, Any], start_date: str | None) -> str | None:
    """The lower bound of what is loaded: a later start date than that of the loaded rows changes nothing."""
    loaded = state.get("start_date", start_date)
    return loaded if earlier(loaded, start_date) else start_date


def checkpoint_of(state: Mapping[str, Any], watermark: str | None, start_date: str | None) -> Checkpoint:
    """Where the next walk of an entity starts or goes on.

    Args:
        state: the resource's state, with the stored `checkpoint` and a requested re-read (`again`), if any.
        watermark: None before the first complete walk.
        start_date: the first run's lower bound, None for everything.
    """
    since = state["again"]["since"] if "again" in state else watermark or start_date
    checkpoint = state.get("checkpoint")
    if checkpoint is not None and checkpoint["since"] == since:
        return Checkpoint(**checkpoint)
    return Checkpoint(since)
