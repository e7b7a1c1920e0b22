"""Creates, updates and deletes of records (api.md, sections 5 and 9)."""

from collections.abc import Mapping
from typing import Any

from pipelines.sandbox.store.shapes import (
    CHILD_KEYS,
    LINK_NAMES,
    LINKED,
    Parent,
    Record,
    has_list,
    key_of,
    parent_field,
)
from sources.insightly.entities import ENTITIES

from .exchange import ApiError, Exchange, Response, empty_response, json_response
from .reads import CONVERTED_STATUS, etag, saved
from .validate import checked, require, writable

_MAIL_DROPS = {"leads": "L", "opportunities": "O", "projects": "P"}
"""The entities whose records have a LINKED_EMAIL_ADDRESS, and the letter before the id in it."""
ITEM_KEYS = {"TAGS": "TAG_NAME", **CHILD_KEYS}
"""The field that identifies an item of each array."""
_LEAD_SETTINGS = {"lead_sources": "LEAD_SOURCE_ID", "lead_statuses": "LEAD_STATUS_ID"}


def create(x: Exchange) -> Response:
    return created(x, writable(x))


def created(x: Exchange, fields: Record, parent: Parent | None = None) -> Response:
    """201 with the full record, which `parent` has if it is a child row."""
    store = x.store
    require(x, fields, x.facts.fields)
    links = fields.get("LINKS", ())
    for item in links:
        if item["LINK_OBJECT_ID"] not in store.tables[LINKED[item["LINK_OBJECT_NAME"]]].raw:
            raise ApiError(400, f"There is no {item['LINK_OBJECT_NAME']} with id {item['LINK_OBJECT_ID']}.")
    defaults = _defaults(x)
    filled = defaults | fields | _derived(x, defaults, fields)
    x.key = key_of(x.entity, store.create(x.entity, filled, parent, x.switches.comment_moves_date), parent)
    if letter := _MAIL_DROPS.get(x.entity):
        address = f"{store.instance.get('INSTANCE_SUBDOMAIN')}-{letter}{x.key}@mail.sandbox.example"
        store.update(x.entity, x.key, {"LINKED_EMAIL_ADDRESS": address}, touch=False)
    return json_response(201, saved(x))


def create_note(x: Exchange) -> Response:
    """A note, which is linked to the record that the path names."""
    link = {"LINK_OBJECT_NAME": LINK_NAMES[x.entity], "LINK_OBJECT_ID": x.key}
    x.entity = x.name
    fields = writable(x)
    return created(x, fields | {"LINKS": [*fields.get("LINKS", ()), link]})


def create_owned(x: Exchange) -> Response:
    """A record of `name` that belongs to the one that the path names: a line item of a quote, a comment of a note."""
    parent, x.entity = (x.entity, x.key), x.name
    fields = writable(x) | parent_field(x.entity, parent)
    return created(x, fields, None if has_list(x.facts) else parent)


def update_owned(x: Exchange) -> Response:
    x.entity, x.key = x.name, 0
    return update(x)


def delete_owned(x: Exchange) -> Response:
    parent, x.entity, x.key = (x.entity, x.key), x.name, x.item
    if parent != x.store.tables[x.entity].parents.get(x.key, parent):
        raise ApiError(404, f"The record with id {x.key} was not found there.")
    return delete(x)


def update(x: Exchange) -> Response:
    """PUT of the fields in the body; null clears one. The id is in the body, in the path, or in both."""
    sent, name = x.sent, x.facts.key[0]
    body_key = checked(x.facts.fields[name], sent.get(name, sent.get(name.lower())), x.switches)
    if x.key and body_key not in (None, x.key):
        raise ApiError(400, f"{name} differs from the id in the path.")
    x.key = x.key or body_key
    if not isinstance(x.key, int):
        raise ApiError(400, f"{name} is required.")
    stored, if_match = x.record, x.request.headers.get("if-match")
    if x.switches.etag and if_match not in (None, "*", etag(x.raw())):
        raise ApiError(400, "The If-Match header value is not valid.")
    fields = writable(x)
    require(x, fields, fields)
    fields.pop("LINKS", None)
    changed = _merged(x, stored, fields) | _derived(x, stored, fields)
    made = x.store.update(x.entity, x.key, changed, touch_parent=x.switches.comment_moves_date)

    if x.entity == "opportunities" and made["OPPORTUNITY_STATE"] != stored["OPPORTUNITY_STATE"]:
        x.store.record_state(made, x.store.now(), None)
    return json_response(x.switches.put_status, saved(x))


def delete(x: Exchange) -> Response:
    """202 without a body; 409 for a lead source or status in use. A category stays: records keep it."""
    record, column = x.record, _LEAD_SETTINGS.get(x.entity)
    if x.entity.endswith("_categories") and "ACTIVE" in record:
        if not record["ACTIVE"]:
            raise ApiError(409, f"The category {x.key} is already deactivated.")
        x.store.update(x.entity, x.key, {"ACTIVE": False})
        return empty_response()
    if column and any(f'"{column}":{x.key},'.encode() in raw for raw in x.store.tables["leads"].raw.values()):
        raise ApiError(409, f"{column} {x.key} is in use.")
    x.store.delete(x.entity, x.key, x.switches.comment_moves_date)
    return empty_response()


def delete_by_query(x: Exchange) -> Response:
    """`?id=` names the record."""
    id_ = x.query.get("id", "")
    if not id_.isdigit():
        raise ApiError(400, "id is required.")
    x.key = int(id_)
    return delete(x)


def closing_date(state: str, now: str) -> str | None:
    """ACTUAL_CLOSE_DATE of a deal that gets a state now."""
    return None if state in {"OPEN", "SUSPENDED"} else f"{now[:10]} 00:00:00"


def value_of(opportunity: Mapping[str, Any]) -> float | int | None:
    """OPPORTUNITY_VALUE: the bid, times its duration unless the bid is fixed."""
    amount, duration = opportunity.get("BID_AMOUNT"), opportunity.get("BID_DURATION")
    if amount is None or opportunity.get("BID_TYPE") == "Fixed Bid":
        return amount
    return amount * (duration or 1)  # type: ignore[no-any-return]


def _merged(x: Exchange, stored: Record, fields: Record) -> Record:
    """`fields`, with the stored items added to the arrays that the switches merge."""
    keys = {"CUSTOMFIELDS": "FIELD_NAME"} if x.switches.put_custom_fields == "merge" else {}
    keys |= ITEM_KEYS if x.switches.put_collections == "merge" else {}
    return fields | {name: merged(stored[name], fields[name], key) for name, key in keys.items() if fields.get(name)}


def merged(stored: list[Record], sent: list[Record], key: str) -> list[Record]:
    """The items of both; those of `sent` replace stored ones with the same key."""
    keyed = {item[key]: item for item in [*stored, *sent] if item.get(key) is not None}
    return [*keyed.values(), *(item for item in sent if item.get(key) is None)]


def _defaults(x: Exchange) -> Record:
    """What captures show in new records that were sent without it."""
    fields = x.facts.fields
    defaults: Record = {name: name == "ACTIVE" for name, field in fields.items() if field.type == "boolean"}
    defaults |= {name: x.user for name in ("OWNER_USER_ID", "CREATED_USER_ID", "RESPONSIBLE_USER_ID") if name in fields}
    if "VISIBLE_TO" in fields:
        defaults["VISIBLE_TO"] = "EVERYONE"
    match x.entity:
        case "leads":
            source, status = _first(x, "lead_sources", "DEFAULT_VALUE"), _first(x, "lead_statuses", "DEFAULT_STATUS")
            defaults |= {"EMAIL": "", "EMPLOYEE_COUNT": 0, "LEAD_SOURCE_ID": source, "LEAD_STATUS_ID": status}
        case "opportunities":
            defaults |= {"OPPORTUNITY_STATE": "OPEN", "BID_CURRENCY": "USD", "BID_TYPE": "Fixed Bid"}
        case "tasks":
            defaults |= {"STATUS": "NOT STARTED", "PRIORITY": 2}
    return defaults


def _first(x: Exchange, entity: str, flag: str) -> Any:
    rows = [row for row in x.store.rows(entity) if row.get("STATUS_TYPE") != CONVERTED_STATUS]
    chosen = next((row for row in rows if row[flag]), None) or next(iter(rows), {})
    return chosen.get(ENTITIES[entity].key[0])


def _derived(x: Exchange, stored: Record, fields: Mapping[str, Any]) -> Record:
    """The fields that the server sets because of the written ones."""
    derived: Record = {}
    if x.entity == "tasks" and ("STATUS" in fields or "COMPLETED" in fields):
        done = bool(fields.get("COMPLETED", fields.get("STATUS") == "COMPLETED"))
        if done != stored["COMPLETED"]:
            derived |= {"COMPLETED": done, "COMPLETED_DATE_UTC": x.store.now() if done else None}
            derived |= {"STATUS": "COMPLETED", "PERCENT_COMPLETE": 100} if done else {}
    elif x.entity == "opportunities":
        if {"BID_AMOUNT", "BID_DURATION", "BID_TYPE"} & fields.keys():
            derived["OPPORTUNITY_VALUE"] = value_of({**stored, **fields})
        state = fields.get("OPPORTUNITY_STATE", stored["OPPORTUNITY_STATE"])
        if state != stored["OPPORTUNITY_STATE"] and "ACTUAL_CLOSE_DATE" not in fields:
            derived["ACTUAL_CLOSE_DATE"] = closing_date(state, x.store.now())
    return derived
