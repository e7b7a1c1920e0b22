"""The watermark of an entity in its state, and whether its cursor is reliable. Pure logic."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ..entities import DATE_UPDATED, Entity
from .checkpoint import State
from .times import iso, parse, parse_api


def next_watermark(started: str, lookback_seconds: int, current: str | None, full: bool) -> str:
    """The watermark after a walk: nothing that changed since the walk started is earlier.

    It never moves back, except after a `full` walk that started before it: then a wrong clock had set it. The greatest
    DATE_UPDATED_UTC of the rows is no safe watermark: a record that was read early can change meanwhile.
    """
    reached = iso(parse(started) - timedelta(seconds=lookback_seconds))
    return reached if current is None or (full and current > started) else max(reached, current)


def store_watermark(state: State, watermark: str) -> None:
    """Stores a watermark in the state of a resource, where dlt's own `incremental` would.

    That one is not used: it keeps a hash of each row that has the latest date, and resolves its configuration each run.
    """
    stored: State = {"initial_value": None, "last_value": watermark, "unique_hashes": []}
    state.setdefault("incremental", {})[DATE_UPDATED] = stored


def watermark_in(entity: Entity, state: Mapping[str, Any]) -> str | None:
    """The watermark in a state; None where there is none, or no reliable one."""
    stored: Mapping[str, Any] = state.get("incremental", {}).get(DATE_UPDATED, {})
    return stored.get("last_value") if cursor_reliable(entity, state) else None


def cursor_reliable(entity: Entity, state: Mapping[str, Any]) -> bool:
    """True where the filter by date finds every change.

    If the API does not promise the date, a full walk must have read records, each with a date.
    """
    return entity.cursor_documented or bool(state.get("dated"))


def record_dates(entity: Entity, state: State, records: Sequence[Mapping[str, Any]]) -> None:
    """Records in the state whether each record has a date, for an entity whose date the API does not promise."""
    if records and not entity.cursor_documented:
        state["dated"] = state.get("dated", True) and all(parse_api(record.get(DATE_UPDATED)) for record in records)
