"""What a record looks like: its blank form, its collections, how links name objects (API.md, sections 4 and 5)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sources.insightly.entities import ENTITIES, Entity, custom_object

Record = dict[str, Any]
Key = int | str

STAMP = "%Y-%m-%d %H:%M:%S"
MAX_PAGE = 500

LINK_NAMES = {
    "contacts": "Contact",
    "leads": "Lead",
    "opportunities": "Opportunity",
    "organisations": "Organisation",
    "projects": "Project",
    "tasks": "Task",
    "events": "Event",
    "notes": "Note",
    "emails": "Email",
}
LINKED = {name: entity for entity, name in LINK_NAMES.items()}
MAIN = ("contacts", "leads", "opportunities", "organisations", "projects")
"""The objects whose records show a link made from either end, and which can be a note's parent."""

CHILD_KEYS = {"LINKS": "LINK_ID", "DATES": "DATE_ID", "EMAILDOMAINS": "EMAIL_DOMAIN_ID"}


def stamp(moment: datetime) -> str:
    """`moment` as the API writes date-times: UTC, whole seconds, no zone."""
    return moment.astimezone(UTC).strftime(STAMP)


@cache
def facts_of(name: str) -> Entity:
    """The row of the entity table; a custom object is named by its OBJECT_NAME."""
    return ENTITIES.get(name) or custom_object(name, name)


@cache
def collections(entity: str) -> tuple[str, ...]:
    """The array keys of a full record, those that `brief=true` drops."""
    facts = facts_of(entity)
    return (("CUSTOMFIELDS",) if facts.custom_fields else ()) + facts.arrays


@cache
def nulls(entity: str) -> Record:
    return dict.fromkeys(facts_of(entity).fields)


def blank(entity: str) -> Record:
    """A record of `entity` with every field of the entity table: scalars null, collections `[]`."""
    record = nulls(entity).copy()
    for name in collections(entity):
        record[name] = []
    return record


def key_of(entity: str, record: Record) -> Key:
    """What tells a record apart from the others of its entity; several fields that do so together make one text."""
    first, *more = (record[part] for part in facts_of(entity).key)
    return first if not more else " ".join(map(str, (first, *more)))


def served_under(entity: Entity) -> bool:
    """True where the collection has a path of its own that returns a list of records."""
    return "{" not in entity.path and entity.read != "object" and entity.name not in {"tags"}


def link(link_id: int, own: tuple[str, int], other: tuple[str, int], role: str | None, forward: bool = True) -> Record:
    """One item of LINKS as read from the record `own`; both ends are (singular object name, id)."""
    return {
        "LINK_ID": link_id,
        "OBJECT_NAME": own[0],
        "OBJECT_ID": own[1],
        "LINK_OBJECT_NAME": other[0],
        "LINK_OBJECT_ID": other[1],
        "ROLE": role,
        "DETAILS": None,
        "RELATIONSHIP_ID": None,
        "IS_FORWARD": forward,
    }


def state_row(opportunity_id: int, at: str, state: str, reason: Record | None) -> Record:
    """One row of an opportunity's state history; `reason` is a record of `opportunity_state_reasons`."""
    return {
        "OPPORTUNITY_ID": opportunity_id,
        "DATE_CHANGED_UTC": at,
        "FOR_OPPORTUNITY_STATE": state,
        "STATE_REASON_ID": reason and reason["STATE_REASON_ID"],
        "STATE_REASON": reason and reason["STATE_REASON"],
    }


def definition(
    field_for: str,
    name: str,
    kind: str,
    order: int,
    label: str | None = None,
    options: Iterable[str] = (),
    join: str | None = None,
) -> Record:
    """One custom-field definition in the API's shape; `join` names the object that a lookup's values are ids of."""
    return {
        "FIELD_NAME": name,
        "FIELD_ORDER": order,
        "FIELD_FOR": field_for,
        "FIELD_LABEL": label or name.removesuffix("__c").replace("_", " "),
        "FIELD_TYPE": kind,
        "FIELD_HELP_TEXT": None,
        "DEFAULT_VALUE": None,
        "EDITABLE": kind != "AUTONUMBER",
        "VISIBLE": True,
        "CUSTOM_FIELD_OPTIONS": [
            {"OPTION_ID": index, "OPTION_VALUE": value, "OPTION_DEFAULT": False}
            for index, value in enumerate(options, start=1)
        ],
        "DEPENDENCY": None,
        "JOIN_OBJECT": join,
    }
