"""Two custom objects, with fields of every kind and records: visits to customers' sites, and warranties."""

from collections.abc import Iterator
from random import Random
from typing import Any

from pipelines.sandbox.store.shapes import Record, blank, definition

from .deals import DAY
from .people import custom
from .story import Story
from .words import SENTENCES

SIZES = {"Site_Visit__c": 120, "Warranty__c": 80}
"""Records of each object at scale 1."""
_BASES = {"Site_Visit__c": 5_000_000, "Warranty__c": 6_000_000}
_LABELS = {"Site_Visit__c": ("Site visit", "Site visits"), "Warranty__c": ("Warranty", "Warranties")}

# OBJECT_NAME, FIELD_NAME, FIELD_TYPE, options, JOIN_OBJECT. What the API calls a lookup's type is not known.
_FIELDS: tuple[tuple[str, str, str, tuple[str, ...], str | None], ...] = (
    ("Site_Visit__c", "Visited_On__c", "DATE", (), None),
    ("Site_Visit__c", "Starts_At__c", "DATETIME", (), None),
    ("Site_Visit__c", "Result__c", "DROPDOWN", ("Good", "To repeat", "Nobody there"), None),
    ("Site_Visit__c", "Topics__c", "MULTISELECT", ("Safety", "Delivery", "Training"), None),
    ("Site_Visit__c", "Distance_Km__c", "NUMERIC", (), None),
    ("Site_Visit__c", "Billable__c", "BIT", (), None),
    ("Site_Visit__c", "Report__c", "MULTILINETEXT", (), None),
    ("Site_Visit__c", "Customer__c", "LOOKUP", (), "Organisation"),
    ("Warranty__c", "Serial_No__c", "AUTONUMBER", (), None),
    ("Warranty__c", "Months__c", "NUMERIC", (), None),
    ("Warranty__c", "Share_Covered__c", "PERCENT", (), None),
    ("Warranty__c", "Ends_On__c", "DATE", (), None),
    ("Warranty__c", "Product__c", "LOOKUP", (), "Product"),
)


def object_definitions(story: Story) -> list[Record]:
    """The rows of `/CustomObjects`."""
    return [
        blank("custom_objects")
        | {"OBJECT_NAME": name, "SINGULAR_LABEL": one, "PLURAL_LABEL": many, "RECORD_NAME_LABEL": "Name"}
        | {"RECORD_NAME_TYPE": "TEXT", "ENABLE_NAVBAR": True, "ENABLE_WORKFLOWS": False}
        | {"CREATED_USER_ID": story.id("users", 0)}
        | dict.fromkeys(("DATE_CREATED_UTC", "DATE_UPDATED_UTC"), story.calendar.at(story.start))
        for name, (one, many) in _LABELS.items()
    ]


def object_fields() -> list[Record]:
    """The definitions of their fields."""
    made: list[Record] = []
    for name, field, kind, options, join in _FIELDS:
        order = 1 + sum(row["FIELD_FOR"] == name.upper() for row in made)
        made.append(definition(name.upper(), field, kind, order, options=options, join=join))
    return made


def object_records(name: str, story: Story) -> Iterator[Record]:
    """The records of one object; they take nothing from the story's own generator, so that its other data stay."""
    rng, count = Random(f"{name} {story.seed}"), max(1, round(SIZES[name] * story.scale))
    for number in range(count):
        created = story.start + (story.now - story.start) * number // count
        record = blank(name)
        record["RECORD_ID"] = _BASES[name] + 3 * number
        record["RECORD_NAME"] = f"{_LABELS[name][0]} {number + 1}"
        record["DATE_CREATED_UTC"] = story.calendar.at(created)
        record["DATE_UPDATED_UTC"] = story.calendar.at(created + int((story.now - created) * rng.random() ** 2))
        owner = story.id("users", rng.randrange(story.size["users"]))
        record["OWNER_USER_ID"] = record["CREATED_USER_ID"] = owner
        record["VISIBLE_TO"] = "EVERYONE"
        custom(record, **(_visit if name == "Site_Visit__c" else _warranty)(story, rng, number, created))
        yield record


def _visit(story: Story, rng: Random, number: int, created: int) -> dict[str, Any]:
    return {
        "Visited_On__c": story.calendar.day(created),
        "Starts_At__c": story.calendar.at(created - created % 900),
        "Result__c": rng.choice(("Good", "Good", "To repeat", "Nobody there")),
        "Topics__c": "Safety;Training" if number % 4 == 0 else None,
        "Distance_Km__c": round(rng.random() * 300, 1),
        "Billable__c": number % 3 == 0,
        "Report__c": SENTENCES[number % len(SENTENCES)] if number % 2 else ...,
        "Customer__c": story.id("organisations", rng.randrange(story.size["organisations"])),
    }


def _warranty(story: Story, rng: Random, number: int, created: int) -> dict[str, Any]:
    months = rng.choice((12, 24, 36))
    return {
        "Serial_No__c": f"W-{number + 1:05}",
        "Months__c": months,
        "Share_Covered__c": rng.choice((50, 80, 100)) if number % 5 else None,
        "Ends_On__c": story.calendar.day(created + months * 30 * DAY),
        "Product__c": story.id("products", rng.randrange(story.size["products"])),
    }
