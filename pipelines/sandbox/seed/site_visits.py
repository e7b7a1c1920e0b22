"""Two generated custom objects with fields of every type: visits to customers' sites, and warranties."""

from collections.abc import Iterator
from random import Random
from typing import Any

from pipelines.sandbox.store.shapes import Record, blank

from .people import custom
from .reference import CustomField
from .story import DAY, Story
from .words import SENTENCES, nth

# OBJECT_NAME: SINGULAR_LABEL, PLURAL_LABEL, first RECORD_ID, records at scale 1.
OBJECTS = {
    "Site_Visit__c": ("Site visit", "Site visits", 5_000_000, 120),
    "Warranty__c": ("Warranty", "Warranties", 6_000_000, 80),
}
# How the API names the type of a lookup is unknown.
FIELDS: tuple[CustomField, ...] = (
    ("SITE_VISIT__C", "Visited_On__c", "DATE", (), None),
    ("SITE_VISIT__C", "Starts_At__c", "DATETIME", (), None),
    ("SITE_VISIT__C", "Result__c", "DROPDOWN", ("Good", "To repeat", "Nobody there"), None),
    ("SITE_VISIT__C", "Topics__c", "MULTISELECT", ("Safety", "Delivery", "Training"), None),
    ("SITE_VISIT__C", "Distance_Km__c", "NUMERIC", (), None),
    ("SITE_VISIT__C", "Billable__c", "BIT", (), None),
    ("SITE_VISIT__C", "Report__c", "MULTILINETEXT", (), None),
    ("SITE_VISIT__C", "Customer__c", "LOOKUP", (), "Organisation"),
    ("WARRANTY__C", "Serial_No__c", "AUTONUMBER", (), None),
    ("WARRANTY__C", "Months__c", "NUMERIC", (), None),
    ("WARRANTY__C", "Share_Covered__c", "PERCENT", (), None),
    ("WARRANTY__C", "Ends_On__c", "DATE", (), None),
    ("WARRANTY__C", "Product__c", "LOOKUP", (), "Product"),
)


def object_definitions(story: Story) -> list[Record]:
    """The rows of `/CustomObjects`."""
    created = story.calendar.at(story.start)
    return [
        blank("custom_objects")
        | {"OBJECT_NAME": name, "SINGULAR_LABEL": one, "PLURAL_LABEL": many, "RECORD_NAME_LABEL": "Name"}
        | {"RECORD_NAME_TYPE": "TEXT", "ENABLE_NAVBAR": True, "ENABLE_WORKFLOWS": False}
        | {"CREATED_USER_ID": story.id("users", 0), "DATE_CREATED_UTC": created, "DATE_UPDATED_UTC": created}
        for name, (one, many, _, _) in OBJECTS.items()
    ]


def object_records(name: str, story: Story) -> Iterator[Record]:
    """The records of one object, from a generator of their own: they do not change the draws of other records."""
    label, _, first, size = OBJECTS[name]
    rng, count = Random(f"{name} {story.seed}"), max(1, round(size * story.scale))
    for number in range(count):
        created = story.start + (story.now - story.start) * number // count
        record = blank(name) | {
            "RECORD_ID": first + 3 * number,
            "RECORD_NAME": f"{label} {number + 1}",
            "DATE_CREATED_UTC": story.calendar.at(created),
            "DATE_UPDATED_UTC": story.calendar.at(created + int((story.now - created) * rng.random() ** 2)),
            "VISIBLE_TO": "EVERYONE",
        }
        owner = story.id("users", rng.randrange(story.size["users"]))
        record |= {"OWNER_USER_ID": owner, "CREATED_USER_ID": owner}
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
        "Report__c": nth(SENTENCES, number) if number % 2 else ...,
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
