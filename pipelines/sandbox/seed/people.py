"""Generated users, organisations, contacts and leads."""

from collections.abc import Iterator
from typing import Any

from pipelines.sandbox.store.shapes import Record

from .reference import HOBBIES, LEAD_SOURCES, LEAD_STATUSES, ZONES
from .story import DAY, Story
from .words import FIRST, INDUSTRIES, LAST, SENTENCES, STREETS, TITLES, email_address, nth

SOURCE_BASE, STATUS_BASE = 3_301, 3_401
_INTERESTS = ("Music", "Sports", "Travel", "Food", "Books")
_TIERS = ("Gold", "Silver", "Bronze")
_CAMPAIGNS = ("Spring", "Summer", "Autumn", "Winter")


def custom(record: Record, **values: Any) -> None:
    """Adds custom-field entries; ... as a value leaves the entry out, None keeps it without a value."""
    record["CUSTOMFIELDS"] = [
        {"FIELD_NAME": name, "FIELD_VALUE": value, "CUSTOM_FIELD_ID": name}
        for name, value in values.items()
        if value is not ...
    ]


def dated(record: Record, story: Story, created: int, earliest: int | None = None) -> int:
    """Sets the dates and users of a record; returns the second of its last update, which is not before `earliest`."""
    at, random = story.calendar.at, story.rng.random
    updated = story.since(max(created, earliest or created))
    record["DATE_CREATED_UTC"], record["DATE_UPDATED_UTC"] = at(created), at(updated)
    users = record.keys() & {"OWNER_USER_ID", "CREATED_USER_ID", "RESPONSIBLE_USER_ID"}
    if users:
        record |= dict.fromkeys(users, story.user())
    if "VISIBLE_TO" in record:
        record["VISIBLE_TO"] = "EVERYONE"
    if "LAST_ACTIVITY_DATE_UTC" in record and random() < 0.6:
        record["LAST_ACTIVITY_DATE_UTC"] = at(updated)
        if random() < 0.3 and "NEXT_ACTIVITY_DATE_UTC" in record:
            record["NEXT_ACTIVITY_DATE_UTC"] = at(story.now + int(random() * 30 * DAY))
    return updated


def address(prefix: str, story: Story, organisation: int, number: int) -> Record:
    """The fields of an address but for the street: the city of `organisation`, with a postcode from `number`."""
    city, state, postcode, country, _ = story.city(organisation)
    parts = {"CITY": city, "STATE": state, "POSTCODE": f"{postcode}{10 + number % 89}", "COUNTRY": country}
    return {f"{prefix}_{name}": value for name, value in parts.items()}


def users(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("users"):
        first, last = nth(FIRST, number * 5), nth(LAST, number * 3)
        yield record | {
            "CONTACT_ID": 400_000_000 + number,
            "FIRST_NAME": first,
            "LAST_NAME": last,
            "TIMEZONE_ID": nth(ZONES, number),
            "EMAIL_ADDRESS": email_address(first, f"{last}{number or ''}", "our-company.example"),
            "EMAIL_DROPBOX_IDENTIFIER": f"{first}{number}".lower(),
            "EMAIL_DROPBOX_ADDRESS": f"{first}{number}@mail.our-company.example".lower(),
            "ADMINISTRATOR": number < 2,
            "ACCOUNT_OWNER": number == 0,
            "ACTIVE": number % 6 != 5,
            "DATE_CREATED_UTC": story.calendar.at(story.start if number == 0 else created),
            "DATE_UPDATED_UTC": story.calendar.at(story.since(created)),
            "USER_CURRENCY": "EUR",
            "CONTACT_DISPLAY": "FirstLast",
            "CONTACT_ORDER": "FirstLast",
            "TASK_WEEK_START": 1,
            "INSTANCE_ID": 812_345,
            "PROFILE_ID": 41 + (number > 1),
            "ROLE_ID": None if number == 0 else 51,
        }


def organisations(story: Story) -> Iterator[Record]:
    random = story.rng.random
    for number, created, record in story.records("organisations"):
        key, domain = record["ORGANISATION_ID"], story.domain(number)
        record |= {
            "ORGANISATION_NAME": story.organisation_name(number),
            "BACKGROUND": nth(SENTENCES, number) if number % 3 == 0 else None,
            "PHONE": story.phone(story.city(number)[-1]),
            "WEBSITE": f"https://www.{domain}",
            "ADDRESS_BILLING_STREET": f"{1 + int(random() * 120)} {nth(STREETS, number)}",
            "SOCIAL_LINKEDIN": "" if number % 7 == 0 else None,
            "EMAILDOMAINS": [{"EMAIL_DOMAIN_ID": key + 600_000_000, "EMAIL_DOMAIN": domain}],
        }
        record |= address("ADDRESS_BILLING", story, number, number)
        updated = dated(record, story, created)
        custom(
            record,
            Tier__c=nth(_TIERS, number) if random() < 0.6 else None,
            Renewal_Review__c=story.calendar.at(updated + 180 * DAY) if number % 4 == 0 else ...,
            Delivery_Notes__c="Ring at the gate.\nForklift on site." if number % 9 == 0 else None,
        )
        if number % 8 == 0:
            record["DATES"] = [_date(key, "Founded", story.calendar.day(story.start - number % 9_000 * DAY))]
        yield record


def contacts(story: Story) -> Iterator[Record]:
    random = story.rng.random
    for number, created, record in story.records("contacts"):
        employer, (first, last) = story.employer[number], story.contact_names[number]
        dial = story.city(employer)[-1]
        record |= {
            "SALUTATION": "Dr" if number % 40 == 0 else None,
            "FIRST_NAME": first,
            "LAST_NAME": last,
            "ORGANISATION_ID": story.id("organisations", employer),
            "TITLE": story.pick(TITLES),
            "EMAIL_ADDRESS": email_address(first, last, story.domain(employer)),
            "PHONE": story.phone(dial),
            "PHONE_MOBILE": f"{dial} {7_000_000 + int(random() * 999_999)}" if number % 3 else "",
            "BACKGROUND": nth(SENTENCES, number) if number % 5 == 0 else None,
            "DATE_OF_BIRTH": story.calendar.day(int(random() * 1_100_000_000)) if number % 6 == 0 else None,
            "ADDRESS_MAIL_STREET": f"{1 + number % 120} {nth(STREETS, employer)}",
            "EMAIL_OPTED_OUT": random() < 0.08,
        }
        record |= address("ADDRESS_MAIL", story, employer, employer)
        dated(record, story, created)
        custom(
            record,
            Hobby__c=story.pick(HOBBIES) if random() < 0.5 else None,
            Interests__c=";".join(_INTERESTS[: 1 + number % 3]) if number % 2 else ...,
            Newsletter__c=random() < 0.4,
        )
        if number % 10 == 0:
            record["DATES"] = [_date(record["CONTACT_ID"], "Name day", story.calendar.day(created))]
        yield record


def leads(story: Story) -> Iterator[Record]:
    random = story.rng.random
    for number, created, record in story.records("leads"):
        contact, converted = story.became.get(number), None
        if contact is None:
            first, last, organisation = story.pick(FIRST), story.pick(LAST), story.size["organisations"] + number
        else:
            (first, last), organisation = story.contact_names[contact], story.employer[contact]
        record |= {
            "FIRST_NAME": first,
            "LAST_NAME": last,
            "ORGANISATION_NAME": story.organisation_name(organisation),
            "TITLE": story.pick(TITLES),
            "EMAIL": email_address(first, last, story.domain(organisation)) if number % 11 else "",
            "PHONE": story.phone(story.city(organisation)[-1]),
            "LEAD_DESCRIPTION": nth(SENTENCES, number) if number % 2 else "",
            "INDUSTRY": nth(INDUSTRIES, number),
            "EMPLOYEE_COUNT": int(random() ** 3 * 900),
            "LEAD_RATING": int(random() * 6),
            "LEAD_SOURCE_ID": SOURCE_BASE + int(random() * len(LEAD_SOURCES)),
            "LEAD_STATUS_ID": STATUS_BASE + int(random() * (len(LEAD_STATUSES) - 1)),
            "CONVERTED": contact is not None,
            "EMAIL_OPTED_OUT": random() < 0.05,
            "LINKED_EMAIL_ADDRESS": f"our-company-L{record['LEAD_ID']}-x7@mailbox.example",
        }
        record |= address("ADDRESS", story, organisation, number)
        if contact is not None:
            converted = story.created["contacts"][contact]
            record |= {
                "LEAD_STATUS_ID": STATUS_BASE + len(LEAD_STATUSES) - 1,
                "CONVERTED_CONTACT_ID": story.id("contacts", contact),
                "CONVERTED_ORGANISATION_ID": story.id("organisations", organisation),
                "CONVERTED_DATE_UTC": story.calendar.at(converted),
            }
            if contact in story.first_deal:
                record["CONVERTED_OPPORTUNITY_ID"] = story.id("opportunities", story.first_deal[contact])
        dated(record, story, created, converted)
        custom(
            record,
            Campaign__c=nth(_CAMPAIGNS, number) if number % 3 else ...,
            Budget__c=round(random() * 50_000, 2) if random() < 0.5 else None,
        )
        yield record


def _date(key: int, name: str, day: str) -> Record:
    return {
        "DATE_ID": key + 600_000_000,
        "OCCASION_NAME": name,
        "OCCASION_DATE": day,
        "REPEAT_YEARLY": True,
        "CREATE_TASK_YEARLY": False,
    }
