"""The records of users, organisations, contacts and leads, written from the story."""

from collections.abc import Iterator
from typing import Any

from pipelines.sandbox.store.shapes import Record, blank

from .reference import HOBBIES, LEAD_SOURCES, LEAD_STATUSES, ZONES
from .story import Story
from .words import FIRST, INDUSTRIES, LAST, SENTENCES, STREETS, TAGS, TITLES

SOURCE_BASE, STATUS_BASE = 3_301, 3_401
_INTERESTS = ("Music", "Sports", "Travel", "Food", "Books")
_TIERS = ("Gold", "Silver", "Bronze")


def custom(record: Record, **values: Any) -> None:
    """Adds custom-field entries; ... as a value leaves the entry out, None keeps it without a value."""
    record["CUSTOMFIELDS"] = [
        {"FIELD_NAME": name, "FIELD_VALUE": value, "CUSTOM_FIELD_ID": name}
        for name, value in values.items()
        if value is not ...
    ]


def tags(story: Story, entity: str) -> list[Record]:
    """None to two tags of the record type's vocabulary."""
    words, draw = TAGS[entity], story.rng.random()
    if draw < 0.5:
        return []
    first = int(draw * 977) % len(words)
    picked = (words[first],) if draw < 0.85 else (words[first], words[first - 1])
    return [{"TAG_NAME": word} for word in picked]


def dated(record: Record, story: Story, created: int, earliest: int | None = None) -> int:
    """Sets both stamps, the activity dates and the owner; returns the second of the last update."""
    at, random = story.calendar.at, story.rng.random
    updated = story.since(max(created, earliest or created))
    record["DATE_CREATED_UTC"], record["DATE_UPDATED_UTC"] = at(created), at(updated)
    record["OWNER_USER_ID"] = user = story.user()
    if "CREATED_USER_ID" in record:
        record["CREATED_USER_ID"] = user
    if "VISIBLE_TO" in record:
        record["VISIBLE_TO"] = "EVERYONE"
    if "LAST_ACTIVITY_DATE_UTC" in record and random() < 0.6:
        record["LAST_ACTIVITY_DATE_UTC"] = at(updated)
        if random() < 0.3 and "NEXT_ACTIVITY_DATE_UTC" in record:
            record["NEXT_ACTIVITY_DATE_UTC"] = at(story.now + int(random() * 30 * 86_400))
    return updated


def stamped(record: Record, story: Story, created: int) -> Record:
    """The record with both stamps, and the user who made it where that is told."""
    record["DATE_CREATED_UTC"] = story.calendar.at(created)
    record["DATE_UPDATED_UTC"] = story.calendar.at(story.since(created))
    if "CREATED_USER_ID" in record:
        record["CREATED_USER_ID"] = story.user()
    return record


def users(story: Story) -> Iterator[Record]:
    for number, created in enumerate(story.created["users"]):
        record = blank("users")
        first, last = FIRST[number * 5 % len(FIRST)], LAST[number * 3 % len(LAST)]
        record |= {
            "USER_ID": story.id("users", number),
            "CONTACT_ID": 400_000_000 + number,
            "FIRST_NAME": first,
            "LAST_NAME": last,
            "TIMEZONE_ID": ZONES[number % len(ZONES)],
            "EMAIL_ADDRESS": f"{first}.{last}{number or ''}@our-company.example".lower().replace("'", ""),
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
        yield record


def organisations(story: Story) -> Iterator[Record]:
    random = story.rng.random
    for number, created in enumerate(story.created["organisations"]):
        record, name, domain = blank("organisations"), story.organisation_name(number), story.domain(number)
        city, state, postcode, country, dial = story.city(number)
        key = record["ORGANISATION_ID"] = story.id("organisations", number)
        record["ORGANISATION_NAME"] = name
        record["BACKGROUND"] = SENTENCES[number % len(SENTENCES)] if number % 3 == 0 else None
        record["PHONE"] = f"{dial} {200_000 + int(random() * 799_999)}"
        record["WEBSITE"] = f"https://www.{domain}"
        record["ADDRESS_BILLING_STREET"] = f"{1 + int(random() * 120)} {STREETS[number % len(STREETS)]}"
        record["ADDRESS_BILLING_CITY"] = city
        record["ADDRESS_BILLING_STATE"] = state
        record["ADDRESS_BILLING_POSTCODE"] = f"{postcode}{10 + number % 89}"
        record["ADDRESS_BILLING_COUNTRY"] = country
        record["SOCIAL_LINKEDIN"] = "" if number % 7 == 0 else None
        updated = dated(record, story, created)
        custom(
            record,
            Tier__c=_TIERS[number % 3] if random() < 0.6 else None,
            Renewal_Review__c=story.calendar.at(updated + 15_552_000) if number % 4 == 0 else ...,
            Delivery_Notes__c="Ring at the gate.\nForklift on site." if number % 9 == 0 else None,
        )
        record["TAGS"] = tags(story, "organisations")
        if number % 8 == 0:
            record["DATES"] = [_date(key, "Founded", story.calendar.day(story.start - number % 9_000 * 86_400))]
        record["EMAILDOMAINS"] = [{"EMAIL_DOMAIN_ID": key + 600_000_000, "EMAIL_DOMAIN": domain}]
        record["LINKS"] = story.links_of("organisations", number)
        yield record


def contacts(story: Story) -> Iterator[Record]:
    random = story.rng.random
    for number, created in enumerate(story.created["contacts"]):
        record, employer = blank("contacts"), story.employer[number]
        first, last = story.contact_name(number)
        city, state, postcode, country, dial = story.city(employer)
        key = record["CONTACT_ID"] = story.id("contacts", number)
        record["SALUTATION"] = "Dr" if number % 40 == 0 else None
        record["FIRST_NAME"], record["LAST_NAME"] = first, last
        record["ORGANISATION_ID"] = story.id("organisations", employer)
        record["TITLE"] = TITLES[int(random() * len(TITLES))]
        record["EMAIL_ADDRESS"] = f"{first}.{last}@{story.domain(employer)}".lower().replace("'", "")
        record["PHONE"] = f"{dial} {200_000 + int(random() * 799_999)}"
        record["PHONE_MOBILE"] = f"{dial} {7_000_000 + int(random() * 999_999)}" if number % 3 else ""
        record["BACKGROUND"] = SENTENCES[number % len(SENTENCES)] if number % 5 == 0 else None
        record["DATE_OF_BIRTH"] = story.calendar.day(int(random() * 1_100_000_000)) if number % 6 == 0 else None
        record["ADDRESS_MAIL_STREET"] = f"{1 + number % 120} {STREETS[employer % len(STREETS)]}"
        record["ADDRESS_MAIL_CITY"], record["ADDRESS_MAIL_STATE"] = city, state
        record["ADDRESS_MAIL_POSTCODE"], record["ADDRESS_MAIL_COUNTRY"] = f"{postcode}{10 + employer % 89}", country
        record["EMAIL_OPTED_OUT"] = random() < 0.08
        dated(record, story, created)
        interests = ";".join(_INTERESTS[: 1 + number % 3])
        custom(
            record,
            Hobby__c=HOBBIES[int(random() * len(HOBBIES))] if random() < 0.5 else None,
            Interests__c=interests if number % 2 else ...,
            Newsletter__c=random() < 0.4,
        )
        record["TAGS"] = tags(story, "contacts")
        if number % 10 == 0:
            record["DATES"] = [_date(key, "Name day", story.calendar.day(created))]
        record["LINKS"] = story.links_of("contacts", number)
        yield record


def leads(story: Story) -> Iterator[Record]:
    random, calendar = story.rng.random, story.calendar
    for number, created in enumerate(story.created["leads"]):
        record, contact = blank("leads"), story.became.get(number)
        if contact is None:
            first, last = FIRST[int(random() * len(FIRST))], LAST[int(random() * len(LAST))]
            organisation = story.size["organisations"] + number
        else:
            (first, last), organisation = story.contact_name(contact), story.employer[contact]
        company = story.organisation_name(organisation)
        city, state, postcode, country, dial = story.city(organisation)
        record["LEAD_ID"] = story.id("leads", number)
        record["FIRST_NAME"], record["LAST_NAME"], record["ORGANISATION_NAME"] = first, last, company
        record["TITLE"] = TITLES[int(random() * len(TITLES))]
        record["EMAIL"] = f"{first}.{last}@{story.domain(organisation)}".lower().replace("'", "") if number % 11 else ""
        record["PHONE"] = f"{dial} {200_000 + int(random() * 799_999)}"
        record["LEAD_DESCRIPTION"] = SENTENCES[number % len(SENTENCES)] if number % 2 else ""
        record["INDUSTRY"] = INDUSTRIES[number % len(INDUSTRIES)]
        record["EMPLOYEE_COUNT"] = int(random() ** 3 * 900)
        record["LEAD_RATING"] = int(random() * 6)
        record["LEAD_SOURCE_ID"] = SOURCE_BASE + int(random() * len(LEAD_SOURCES))
        record["LEAD_STATUS_ID"] = STATUS_BASE + int(random() * (len(LEAD_STATUSES) - 1))
        record["ADDRESS_CITY"], record["ADDRESS_STATE"], record["ADDRESS_COUNTRY"] = city, state, country
        record["ADDRESS_POSTCODE"] = f"{postcode}{10 + number % 89}"
        record["CONVERTED"], record["EMAIL_OPTED_OUT"] = contact is not None, random() < 0.05
        converted = None
        if contact is not None:
            converted = story.created["contacts"][contact]
            record["LEAD_STATUS_ID"] = STATUS_BASE + len(LEAD_STATUSES) - 1
            record["CONVERTED_CONTACT_ID"] = story.id("contacts", contact)
            record["CONVERTED_ORGANISATION_ID"] = story.id("organisations", organisation)
            record["CONVERTED_DATE_UTC"] = calendar.at(converted)
            if contact in story.first_deal:
                record["CONVERTED_OPPORTUNITY_ID"] = story.id("opportunities", story.first_deal[contact])
        dated(record, story, created, converted)
        record["RESPONSIBLE_USER_ID"] = record["OWNER_USER_ID"]
        record["LINKED_EMAIL_ADDRESS"] = f"our-company-L{record['LEAD_ID']}-x7@mailbox.example"
        custom(
            record,
            Campaign__c=("Spring", "Summer", "Autumn", "Winter")[number % 4] if number % 3 else ...,
            Budget__c=round(random() * 50_000, 2) if random() < 0.5 else None,
        )
        record["TAGS"] = tags(story, "leads")
        yield record


def _date(key: int, name: str, day: str) -> Record:
    return {
        "DATE_ID": key + 600_000_000,
        "OCCASION_NAME": name,
        "OCCASION_DATE": day,
        "REPEAT_YEARLY": True,
        "CREATE_TASK_YEARLY": False,
    }
