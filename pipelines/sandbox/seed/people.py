"""What makes the story of users, organisations, contacts, leads, prospects and tickets."""

from pipelines.sandbox.store.shapes import Record

from .data import WORDS, email_address, nth
from .fill import Row
from .story import DAY, at, day

_CONVERTED = ("CONVERTED_CONTACT_ID", "CONVERTED_ORGANISATION_ID", "CONVERTED_OPPORTUNITY_ID", "CONVERTED_DATE_UTC")


def users(row: Row) -> Record:
    number, first, last = row.number, nth(WORDS["first"], row.number * 5), nth(WORDS["last"], row.number * 3)
    row.created = row.created if number else row.story.start
    return {
        "FIRST_NAME": first,
        "LAST_NAME": last,
        "EMAIL_ADDRESS": email_address(first, f"{last}{number or ''}", "our-company.example"),
        "CONTACT_ID": 400_000_000 + number,
        "ADMINISTRATOR": number < 2,
        "ACCOUNT_OWNER": number == 0,
    }


def organisations(row: Row) -> Record:
    number, founded = row.number, day(row.story.start - (365 + row.number * 37 % 9_000) * DAY)
    return {
        "ORGANISATION_NAME": row.story.organisation_name(number),
        "EMAILDOMAINS": [{"EMAIL_DOMAIN_ID": row.id + 600_000_000, "EMAIL_DOMAIN": row.story.domain(number)}],
        "DATES": [_date(row, "Founded", founded)] if number % 8 == 0 else [],
    }


def contacts(row: Row) -> Record:
    story, number = row.story, row.number
    row.place, (first, last) = story.employer[number], story.contact_names[number]
    return {
        "FIRST_NAME": first,
        "LAST_NAME": last,
        "ORGANISATION_ID": story.id("organisations", row.place),
        "EMAIL_ADDRESS": email_address(first, last, story.domain(row.place)),
        "DATE_OF_BIRTH": None if number % 6 else day(int(story.rng.random() * 1_100_000_000)),
        "DATES": [] if number % 10 else [_date(row, "Name day", day(row.created))],
    }


def leads(row: Row) -> Record:
    story, contact = row.story, row.story.became.get(row.number)
    if contact is None:
        first, last = story.pick(WORDS["first"]), story.pick(WORDS["last"])
        row.place = story.size["organisations"] + row.number
        status, converted = story.earlier("lead_statuses", 5 / 6), dict.fromkeys(_CONVERTED)
    else:
        (first, last), row.place = story.contact_names[contact], story.employer[contact]
        status, deal = story.size["lead_statuses"] - 1, story.first_deal.get(contact)
        row.earliest = story.created["contacts"][contact]
        deal_id = None if deal is None else story.id("opportunities", deal)
        ids = story.id("contacts", contact), story.id("organisations", row.place), deal_id
        converted = dict(zip(_CONVERTED, (*ids, at(row.earliest)), strict=True))
    return converted | {
        "FIRST_NAME": first,
        "LAST_NAME": last,
        "ORGANISATION_NAME": story.organisation_name(row.place),
        "EMAIL": email_address(first, last, story.domain(row.place)) if row.number % 11 else "",
        "LEAD_STATUS_ID": story.id("lead_statuses", status),
        "CONVERTED": contact is not None,
    }


def prospects(row: Row) -> Record:
    """Some have become a lead, others a contact."""
    story, number = row.story, row.number
    contact = number * 5 % story.size["contacts"] if number % 4 == 1 else None
    lead = number * 3 % story.size["leads"] if number % 4 == 0 else None
    row.place = story.size["organisations"] + number
    return {
        "LEAD_ID": None if lead is None else row.ref("leads", lead),
        "LEAD_CONVERSION_DATE_UTC": None if lead is None else at(row.created),
        "CONTACT_ID": None if contact is None else row.ref("contacts", contact),
        "ORGANISATION_ID": None if contact is None else row.ref("organisations", story.employer[contact]),
        "ORGANISATION_NAME": story.organisation_name(row.place),
    }


def tickets(row: Row) -> Record:
    story = row.story
    contact = story.earlier("contacts", row.number / story.size["tickets"])
    key, employer = row.ref("contacts", contact), story.id("organisations", story.employer[contact])
    solved = row.created + int((1 + 20 * story.rng.random()) * DAY)
    closed = at(solved) if solved < story.now else None
    row.earliest = solved if closed else row.created
    return {
        "CONTACT_ID": key,
        "ORGANISATION_ID": employer,
        "TICKET_STATUS": "CLOSED" if closed else "OPEN",
        "DATE_SOLVED_UTC": closed,
        "DATE_CLOSED_UTC": closed,
    }


def _date(row: Row, name: str, date: str) -> Record:
    names = {"DATE_ID": row.id + 600_000_000, "OCCASION_NAME": name, "OCCASION_DATE": date}
    return names | {"REPEAT_YEARLY": True, "CREATE_TASK_YEARLY": False}
