"""Finds records: the result of a write without a response, and the record that a row means by --match."""

import time
from datetime import datetime, timedelta
from typing import Any

from sources.insightly.context import Record, SyncContext
from sources.insightly.entities import DATE_CREATED, ENTITIES, Entity
from sources.insightly.errors import BadRequest, InsightlyError, MalformedResponse, NotAvailable, NotFound, redact
from sources.insightly.resources.fetch import changed_records, search_records
from sources.insightly.rows.json_text import objects_of
from sources.insightly.state.request import SearchFilter
from sources.insightly.state.times import parse_api

from . import api
from .ledger import DONE, UNKNOWN, Ledger, LedgerEntry
from .validate import Row
from .values import custom_values, equal, search_values

LOOKUP_DELAYS = (2, 4, 8, 16)
"""Seconds between the lookups of a create without a response. A gateway can give up (504) on a create that the service
completes later, so sending it again too early would create the record twice."""
LOOKUP_WINDOW = timedelta(seconds=sum(LOOKUP_DELAYS))
"""The time after a create, after which one lookup is enough."""
MAX_MATCHES = 100
"""Records that a search by one value returns at most."""
CLOCK_TOLERANCE = timedelta(seconds=2)
"""A record's creation time can be this much before the intent: it has whole seconds, and servers' clocks differ."""


class Unresolved(InsightlyError):
    """A row was sent without a response, and the API does not allow the lookup of its result."""


class RowRejected(InsightlyError):
    """A row that cannot be carried out; the message says why."""


def resolve_write(context: SyncContext, entity: Entity, ledger: Ledger, row: Row, entry: LedgerEntry) -> bool:
    """Looks up a write without a response, and records its result if it was carried out or is ambiguous.

    Args:
        context: the run.
        entity: the record's entity.
        ledger: the push's ledger.
        row: the row that was sent.
        entry: its entry in the ledger.

    Returns:
        True if a result is recorded, False if the row must be sent again. An update is always sent again: it compares
        the record's values first.

    Raises:
        Unresolved: the API refuses the lookup.
        Stop, InsightlyError: it does not respond.
    """
    try:
        if entry.action == "delete" and entry.record_id is not None:
            try:
                api.read_record(context, entity, entry.record_id)
            except NotFound:
                ledger.record_result(row.number, "delete", DONE, entry.record_id)
                return True
        if entry.action == "create" and entry.intent_at is not None:
            return _resolve_create(context, entity, ledger, row, entry.intent_at)
    except (NotAvailable, BadRequest, MalformedResponse) as error:
        raise Unresolved(f"sent without a response, and the lookup of its result failed: {error}") from None
    return False


def _resolve_create(context: SyncContext, entity: Entity, ledger: Ledger, row: Row, intent_at: datetime) -> bool:
    ids = _find_created(context, entity, ledger, row, intent_at)
    for delay in LOOKUP_DELAYS:
        if ids or api.service_time(context, entity.name) - intent_at >= LOOKUP_WINDOW:
            break
        time.sleep(delay)
        ids = _find_created(context, entity, ledger, row, intent_at)
    if len(ids) == 1:
        ledger.record_result(row.number, "create", DONE, ids[0])
    elif ids:
        listed = ", ".join(map(str, ids[:10]))
        reason = f"sent without a response, and {len(ids)} records match it: {entity.key[0]} {listed}"
        ledger.record_result(row.number, "create", UNKNOWN, None, reason)
    return bool(ids)


def _find_created(context: SyncContext, entity: Entity, ledger: Ledger, row: Row, intent_at: datetime) -> list[int]:
    """The ids of records created after the intent with all values of the row, without those of other rows.

    Raises:
        Unresolved: no record has such a creation time, and one has none, so it may be the row's.
    """
    since, key, known = intent_at - CLOCK_TOLERANCE, entity.key[0], ledger.created_ids()
    found = [r for r in changed_records(context, entity, since) if r[key] not in known and _has_values(r, row)]
    times = [parse_api(record.get(DATE_CREATED)) for record in found]
    earliest = since.replace(microsecond=0)
    created = [record[key] for record, at in zip(found, times, strict=True) if at is not None and at >= earliest]
    if not created and None in times:
        record = found[times.index(None)]
        raise Unresolved(
            f"sent without a response, and {key} {record[key]} has its values, but the {DATE_CREATED} "
            f"{redact(record.get(DATE_CREATED))}, which is not a time"
        )
    return created


def _has_values(record: Record, row: Row) -> bool:
    links, custom = objects_of(record.get("LINKS")), custom_values(record)
    if row.parent is not None and links:
        parent = ENTITIES[row.parent[0]].field_for, row.parent[1]
        if parent not in [(str(each.get("LINK_OBJECT_NAME")).upper(), each.get("LINK_OBJECT_ID")) for each in links]:
            return False
    pairs = [(value, record.get(name)) for name, value in row.fields.items()]
    pairs += [(value, custom.get(name)) for name, value in row.custom.items()]
    return all(equal(sent, stored, lenient=True) for sent, stored in pairs if sent is not None)


def find_match(context: SyncContext, entity: Entity, field: str, value: Any) -> Record | None:
    """The only record with this value in a field, None if there is none. Blanks and case make no difference.

    Raises:
        RowRejected: there are several, or the search returns a record with another value.
    """
    searches = (SearchFilter(field, text, None) for text in search_values(value))
    found = (search_records(context, entity, search, MAX_MATCHES) for search in searches)
    records = next(filter(None, found), [])
    key = entity.key[0]
    for record in records:
        if not isinstance(record.get(key), int):
            raise RowRejected(f"a search by {field} returned a record with the {key} {redact(record.get(key))}")
        stored = record.get(field) if field in entity.fields else custom_values(record).get(field)
        if not equal(_casefold(value), _casefold(stored), lenient=True):
            raise RowRejected(f"a search by {field} returned {key} {record[key]}, which has another value")
    if len(records) > 1:
        ids = ", ".join(str(record.get(key)) for record in records[:5])
        raise RowRejected(f"{len(records)} records have this {field}: {key} {ids}; push by {key}")
    return records[0] if records else None


def _casefold(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value
