"""What became of a write without an answer, which is found out before it is sent again."""

import time
from datetime import datetime, timedelta

from sources.insightly.context import Session
from sources.insightly.entities import Entity
from sources.insightly.errors import BadRequest, Gone, InsightlyError, MalformedAnswer, NotAvailable

from . import api as writes
from .ledger import DONE, UNKNOWN, Entry, Ledger
from .lookup import made_by
from .validate import Row

LOOKS = (2, 4, 8, 16)
"""Seconds between the looks for a record whose create had no answer: a gateway gives up (504) on what the service goes
on to write, and what is sent again too early is there twice."""
SURE = timedelta(seconds=sum(LOOKS))
"""So long after it was sent, one look is enough."""


class Undecided(InsightlyError):
    """A row was sent without an answer, and the API does not let us find out what came of it."""


def was_done(session: Session, entity: Entity, ledger: Ledger, row: Row, entry: Entry) -> bool:
    """Whether it was carried out, or nobody can tell, which the ledger then says; an update is compared anyway.

    Args:
        session: the run.
        entity: whose records.
        ledger: the push's.
        row: what was sent.
        entry: what the ledger tells of it.

    Raises:
        Undecided: the API refuses to be asked.
        Stop, InsightlyError: it does not answer.
    """
    try:
        if entry.action == "delete" and entry.record_id is not None:
            return _was_deleted(session, entity, ledger, row, entry.record_id)
        if entry.action == "create" and entry.intent_at is not None:
            return _was_created(session, entity, ledger, row, entry.intent_at)
    except (NotAvailable, BadRequest, MalformedAnswer) as error:
        raise Undecided(f"sent without an answer, and what came of it cannot be found out: {error}") from None
    return False


def _was_deleted(session: Session, entity: Entity, ledger: Ledger, row: Row, id_: int) -> bool:
    try:
        writes.read_record(session, entity, id_)
    except Gone:
        ledger.settle(row.number, "delete", DONE, id_)
        return True
    return False


def _was_created(session: Session, entity: Entity, ledger: Ledger, row: Row, intent_at: datetime) -> bool:
    found = made_by(session, entity, row, intent_at, ledger.created())
    for pause in LOOKS:
        if found or writes.service_clock(session, entity.name) - intent_at >= SURE:
            break
        time.sleep(pause)
        found = made_by(session, entity, row, intent_at, ledger.created())
    if len(found) == 1:
        ledger.settle(row.number, "create", DONE, found[0])
    elif found:
        ids = ", ".join(map(str, found[:10]))
        reason = f"sent without an answer, and {len(found)} records may be it: {entity.key[0]} {ids}"
        ledger.settle(row.number, "create", UNKNOWN, None, reason)
    return bool(found)
