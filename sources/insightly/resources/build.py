"""Entities -> dlt resources."""

from collections.abc import Iterator, Mapping
from typing import Any

import dlt
from dlt.extract import DltResource

from ..context import Session
from ..entities import DATE_UPDATED, OBJECTS, RECORDS, Entity
from ..errors import Stop
from ..result import Outcome
from ..state.checkpoint import Place, begin
from ..state.watermark import Held, Watermark, watermark_in
from .discovery import discover, find, tell
from .fetch import lookahead
from .hints import MERGE
from .incremental import read_changes, wish_in
from .per_parent import read_under
from .reference import GROUPS, read_reference
from .selected import refresh


def resource_of(entity: Entity, session: Session) -> DltResource:
    """The dlt resource of one entity; its child tables are variants of it, so all are selected and kept together."""
    # Airflow 3 would hand over an empty interval as the bounds to read between.
    cursor: Any = dlt.sources.incremental(DATE_UPDATED, allow_external_schedulers=False)

    def changes(updated: Any = cursor) -> Iterator[Any]:
        # Its row logic is off: hashes of the boundary rows would grow the state without bound.
        updated.advance(None)
        yield from _changes(entity, session, updated)

    def others() -> Iterator[Any]:
        with session.reading(entity.name) as outcome:
            session.remember()
            read = read_under if entity.per_record else read_changes if entity.walked else read_reference
            yield from (refresh if session.narrowed(entity.name) else read)(entity, session, outcome)
        _give_up_on_full(entity, session, outcome)

    hints: Any = {"name": entity.name, "primary_key": list(entity.key), "write_disposition": MERGE}
    return dlt.resource(changes if entity.incremental else others, **hints)


def resource_of_objects(session: Session, name: str = RECORDS) -> DltResource:
    """The dlt resource that finds out which custom objects there are, and reads their records.

    A runner gives each object, once it is known, a resource and turns of its own: there, nothing is read here.

    Args:
        session: the run.
        name: of the one object to read; else all are.
    """

    def objects() -> Iterator[Any]:
        session.know(dlt.current.source_state().get(OBJECTS, {}))
        if name == RECORDS:
            with session.reading(name) as outcome:
                session.remember()
                if session.chunk_spent():
                    return
                refused = discover(session)
                session.end(outcome, dlt.current.resource_state())
                tell(outcome, refused)
        else:
            find(session, [name])
        for each in [] if session.chunked else session.with_objects([name]):
            if each in session.objects:
                yield from _changes(session.objects[each], session, Held(dlt.current.resource_state(each)))

    return dlt.resource(objects, name=name, write_disposition=MERGE)


def _changes(entity: Entity, session: Session, updated: Watermark) -> Iterator[Any]:
    if not session.outcome(entity.name).open:
        return
    with session.reading(entity.name) as outcome:
        session.remember()
        read = refresh if session.narrowed(entity.name) else read_changes
        yield from read(entity, session, outcome, updated)
    _give_up_on_full(entity, session, outcome)


def _give_up_on_full(entity: Entity, session: Session, outcome: Outcome) -> None:
    """The next full run begins anew, though this entity may fail in every one; only a stop is to be gone on from."""
    failed = outcome.error is not None and not isinstance(outcome.error, Stop)
    if failed and not session.narrowed(entity.name):
        dlt.current.resource_state(entity.name).pop("full", None)


def place_in(entity: Entity, state: Mapping[str, Any], session: Session) -> Place:
    """Where the session's walk of an entity begins, by its resource's state, which is left as it is."""
    told = dict(state)
    return begin(told, watermark_in(entity, told), wish_in(told, entity, session))


def prime(entity: Entity, session: Session, state: Mapping[str, Any]) -> None:
    """Asks for an entity's first page, so that the entities do not wait for each other's first answer.

    The run's very first answer is waited for: it may say that the key is refused, or that no call is left.
    """
    known = entity.name == OBJECTS and session.told is not None
    if entity.name in (*GROUPS, RECORDS) or entity.shape == "object" or entity.per_record or known:
        return
    place = place_in(entity, state, session) if entity.swept else Place(None, None, 0, None)
    lookahead(session, entity, place.since).prime(place.skip, patiently=not session.budget.calls)
