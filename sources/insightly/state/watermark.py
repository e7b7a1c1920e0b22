"""The watermark of an entity in its state, and whether its cursor is reliable. Pure logic."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from ..entities import DATE_UPDATED, Entity
from .checkpoint import State
from .times import iso, parse


def watermark(started: str, lookback_seconds: int, held: str | None) -> str:
    """What the next run asks for: nothing that changed since the walk's start is earlier; it never moves back.

    The greatest DATE_UPDATED_UTC seen is no safe watermark: a record read early can change while the walk goes on.
    """
    reached = iso(parse(started) - timedelta(seconds=lookback_seconds))
    return max(reached, held) if held else reached


class Watermark(Protocol):
    """What holds a watermark: dlt's incremental, or `Held`."""

    @property
    def last_value(self) -> Any: ...

    def advance(self, last_value: Any) -> object: ...


class Held:
    """A watermark at the place in an entity's state where dlt's incremental has it, for a resource of several."""

    def __init__(self, state: State) -> None:
        self._kept: State = state.setdefault("incremental", {}).setdefault(DATE_UPDATED, {})
        if not self._kept:
            self._kept.update(initial_value=None, last_value=None, unique_hashes=[])

    @property
    def last_value(self) -> str | None:
        return self._kept["last_value"]  # type: ignore[no-any-return]

    def advance(self, last_value: str | None) -> None:
        if last_value is not None:
            self._kept["last_value"] = last_value


def watermark_in(entity: Entity, state: Mapping[str, Any]) -> str | None:
    """The watermark that a state holds, None where there is none to go by."""
    kept: Mapping[str, Any] = state.get("incremental", {}).get(DATE_UPDATED, {})
    return kept.get("last_value") if cursor_reliable(entity, state) else None


def cursor_reliable(entity: Entity, state: Mapping[str, Any]) -> bool:
    """True where the filter by date finds all that changed.

    Where the API does not promise the date, a walk over everything must have met records, and a date on each of them.
    """
    return entity.cursor_documented or bool(state.get("dated"))


def note_dates(entity: Entity, state: State, records: Sequence[Mapping[str, Any]]) -> None:
    """Notes in state whether records of an entity that may come without dates have them."""
    if records and not entity.cursor_documented:
        state["dated"] = state.get("dated", True) and all(record.get(DATE_UPDATED) for record in records)
