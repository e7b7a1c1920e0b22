"""Entities without a cursor: lists read whole each run and written only when their content changed."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import dlt

from .cursor import State, note_full, settle
from .entities import RECORD_TYPES, Entity
from .errors import NotAvailable
from .lookahead import Lookahead
from .reads import lookahead, read_list
from .session import Outcome, Record, Session
from .tables import REPLACE, marked, missing, shaper_of


def read_reference(entity: Entity, session: Session, outcome: Outcome) -> Iterator[Any]:
    """Yields the whole list if it changed. The page itself says `replace`: a run that reads nothing empties nothing."""
    state = dlt.current.resource_state()
    note_full(state, session.wish_of(entity.name))
    if session.chunk_spent():
        return
    records = _whole(lookahead(session, entity), entity.key[0])
    outcome.rows = len(records)
    shaper = shaper_of(entity, session)
    if changed(state, "content", shaper.concealed(records)) or "full" in state:
        yield from marked(shaper.shape(records), REPLACE)
        outcome.merged = len(records)
    settle(state)
    session.end(outcome, state)


def read_tags(entity: Entity, session: Session, outcome: Outcome) -> Iterator[Any]:
    """Yields the tag names of each record type whose names changed; `/Tags` takes one record type a call.

    A type that may not be read keeps its rows.
    """
    state = dlt.current.resource_state()
    note_full(state, session.wish_of(entity.name))
    if session.chunk_spent():
        return
    contents = state.setdefault("contents", {})
    shaper = shaper_of(entity, session, group="RECORD_TYPE")
    readers = {kind: lookahead(session, entity, variant=kind) for kind in RECORD_TYPES}
    for reader in readers.values():
        reader.prime(0)
    yield from missing(shaper)
    refused: list[NotAvailable] = []
    for kind, fetch in readers.items():
        try:
            records = _whole(fetch, "TAG_NAME")
        except NotAvailable as error:
            refused.append(error)
            outcome.notes.append(f"tags of {kind} are not available: {error}")
            continue
        outcome.rows += len(records)
        if changed(contents, kind, records) or "full" in state:
            yield from marked(shaper.shape_group(kind, records))
            outcome.merged += len(records)
    if len(refused) == len(readers):
        raise refused[0]
    settle(state)
    session.end(outcome, state)


def changed(state: State, name: str, records: Sequence[Record]) -> bool:
    """True where records differ from those loaded last; their digest is kept in state under `name`."""
    told = json.dumps(records, sort_keys=True, default=str).encode()
    digest = hashlib.sha256(told).hexdigest()
    if state.get(name) == digest:
        return False
    state[name] = digest
    return True


def _whole(fetch: Lookahead, key: str) -> list[Record]:
    return list({row[key]: row for step in read_list(fetch, key) for row in step.rows}.values())
