"""Entities with a cursor: walk what changed, keep place and watermark in the resource's state."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt

from .cursor import Place, State, begin, earlier, end, iso, parse, place_of, watermark
from .details import define, definition_tables, fill_tags
from .entities import DATE_UPDATED, Entity
from .reads import lookahead, read_list, tags_cost_calls
from .session import Outcome, Record, Session
from .tables import marked, missing, shaper_of
from .walk import Step, gather

logger = logging.getLogger(__name__)

BATCH_BYTES = 8_000_000


def read_changes(entity: Entity, session: Session, outcome: Outcome, updated: Any) -> Iterator[Any]:
    """Yields the tables of what changed since the watermark, from where the last run stopped.

    Place and rows are one load package: the place is written to state before the rows are yielded, and a chunk or
    budget that ends lets the generator return, since an exception would throw both away.

    Args:
        updated: dlt's incremental, which holds the watermark.
    """
    state = dlt.current.resource_state()
    wish = session.wish_of(entity.name)
    start_date = wish.start_date
    outcome.watermark = outcome.watermark_before = updated.last_value
    if entity.name in session.begun:
        place = place_of(state, updated.last_value, start_date)
    else:
        session.begun.add(entity.name)
        _tell_of_a_later_start(state, start_date, outcome)
        place = begin(state, updated.last_value, wish)
        if "again" in state and place.since == start_date and place.started is None:
            outcome.listed = set()
    if session.chunk_spent():
        return
    shaper = shaper_of(entity, session)
    yield from missing(shaper)
    steps = read_list(lookahead(session, entity, place.since), entity.key[0], place.skip, place.last_id)
    for step in gather(steps, lambda held: _enough(held, entity, session, outcome)):
        records, tables = step.rows, list[Any]()
        if outcome.listed is not None:
            outcome.listed.update(row[entity.key[0]] for row in step.rows)
        if records:
            define(entity, session, shaper)
            records = fill_tags(entity, session, records, outcome)
            tables = [*marked(shaper.shape(records)), *definition_tables(entity, session, state)]
            _warn_of_the_future(entity, session, records)
        cut = len(records) < len(step.rows)
        if cut and records and step.at is not None:
            place = Place(place.since, _started(place, entity, session), step.at, records[-1][entity.key[0]])
            place.store(state)
        elif step.skip is not None and not cut:
            place = Place(place.since, _started(place, entity, session), step.skip, step.last_id)
            place.store(state)
        yield from tables
        outcome.rows += len(records)
        outcome.merged += len(records)
        session.on_progress()
        if cut:
            session.budget.check()
            return
        if step.skip is not None and session.chunk_spent():
            return
    started = _started(place, entity, session)
    outcome.watermark = watermark(started, session.settings.lookback_seconds, updated.last_value)
    updated.advance(outcome.watermark)
    outcome.reread = "again" in state and place.since == start_date
    end(state, Place(place.since, started, 0, None), start_date)
    session.end(outcome, state)


def _enough(step: Step, entity: Entity, session: Session, outcome: Outcome) -> bool:
    """Pages are written together, for each table written costs a while.

    Not so the first, which tells whether definitions and tags must be asked for while there are calls, nor pages whose
    tags cost calls.
    """
    return not outcome.rows or step.size >= BATCH_BYTES or session.chunk_spent() or tags_cost_calls(session, entity)


def _tell_of_a_later_start(state: State, start_date: str | None, outcome: Outcome) -> None:
    if "start_date" in state and start_date is not None and earlier(state["start_date"], start_date):
        loaded = state["start_date"] or "the first record"
        outcome.notes.append(f"start_date {start_date} changes nothing: everything from {loaded} on is loaded already")


def _started(place: Place, entity: Entity, session: Session) -> str:
    return place.started or iso(session.started_at[entity.name])


def _warn_of_the_future(entity: Entity, session: Session, records: list[Record]) -> None:
    """A stamp later than the service's own clock means a skew that the lookback has to cover."""
    latest = max((stamp for record in records if isinstance(stamp := record.get(DATE_UPDATED), str)), default=None)
    if latest is None:
        return
    try:
        ahead = parse(latest) - datetime.now(UTC) - timedelta(seconds=session.skew)
    except ValueError:
        return
    if ahead > timedelta(seconds=1):
        logger.warning("%s: a record is stamped %s after the service's own clock", entity.name, ahead)
