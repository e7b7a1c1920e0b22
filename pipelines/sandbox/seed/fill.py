"""Values for the fields of a record that its writer leaves out: from `data.toml`, or by the facts of the entity table.

A field that neither `data.toml` nor a row of `_BY_NAME` and `_TEXTS` names gets what its reference or type says.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pipelines.sandbox.store.shapes import Record, blank, facts_of
from sources.insightly.fields import Field, child_fields

from .data import CHILDREN, CUSTOM_FIELDS, FACTS, FIELDS, SPARSE, TAGS, WORDS, email_address, nth
from .story import DAY, Story, at, day


class Row:
    """A record that is being written.

    Attributes:
        created: the second of its creation.
        earliest: the second before which it was not updated.
        place: the number of the organisation whose city its address and its phone are in.
        owner: the id of the user who created it.
    """

    def __init__(self, story: Story, entity: str, number: int, created: int) -> None:
        self.story, self.entity, self.number, self.created = story, entity, number, created
        self.earliest, self.updated, self.place = created, created, number
        self.owner = story.pick(story.users)

    @property
    def id(self) -> int:
        return self.story.id(self.entity, self.number)

    def ref(self, entity: str, number: int) -> int:
        """The id of another record, which was created no later than this one."""
        self.created = max(self.created, self.story.created[entity][number])
        return self.story.id(entity, number)


Maker = Callable[[Row, Field], Any]


def _number(row: Row, field: Field) -> Any:
    number = (row.number * 37 + len(field.name)) % 500
    return number if field.type == "integer" else str(number) if field.type == "string" else number / 4


def _address(row: Row, field: Field) -> str:
    part = field.name.rpartition("_")[2]
    if part == "STREET":
        return f"{1 + row.number % 120} {nth(WORDS['streets'], row.place)}"
    text = row.story.city(row.place)[("CITY", "STATE", "POSTCODE", "COUNTRY").index(part)]
    return f"{text}{10 + row.place % 89}" if part == "POSTCODE" else text


def _phone(row: Row, field: Field) -> str:
    return f"{row.story.city(row.place)[-1]} {200_000 + (row.number * 7_919 + len(field.name) * 131) % 799_999}"


def _reference(row: Row, field: Field) -> int | None:
    """The id of a record that existed, and None for the first record of a table that refers to itself."""
    story, target = row.story, field.references
    if target == row.entity and row.number == 0:
        return None
    grow = "size" in FACTS.get(row.entity, ()) and "size" in FACTS[target]
    return story.id(target, story.earlier(target, row.number / story.size[row.entity] if grow else 1))


def _sentence(row: Row, field: Field) -> str:
    return nth(WORDS["sentences"], row.number)[: field.max_length]


def _own(value: Any) -> Any:
    """A value of `data.toml`, or what makes it."""
    values = value if isinstance(value, list) else [value]
    if any("{n" in str(each) for each in values):
        return lambda row, _: nth(values, row.number).format(n=row.number + 1)
    return (lambda row, _: nth(values, row.number)) if isinstance(value, list) else value


def _name(row: Row) -> tuple[str, str]:
    return nth(WORDS["first"], row.number), nth(WORDS["last"], row.number * 5)


_BY_NAME: tuple[tuple[str, Any], ...] = (
    ("DATE_CREATED_UTC|ASSIGNED_DATE_UTC|EMAIL_DATE_UTC|FIRST_.*_DATE_UTC", lambda row, _: at(row.created)),
    ("DATE_UPDATED_UTC|LAST_ACTIVITY_DATE_UTC", lambda row, _: at(row.updated)),
    ("NEXT_ACTIVITY_DATE_UTC", lambda row, _: None if row.number % 5 else at(row.story.now + row.number % 30 * DAY)),
    (".*USER_ID|RESPONSIBLE_USER", lambda row, _: row.owner),
    ("VISIBLE_TO", lambda row, _: "TEAM" if row.number % 40 == 20 else "EVERYONE"),
    ("VISIBLE_TEAM_ID", lambda row, field: _reference(row, field) if row.number % 40 == 20 else None),
    ("ACTIVE|EDITABLE|VISIBLE", lambda row, _: row.number % 9 != 8),
    (".*VISIBLE", True),
    ("DEFAULT_.*|IS_STANDARD", lambda row, _: row.number == 0),
    (".*_ORDER|.*_NO", lambda row, field: row.number + 1 if field.type == "integer" else str(row.number + 1)),
    (".*COUNT|.*Count", _number),
)
_TEXTS: tuple[tuple[str, Any], ...] = (
    (".*ADDRESS.*_(STREET|CITY|STATE|POSTCODE|COUNTRY)", _address),
    (".*PHONE.*|.*FAX|MOBILE", _phone),
    ("LINKED_EMAIL_ADDRESS", lambda row, _: f"our-company-{row.entity[0].upper()}{row.number}-x7@mailbox.example"),
    (".*EMAIL.*|.*_CC", lambda row, _: email_address(*_name(row), "visitor.example")),
    ("SOCIAL_(.*)", lambda row, field: f"https://{field.name[7:].lower()}.example/{row.story.domain(row.place)}"),
    ("WEBSITE", lambda row, _: f"https://www.{row.story.domain(row.place)}"),
    (".*BODY.*|.*Body.*", lambda row, field: f"<p>{_sentence(row, field)}</p>"),
    (".*URL", lambda row, _: f"https://files.example/{row.entity}/{row.number + 1}"),
    ("FIRST_NAME", lambda row, _: nth(WORDS["first"], row.number * 7)),
    ("LAST_NAME", lambda row, _: nth(WORDS["last"], row.number * 11)),
    ("ASSISTANT_NAME|ADDRESS.*_NAME", lambda row, _: " ".join(_name(row))),
    ("MKT_.*|REFR_.*", lambda row, field: f"{field.name.partition('_')[2].lower()} {row.number % 7 + 1}"),
)
"""What makes values, by the name of the field, and those of texts; the first row that matches counts."""
_BY_TYPE: dict[str, Maker] = {
    "boolean": lambda row, _: row.number % 13 == 7,
    "integer": _number,
    "number": _number,
    "date": lambda row, _: day(row.created + (5 + row.number % 60) * DAY),
    "datetime": lambda row, _: at(row.updated),
    "string": _sentence,
}


def fill(row: Row, values: Mapping[str, Any]) -> Record:
    """The record of a row: `values`, and a value for every other field."""
    empty, always, every = _plan(row.entity)
    dated = "DATE_UPDATED_UTC" in empty
    row.updated = row.story.since(max(row.created, row.earliest)) if dated else row.created
    record = empty.copy()
    for name, field, make in always if row.number % 3 else every:
        if name not in values:
            record[name] = make(row, field)
    record |= values
    key = facts_of(row.entity).key[0]
    if record[key] is None:
        record[key] = row.id
    for array, make_array in _ARRAYS.items():
        if array in record:
            record[array] = make_array(row)
    return record


Plan = list[tuple[str, Field, Maker]]


@cache
def _plan(entity: str) -> tuple[Record, Plan, Plan]:
    """A record of what is the same in each; the fields to fill in each one; those to fill in each third one."""
    facts, own, record = facts_of(entity), FACTS.get(entity) or CHILDREN[entity], blank(entity)
    every: Plan = []
    for name, field in facts.fields.items():
        if name in own or name not in facts.key:
            value = _own(own[name]) if name in own else None if field.references in own else _value(field)
            if callable(value):
                every.append((name, field, value))
            else:
                record[name] = value
    return record, [row for row in every if row[0] in own or not re.fullmatch(SPARSE, row[0])], every


def _value(field: Field) -> Any:
    """The value of a field, or what makes it."""
    for pattern, value in FIELDS.items():
        if re.fullmatch(pattern, field.name):
            return _own(value)
    last = _reference if field.references else _BY_TYPE[field.type]
    makers = (*_BY_NAME, *(_TEXTS if field.type == "string" else ()))
    return next((make for pattern, make in makers if re.fullmatch(pattern, field.name)), last)


def _activities(row: Row) -> list[Record]:
    """The tasks and events that a set plans."""
    made = []
    for place, name in enumerate(FACTS["activity_sets"]["ACTIVITIES"][row.number]):
        step, event = Row(row.story, "ACTIVITIES", place, row.created), place % 2 == 1
        other = "DUE_.*|REMINDER_.*|CATEGORY_ID" if event else "EVENT_.*|ALL_DAY|DURATION"
        record = {}
        for name, field in child_fields("ACTIVITIES").items():
            value = None if re.fullmatch(other, name) else _value(field)
            record[name] = value(step, field) if callable(value) else value
        record |= {"ACTIVITY_ID": row.id * 10 + place, "ACTIVITYSET_ID": row.id, "ACTIVITY_NAME": name}
        record |= {"ACTIVITY_TYPE": "EVENT"} if event else {"ACTIVITY_TYPE": "TASK", "CATEGORY_ID": 7_201}
        made.append(record)
    return made


def _custom_fields(row: Row) -> list[Record]:
    """The entries of a record's custom fields: some have no value, and others are left out."""
    entries = []
    for place, (name, kind, choices) in enumerate(CUSTOM_FIELDS.get(facts_of(row.entity).field_for, ())):
        left = (row.number + place) % 5 if kind not in {"AUTONUMBER", "LOOKUP"} else None
        if left != 1:
            value = None if left == 0 else _custom_value(row, name, kind, choices)
            entries.append({"FIELD_NAME": name, "FIELD_VALUE": value, "CUSTOM_FIELD_ID": name})
    return entries


def _custom_value(row: Row, name: str, kind: str, choices: list[str]) -> Any:
    story, number = row.story, row.number
    if kind == "LOOKUP":
        entity = f"{choices[0].lower()}s"
        return story.id(entity, story.earlier(entity, 1))
    if kind == "MULTISELECT":
        return ";".join(choices[: 1 + number % 3])
    if choices:
        return nth(choices, number)
    if kind in {"DATE", "DATETIME"}:
        return (day if kind == "DATE" else at)(row.updated + number % 90 * DAY)
    if kind in {"NUMERIC", "PERCENT"}:
        return number % 5 * 20 if kind == "PERCENT" else number * 37 % 3_000 / 8
    values = {"BIT": number % 3 == 0, "AUTONUMBER": f"{name[0]}-{number + 1:06}"}
    return values.get(kind, nth(WORDS["sentences"], number))


def _tags(row: Row) -> list[Record]:
    """None to two tags of the entity."""
    words, draw = TAGS[row.entity], row.story.rng.random()
    first = int(draw * 977) % len(words)
    count = 0 if draw < 0.5 else 1 if draw < 0.85 else 2
    return [{"TAG_NAME": words[first - index]} for index in range(count)]


_ARRAYS = {
    "CUSTOMFIELDS": _custom_fields,
    "TAGS": _tags,
    "LINKS": lambda row: row.story.links.pop((row.entity, row.number), []),
    "ACTIVITIES": _activities,
}
