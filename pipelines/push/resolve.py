"""A write without an answer: was it done?"""

import time
from datetime import datetime, timedelta
from typing import Any

from sources.insightly.context import Record, SyncContext
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import BadRequest, InsightlyError, MalformedResponse, NotAvailable, NotFound
from sources.insightly.state.times import parse

from . import api as writes
from .api import changed_since, search
from .ledger import DONE, UNKNOWN, Entry, Ledger
from .validate import Row
from .values import custom_of, same

LOOKS = (2, 4, 8, 16)
"""Seconds between the looks for a record whose create had no answer: a gateway gives up (504) on what the service goes
on to write, and what is sent again too early is there twice."""
SURE = timedelta(seconds=sum(LOOKS))
"""So long after it was sent, one look is enough."""


class Undecided(InsightlyError):
    """A row was sent without an answer, and the API does not let us find out what came of it."""


def was_done(context: SyncContext, entity: Entity, ledger: Ledger, row: Row, entry: Entry) -> bool:
    """Whether it was carried out, or nobody can tell, which the ledger then says; an update is compared anyway.

    Args:
        context: the run.
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
            return _was_deleted(context, entity, ledger, row, entry.record_id)
        if entry.action == "create" and entry.intent_at is not None:
            return _was_created(context, entity, ledger, row, entry.intent_at)
    except (NotAvailable, BadRequest, MalformedResponse) as error:
        raise Undecided(f"sent without an answer, and what came of it cannot be found out: {error}") from None
    return False


def _was_deleted(context: SyncContext, entity: Entity, ledger: Ledger, row: Row, id_: int) -> bool:
    try:
        writes.read_record(context, entity, id_)
    except NotFound:
        ledger.settle(row.number, "delete", DONE, id_)
        return True
    return False


def _was_created(context: SyncContext, entity: Entity, ledger: Ledger, row: Row, intent_at: datetime) -> bool:
    found = made_by(context, entity, row, intent_at, ledger.created())
    for pause in LOOKS:
        if found or writes.service_clock(context, entity.name) - intent_at >= SURE:
            break
        time.sleep(pause)
        found = made_by(context, entity, row, intent_at, ledger.created())
    if len(found) == 1:
        ledger.settle(row.number, "create", DONE, found[0])
    elif found:
        ids = ", ".join(map(str, found[:10]))
        reason = f"sent without an answer, and {len(found)} records may be it: {entity.key[0]} {ids}"
        ledger.settle(row.number, "create", UNKNOWN, None, reason)
    return bool(found)


EARLY = timedelta(seconds=2)
"""A record's stamp may be so much earlier than the intent: stamps are whole seconds, and servers' clocks differ."""


class Refused(InsightlyError):
    """A row that cannot be carried out as it is; the message says why."""


def matching(context: SyncContext, entity: Entity, field: str, value: Any) -> Record | None:
    """The one record whose field has the value, None where there is none.

    Raises:
        Refused: there are several, or the search answers with records of another value.
    """
    found = search(context, entity, field, str(value).lower() if isinstance(value, bool) else str(value))
    key = entity.key[0]
    for record in found:
        told = record.get(field) if field in entity.fields else custom_of(record).get(field)
        if not same(_folded(value), _folded(told), loosely=True):
            raise Refused(f"a search for {field} {value!r} came back with {key} {record.get(key)}, which has {told!r}")
    if len(found) > 1:
        ids = ", ".join(str(record.get(key)) for record in found[:5])
        raise Refused(f"{len(found)} records have this {field}: {key} {ids}; push by {key}")
    return found[0] if found else None


def made_by(context: SyncContext, entity: Entity, row: Row, intent: datetime, known: set[int]) -> list[int]:
    """The ids of the records that the row's create may have made: created after the intent, with all that was sent.

    Args:
        context: the run.
        entity: what was to be created.
        row: what was sent.
        intent: when, by the service's clock.
        known: ids of records that are known to be made by other rows.
    """
    since, key = intent - EARLY, entity.key[0]
    return [
        record[key]
        for record in changed_since(context, entity, since)
        if record[key] not in known and _created(record) >= since.replace(microsecond=0) and _is_made_of(row, record)
    ]


def _created(record: Record) -> datetime:
    return parse(str(record.get("DATE_CREATED_UTC")))


def _is_made_of(row: Row, record: Record) -> bool:
    sent = [(value, record.get(name)) for name, value in row.fields.items()]
    custom = custom_of(record)
    sent += [(value, custom.get(name)) for name, value in row.custom.items()]
    return _is_under(row, record) and all(same(*pair, loosely=True) for pair in sent if pair[0] is not None)


def _is_under(row: Row, record: Record) -> bool:
    """False where the record's links say that it was made under another parent."""
    links = record.get("LINKS") or []
    if row.parent is None or not links:
        return True
    parent = ENTITIES[row.parent[0]].field_for, row.parent[1]
    return any((str(each.get("LINK_OBJECT_NAME")).upper(), each.get("LINK_OBJECT_ID")) == parent for each in links)


def _folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value
