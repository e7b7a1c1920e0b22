"""Records that a push must find without their ids: by a field's value, and what a create without an answer made."""

from datetime import datetime, timedelta
from typing import Any

from sources.insightly.context import Record, Session
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import InsightlyError
from sources.insightly.state.times import parse

from .api import changed_since, search
from .validate import Row
from .values import custom_of, same

EARLY = timedelta(seconds=2)
"""A record's stamp may be so much earlier than the intent: stamps are whole seconds, and servers' clocks differ."""


class Refused(InsightlyError):
    """A row that cannot be carried out as it is; the message says why."""


def matching(session: Session, entity: Entity, field: str, value: Any) -> Record | None:
    """The one record whose field has the value, None where there is none.

    Raises:
        Refused: there are several, or the search answers with records of another value.
    """
    found = search(session, entity, field, str(value).lower() if isinstance(value, bool) else str(value))
    key = entity.key[0]
    for record in found:
        told = record.get(field) if field in entity.fields else custom_of(record).get(field)
        if not same(_folded(value), _folded(told), loosely=True):
            raise Refused(f"a search for {field} {value!r} came back with {key} {record.get(key)}, which has {told!r}")
    if len(found) > 1:
        ids = ", ".join(str(record.get(key)) for record in found[:5])
        raise Refused(f"{len(found)} records have this {field}: {key} {ids}; push by {key}")
    return found[0] if found else None


def made_by(session: Session, entity: Entity, row: Row, intent: datetime, known: set[int]) -> list[int]:
    """The ids of the records that the row's create may have made: created after the intent, with all that was sent.

    Args:
        session: the run.
        entity: what was to be created.
        row: what was sent.
        intent: when, by the service's clock.
        known: ids of records that are known to be made by other rows.
    """
    since, key = intent - EARLY, entity.key[0]
    return [
        record[key]
        for record in changed_since(session, entity, since)
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
