"""The shape of records: blank ones, their arrays, links, definitions (api.md, sections 4 and 5)."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sources.insightly.entities import ENTITIES, Entity, custom_object
from sources.insightly.fields import child_fields

Record = dict[str, Any]
Key = int | str
Parent = tuple[str, Key]
"""The record that a child row belongs to: its entity and id."""

_DOCUMENTED = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?")

LINK_NAMES = {entity.name: entity.field_for.capitalize() for entity in ENTITIES.values() if "LINKS" in entity.arrays}
LINKED = {name: entity for entity, name in LINK_NAMES.items()}
MAIN = ("contacts", "leads", "opportunities", "organisations", "projects")
"""The entities that show links from both sides, and that notes, tasks, events and e-mails belong to."""

_LINK = tuple(child_fields("LINKS"))
LINK_FIELDS = ("ROLE", "DETAILS", "RELATIONSHIP_ID")
"""The fields of a link that can be changed."""
CHILD_KEYS = {"LINKS": "LINK_ID", "DATES": "DATE_ID", "EMAILDOMAINS": "EMAIL_DOMAIN_ID"}


def stamp(time: datetime) -> str:
    """A datetime as the API writes it: UTC, in seconds, without a zone."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def parse_date(value: str, documented: bool) -> str:
    """A date or date-time, as it is stored: in every ISO 8601 form, its fraction cut off, or the documented ones.

    Raises:
        ValueError: it has another form.
    """
    value = value.strip()
    if documented and not _DOCUMENTED.fullmatch(value):
        raise ValueError(f"{value!r} is not a date-time")
    time = datetime.fromisoformat(value.replace(" ", "+") if value.count(":") > 2 else value)
    time = time.astimezone(UTC) if time.tzinfo else time
    return time.replace(tzinfo=None, microsecond=0).isoformat(" ")


@cache
def facts_of(name: str) -> Entity:
    """The row of the entity table; the name of a custom object is its OBJECT_NAME."""
    return ENTITIES.get(name) or custom_object(name, name)


@cache
def array_fields(entity: str) -> tuple[str, ...]:
    """The array fields of a record, which `brief=true` omits."""
    facts = facts_of(entity)
    return (("CUSTOMFIELDS",) if facts.custom_fields else ()) + facts.arrays


def blank(entity: str) -> Record:
    """A record with every field of the entity table: null, or `[]` for an array."""
    return dict.fromkeys(facts_of(entity).fields) | {name: [] for name in array_fields(entity)}


def key_of(entity: str, record: Record, parent: Parent | None = None) -> Key:
    """The primary key of a record; the values of a key of several fields are joined to one text."""
    if parent and entity == "static_list_memberships":  # the ids of lists, which are those of other prospects too
        return f"{parent[1]} {record['LIST_ID']}"
    parts = facts_of(entity).key
    key: Key = record[parts[0]] if len(parts) == 1 else " ".join(str(record[part]) for part in parts)
    return key


def parent_field(entity: str, parent: Parent | None) -> Record:
    """The field of a record that names the one it belongs to, with its value; many have none."""
    name = facts_of(parent[0]).key[0] if parent else ""
    field = facts_of(entity).fields.get(name)
    return {name: str(parent[1]) if field.type == "string" else parent[1]} if parent and field else {}


def has_list(entity: Entity) -> bool:
    """True if the entity has a path that returns a list of its records."""
    return "{" not in entity.path and entity.read != "object" and entity.name not in {"tags"}


HISTORY = "opportunity_state_history"
CHILD_ENTITIES = tuple(entity.name for entity in ENTITIES.values() if entity.read == "per_parent")
"""The entities whose records belong to one record each, and have no list of their own."""


def link(link_id: int, own: tuple[str, int], other: tuple[str, int], forward: bool = True) -> Record:
    """One item of LINKS of the record `own`; `own` and `other` are (object name in the singular, id)."""
    return dict(zip(_LINK, (link_id, *own, *other, None, None, None, forward), strict=True))


def state_row(opportunity_id: int, at: str, state: str, reason: Record | None) -> Record:
    """One row of an opportunity's state history; `reason` is a record of `opportunity_state_reasons`."""
    why = (reason["STATE_REASON_ID"], reason["STATE_REASON"]) if reason else (None, None)
    return dict(zip(facts_of(HISTORY).fields, (opportunity_id, at, state, *why), strict=True))


def definition(field_for: str, name: str, kind: str, order: int, options: Iterable[str] = (), join: str = "") -> Record:
    """One custom-field definition; `join` is the object whose ids are the values of a lookup."""
    choices = [
        {"OPTION_ID": index, "OPTION_VALUE": value, "OPTION_DEFAULT": False}
        for index, value in enumerate(options, start=1)
    ]
    return blank("custom_fields") | {
        "FIELD_NAME": name,
        "FIELD_ORDER": order,
        "FIELD_FOR": field_for,
        "FIELD_LABEL": name.removesuffix("__c").replace("_", " "),
        "FIELD_TYPE": kind,
        "EDITABLE": kind != "AUTONUMBER",
        "VISIBLE": True,
        "CUSTOM_FIELD_OPTIONS": choices,
        "JOIN_OBJECT": join or None,
    }
