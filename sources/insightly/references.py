"""Entities without a cursor whose lists are short: read whole each run and written only when their content changed."""

from collections.abc import Iterator
from typing import Any

import dlt

from .blocks import digest
from .cursor import State, note_full, settle
from .entities import Entity
from .outcome import Outcome
from .session import Session
from .tables import MERGE, REPLACE, marked, missing, shaper_of
from .whole import GROUPS, read_groups


def read_reference(entity: Entity, session: Session, outcome: Outcome) -> Iterator[Any]:
    """Yields the whole list, or each group of it, if it changed.

    The page itself says `replace`: a run that reads nothing empties nothing. A group is replaced by its merge key, and
    one that may not be read keeps its rows.
    """
    state = dlt.current.resource_state()
    note_full(state, session.wish_of(entity.name))
    if session.chunk_spent():
        return
    group = GROUPS.get(entity.name, ())
    shaper = shaper_of(entity, session, group)
    yield from missing(shaper) if group else ()
    kept = definitions_kept() if entity.name == "custom_fields" else state.setdefault("contents", {})
    for name, records in read_groups(entity, session, outcome):
        outcome.rows += len(records)
        if changed(kept, name, digest(shaper.concealed(records))) or "full" in state:
            groups = [(dict.fromkeys(group, name), records)]
            tables = shaper.shape_groups(groups) if group else shaper.shape(records)
            yield from marked(tables, MERGE if group else REPLACE)
            outcome.merged += len(records)
    settle(state)
    session.end(outcome, state)


def definitions_kept() -> State:
    """The digests of the definitions of custom fields that are loaded, an object each: entities load their own too."""
    kept: State = dlt.current.source_state().setdefault("definitions", {})
    return kept


def changed(kept: State, name: str, told: str) -> bool:
    """True where a digest differs from the one kept under `name`, which it then replaces."""
    if kept.get(name) == told:
        return False
    kept[name] = told
    return True
