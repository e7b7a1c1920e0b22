"""Creates, updates and deletes of records (API.md, sections 5 and 9)."""

from collections.abc import Mapping
from typing import Any

from pipelines.sandbox.store.shapes import CHILD_KEYS, LINK_NAMES, LINKED, Record, facts_of

from .messages import ApiError, Request, Response, empty_response, json_response, record_not_found
from .reads import CONVERTED_STATUS, Reader, etag
from .validate import checked, json_object, require, writable

_MAIL_DROPS = {"leads": "L", "opportunities": "O", "projects": "P"}
"""The entities whose records have a LINKED_EMAIL_ADDRESS, and the letter before the id in it."""
_LEAD_SETTINGS = {"lead_sources": "LEAD_SOURCE_ID", "lead_statuses": "LEAD_STATUS_ID"}


class Writer:
    """Responds to POST, PUT and DELETE on the collections; `user` is the id of the key's user."""

    def __init__(self, reader: Reader, user: int) -> None:
        self.reader = reader
        self.store = reader.store
        self.switches = reader.switches
        self.user = user

    def writable(self, entity: str, sent: Mapping[str, Any]) -> Record:
        """The fields of a body to store."""
        return writable(entity, sent, self.store, self.switches)

    def create(
        self, entity: str, request: Request, parent: tuple[str, int] | None = None, owner: Record | None = None
    ) -> Response:
        """201 with the full record, which is linked to `parent` (entity, id) and has the fields of `owner`."""
        fields = self.writable(entity, json_object(request.body)) | (owner or {})
        require(entity, fields)
        links = [*fields.get("LINKS", ()), *([_end(parent)] if parent else ())]
        for item in links:
            if item["LINK_OBJECT_ID"] not in self.store.tables[LINKED[item["LINK_OBJECT_NAME"]]].raw:
                raise ApiError(400, f"There is no {item['LINK_OBJECT_NAME']} with id {item['LINK_OBJECT_ID']}.")
        with self.store.lock:
            filled = {**self._defaults(entity), **fields, "LINKS": links}
            if entity == "opportunities":
                filled["OPPORTUNITY_VALUE"] = value_of(filled)
            elif entity == "tasks" and "COMPLETED" in (filled["STATUS"], filled["COMPLETED"] and "COMPLETED"):
                filled |= {"COMPLETED": True, "STATUS": "COMPLETED", "COMPLETED_DATE_UTC": self.store.now()}
            made = self.store.create(entity, filled)
            if (letter := _MAIL_DROPS.get(entity)) is not None:
                key = made[facts_of(entity).key[0]]
                address = f"{self.store.instance.get('INSTANCE_SUBDOMAIN')}-{letter}{key}@mail.sandbox.example"
                self.store.update(entity, key, {"LINKED_EMAIL_ADDRESS": address}, touch=False)
            return self._response(entity, made, 201)

    def update(self, entity: str, request: Request, key: int | None = None) -> Response:
        """PUT of the fields in the body; null clears one. The id is in the body, in the path, or in both."""
        sent = json_object(request.body)
        name = facts_of(entity).key[0]
        body_key = checked(facts_of(entity).fields[name], sent.get(name, sent.get(name.lower())))
        if key is not None and body_key not in (None, key):
            raise ApiError(400, f"{name} differs from the id in the path.")
        key = body_key if key is None else key
        if not isinstance(key, int):
            raise ApiError(400, f"{name} is required.")
        with self.store.lock:
            stored = self.store.get(entity, key)
            if stored is None:
                raise record_not_found(entity, key)
            if_match = request.headers.get("if-match")
            if self.switches.etag and if_match not in (None, "*", etag(self.store.tables[entity].raw[key])):
                raise ApiError(400, "The If-Match header value is not valid.")
            fields = self.writable(entity, sent)
            for field, facts in facts_of(entity).fields.items():
                if "required" in facts.flags and field in fields and fields[field] in (None, ""):
                    raise ApiError(400, f"{field} is required.")
            fields.pop("LINKS", None)
            made = self.store.update(
                entity, key, {**self._merged(stored, fields), **self._derived(entity, stored, fields)}
            )
            if entity == "opportunities" and made["OPPORTUNITY_STATE"] != stored["OPPORTUNITY_STATE"]:
                self.store.record_state(made, self.store.now(), None)
            return self._response(entity, made, self.switches.put_status)

    def delete(self, entity: str, key: int) -> Response:
        """202 without a body; 404 for an unknown record, 409 for a lead source or status in use."""
        with self.store.lock:
            if key not in self.store.tables[entity].raw:
                raise record_not_found(entity, key)
            column = _LEAD_SETTINGS.get(entity)
            if column and any(f'"{column}":{key},'.encode() in raw for raw in self.store.tables["leads"].raw.values()):
                raise ApiError(409, f"{column} {key} is in use.")
            self.store.delete(entity, key)
        return empty_response(202)

    def _response(self, entity: str, record: Record, status: int) -> Response:
        raw = self.store.tables[entity].raw[record[facts_of(entity).key[0]]]
        return json_response(status, self.reader.shaped(entity, raw, brief=False))

    def _merged(self, stored: Record, fields: Record) -> Record:
        """`fields`, with the stored items added to the arrays that the switches merge."""
        keys: dict[str, str] = {}
        if self.switches.put_custom_fields == "merge":
            keys["CUSTOMFIELDS"] = "FIELD_NAME"
        if self.switches.put_collections == "merge":
            keys |= {"TAGS": "TAG_NAME", **CHILD_KEYS}
        return fields | {name: _merge(stored[name], fields[name], key) for name, key in keys.items() if name in fields}

    def _defaults(self, entity: str) -> Record:
        fields = facts_of(entity).fields
        defaults: Record = {name: name == "ACTIVE" for name, field in fields.items() if field.type == "boolean"}
        defaults |= {name: self.user for name in ("OWNER_USER_ID", "CREATED_USER_ID") if name in fields}
        if "VISIBLE_TO" in fields:
            defaults["VISIBLE_TO"] = "EVERYONE"
        if entity == "leads":
            defaults |= {
                "EMAIL": "",
                "EMPLOYEE_COUNT": 0,
                "LEAD_SOURCE_ID": self._first("lead_sources", "DEFAULT_VALUE"),
                "LEAD_STATUS_ID": self._first("lead_statuses", "DEFAULT_STATUS"),
                "RESPONSIBLE_USER_ID": self.user,
            }
        elif entity == "opportunities":
            defaults |= {"OPPORTUNITY_STATE": "OPEN", "BID_CURRENCY": "USD", "BID_TYPE": "Fixed Bid"}
        elif entity == "tasks":
            defaults |= {"STATUS": "NOT STARTED", "PRIORITY": 2, "RESPONSIBLE_USER_ID": self.user}
        return defaults

    def _first(self, entity: str, flag: str) -> int | None:
        rows = self.store.rows(entity)
        chosen = next((row for row in rows if row[flag]), None)
        if chosen is None:
            chosen = next((row for row in rows if row.get("STATUS_TYPE") != CONVERTED_STATUS), None)
        return None if chosen is None else chosen[facts_of(entity).key[0]]

    def _derived(self, entity: str, stored: Record, fields: Mapping[str, Any]) -> Record:
        """The fields that the server sets because of the written ones."""
        if entity == "tasks" and ("STATUS" in fields or "COMPLETED" in fields):
            done = fields.get("COMPLETED", fields.get("STATUS") == "COMPLETED")
            if done != stored["COMPLETED"]:
                return {
                    "COMPLETED": bool(done),
                    "COMPLETED_DATE_UTC": self.store.now() if done else None,
                    **({"STATUS": "COMPLETED", "PERCENT_COMPLETE": 100} if done else {}),
                }
        derived: Record = {}
        if entity == "opportunities" and {"BID_AMOUNT", "BID_DURATION", "BID_TYPE"} & fields.keys():
            derived["OPPORTUNITY_VALUE"] = value_of({**stored, **fields})
        if (
            entity == "opportunities"
            and fields.get("OPPORTUNITY_STATE", stored["OPPORTUNITY_STATE"]) != (stored["OPPORTUNITY_STATE"])
        ):
            derived |= {"ACTUAL_CLOSE_DATE": closing_date(fields["OPPORTUNITY_STATE"], self.store.now())} | {
                name: fields[name] for name in ("ACTUAL_CLOSE_DATE",) if name in fields
            }
        return derived


def closing_date(state: str, now: str) -> str | None:
    """ACTUAL_CLOSE_DATE of a deal that gets a state now."""
    return None if state in {"OPEN", "SUSPENDED"} else f"{now[:10]} 00:00:00"


def value_of(opportunity: Mapping[str, Any]) -> float | int | None:
    """OPPORTUNITY_VALUE: the bid, times its duration unless the bid is fixed."""
    amount, duration = opportunity.get("BID_AMOUNT"), opportunity.get("BID_DURATION")
    if amount is None or opportunity.get("BID_TYPE") == "Fixed Bid":
        return amount
    return amount * (duration or 1)  # type: ignore[no-any-return]


def _merge(stored: list[Record], sent: list[Record], key: str) -> list[Record]:
    keyed = {item[key]: item for item in [*stored, *sent] if item.get(key) is not None}
    return [*keyed.values(), *(item for item in sent if item.get(key) is None)]


def _end(parent: tuple[str, int]) -> Record:
    return {"LINK_OBJECT_NAME": LINK_NAMES[parent[0]], "LINK_OBJECT_ID": parent[1]}
