"""Single records, read again by id: their rows and child rows are replaced, and no watermark moves."""

from collections.abc import Iterator
from typing import Any

import dlt

from .details import define, definition_tables, fill_tags
from .entities import Entity
from .errors import Stop
from .reads import records_of
from .session import Outcome, Session
from .tables import marked, missing, shaper_of

BATCH = 100


def read_records(entity: Entity, session: Session, outcome: Outcome, updated: Any) -> Iterator[Any]:
    """Yields the tables of the records in `session.wanted`; one that is gone or hidden leaves its row as it is.

    Args:
        updated: dlt's incremental, which holds the watermark.
    """
    state = dlt.current.resource_state()
    outcome.watermark = outcome.watermark_before = updated.last_value
    wanted, shaper = session.wanted[entity.name], shaper_of(entity, session)
    yield from missing(shaper)
    while wanted:
        if session.chunk_spent():
            return
        answers = records_of(session, entity, wanted[:BATCH])
        session.count_calls(len(answers))
        found = [answer for answer in answers if isinstance(answer, dict)]
        if found:
            define(entity, session, shaper)
            records = fill_tags(entity, session, found, outcome)
            yield from marked(shaper.shape(records))
            yield from definition_tables(entity, session, state)
            outcome.rows += len(records)
            outcome.merged += len(records)
            session.on_progress()
            if len(records) < len(found):
                session.budget.check()
        for answer in answers:
            if isinstance(answer, Stop):
                raise answer
        del wanted[:BATCH]
    outcome.state = "ok"
