"""What makes the story of the generated records: a function for each entity that has one, named like it."""

from collections.abc import Iterator

from pipelines.sandbox.api.writes import value_of
from pipelines.sandbox.store.shapes import Record, state_row

from .data import FACTS, STAGES, WORDS, email_address, nth
from .fill import Row
from .story import DAY, Story, at, day

_CONVERTED = ("CONVERTED_CONTACT_ID", "CONVERTED_ORGANISATION_ID", "CONVERTED_OPPORTUNITY_ID", "CONVERTED_DATE_UTC")
_REASONS = "opportunity_state_reasons"
_BIDS = ("Fixed Bid", "Fixed Bid", "Per Hour", "Per Day", "Per Month", "Per Year")
_FOLLOWED = (("CONTACT", "contacts"), ("OPPORTUNITY", "opportunities"), ("ORGANISATION", "organisations"))


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


def opportunities(row: Row) -> Record:
    story, number, random = row.story, row.number, row.story.rng.random
    closed, state, employer = story.closed[number], story.state[number], story.employer[story.buyer[number]]
    pipeline, bid = story.id("pipelines", number % 4 == 3), story.pick(_BIDS)
    stages = STAGES[pipeline]
    position = len(stages) - 1 if state == "WON" else int(random() * len(stages))
    fixed = bid == "Fixed Bid"
    row.earliest = closed or row.created
    record = {
        "OPPORTUNITY_NAME": f"{story.organisation_name(employer)} - {story.pick(WORDS['deals'])}",
        "OPPORTUNITY_STATE": state,
        "BID_AMOUNT": round(500 + random() ** 2 * 80_000, 2) if fixed else 40 + int(random() * 900),
        "BID_TYPE": bid,
        "BID_DURATION": None if fixed else 1 + int(random() * 24),
        "PROBABILITY": 100 if state == "WON" else 0 if closed else 10 + 80 * position // len(stages),
        "ACTUAL_CLOSE_DATE": day(closed) if closed else None,
        "FORECAST_CLOSE_DATE": day((closed or story.now) + int(random() * 60 * DAY)),
        "PIPELINE_ID": pipeline,
        "STAGE_ID": stages[position],
        "ORGANISATION_ID": story.id("organisations", employer),
    }
    return record | {"OPPORTUNITY_VALUE": value_of(record)}


def states(row: Row) -> Iterator[Record]:
    """The state history of an opportunity, oldest first."""
    closed, state, reasons = row.story.closed[row.number], row.story.state[row.number], FACTS[_REASONS]
    yield state_row(row.id, at(row.created), "OPEN", None)
    if state != "OPEN":
        possible = [index for index, each in enumerate(reasons["FOR_OPPORTUNITY_STATE"]) if each == state]
        reason = nth(possible, row.number)
        why = {"STATE_REASON_ID": reasons["id"] + reason, "STATE_REASON": reasons["STATE_REASON"][reason]}
        yield state_row(row.id, at(closed or min(row.story.now, row.created + 20 * DAY)), state, why)


def projects(row: Row) -> Record:
    story, number, random = row.story, row.number, row.story.rng.random
    deal, pipeline = story.deal_of[number], story.id("pipelines", 2)
    client = "Internal" if deal is None else story.organisation_name(story.employer[story.buyer[deal]])
    ended, draw = row.created + int((20 + 200 * random()) * DAY), random()
    if ended < story.now:
        status, row.earliest = "COMPLETED" if draw < 0.85 else "CANCELLED", ended
    else:
        status = "IN PROGRESS" if draw < 0.7 else "NOT STARTED"
    return {
        "PROJECT_NAME": f"{client} - {nth(WORDS['projects'], number)}",
        "STATUS": status,
        "STARTED_DATE": None if status == "NOT STARTED" else day(row.created),
        "COMPLETED_DATE": day(ended) if status == "COMPLETED" else None,
        "OPPORTUNITY_ID": None if deal is None else story.id("opportunities", deal),
        "CATEGORY_ID": story.id("project_categories", deal is None),
        "PIPELINE_ID": pipeline,
        "STAGE_ID": STAGES[pipeline][-1] if status == "COMPLETED" else story.pick(STAGES[pipeline]),
    }


def products(row: Row) -> Record:
    return {"DEFAULT_PRICE": _price(row.number)}


def pricebook_entries(row: Row) -> Record:
    """Each product in each book."""
    product, book = divmod(row.number, row.story.size["pricebooks"])
    return {
        "PRODUCT_ID": row.ref("products", product),
        "PRICE": round(_price(product) * 0.9, 2) if book else _price(product),
        "ACTIVE": product % 9 != 8,
    }


def opportunity_line_items(row: Row) -> Record:
    deal = row.number * 5 % row.story.size["opportunities"]
    return {"OPPORTUNITY_ID": row.ref("opportunities", deal)} | _line(row.story, row.number)


def quotes(row: Row) -> Record:
    story, number = row.story, row.number
    deal = number * 3 % story.size["opportunities"]
    buyer = story.buyer[deal]
    row.place = story.employer[buyer]
    total = round(sum(_line(story, 2 * number + item)["TOTAL_PRICE"] for item in range(2)), 2)
    return {
        "OPPORTUNITY_ID": row.ref("opportunities", deal),
        "CONTACT_ID": story.id("contacts", buyer),
        "ORGANISATION_ID": story.id("organisations", row.place),
        "QUOTATION_NAME": f"Offer {number + 1} to {story.organisation_name(row.place)}",
        "SUBTOTAL": total,
        "TOTAL_PRICE": total,
        "GRAND_TOTAL": round(total + 25, 2),
        "QUOTATION_EXPIRATION_DATE": day(row.created + 30 * DAY),
    }


def quote_line_items(row: Row) -> Record:
    """Two of each quote."""
    return {"QUOTE_ID": row.ref("quotes", row.number // 2)} | _line(row.story, row.number)


def tasks(row: Row) -> Record:
    story, number, random = row.story, row.number, row.story.rng.random
    kind, about, name = _subject(row, ("contacts", "opportunities", "projects", "leads"))
    due = row.created + int((1 + 45 * random() ** 2) * DAY)
    done = due < story.now and random() < 0.85
    completed = max(due - int(random() * 3 * DAY), row.created)
    status = "NOT STARTED" if random() < 0.5 else "IN PROGRESS" if random() < 0.7 else "WAITING"
    row.earliest = completed if done else row.created
    return {
        "TITLE": story.pick(WORDS["tasks"]).format(name),
        "DUE_DATE": day(due),
        "COMPLETED": done,
        "COMPLETED_DATE_UTC": at(completed) if done else None,
        "STATUS": "COMPLETED" if done else status,
        "START_DATE": day(row.created) if number % 3 == 0 else None,
        "PERCENT_COMPLETE": 100 if done else 0 if status == "NOT STARTED" else 50,
        "OPPORTUNITY_ID": about if kind == "opportunities" else None,
        "PROJECT_ID": about if kind == "projects" else None,
    }


def events(row: Row) -> Record:
    story, number, random = row.story, row.number, row.story.rng.random
    *_, name = _subject(row, ("contacts", "opportunities", "organisations"))
    begins = (row.created + int(random() * 30 * DAY)) // 1_800 * 1_800 + 1_800
    return {
        "TITLE": story.pick(WORDS["events"]).format(name),
        "LOCATION": "Online" if number % 2 else story.city(number)[0],
        "START_DATE_UTC": at(begins),
        "END_DATE_UTC": at(begins + 3_600),
        "ALL_DAY": number % 25 == 0,
        "REMINDER_DATE_UTC": at(begins - 900) if number % 2 else None,
        "REMINDER_SENT": number % 2 == 1 and begins - 900 < story.now,
    }


def notes(row: Row) -> Record:
    *_, name = _subject(row, ("contacts", "opportunities", "organisations", "projects", "leads"))
    sentences = row.story.pick(WORDS["sentences"]), nth(WORDS["sentences"], row.number)
    return {"TITLE": f"{nth(WORDS['notes'], row.number)}: {name}"[:255], "BODY": f"<p>{' '.join(sentences)}</p>"}


def emails(row: Row) -> Record:
    story, number = row.story, row.number
    contact = story.earlier("contacts", number / story.size["emails"])
    customer = email_address(*story.contact_names[contact], story.domain(story.employer[contact]))
    ends = customer, "sales@our-company.example"
    row.ref("contacts", contact)
    story.connect(("emails", number), ("contacts", contact), both=False)
    return {
        "EMAIL_FROM": ends[number % 3 > 0],
        "EMAIL_TO": ends[number % 3 == 0],
        "SUBJECT": f"{'' if number % 3 else 'Re: '}{story.pick(WORDS['subjects'])}",
    }


def milestones(row: Row) -> Record:
    project = row.ref("projects", row.number * 3 % row.story.size["projects"])
    due = row.created + (7 + row.number % 60) * DAY
    done = due < row.story.now and row.number % 6 != 0
    row.earliest = due if done else row.created
    return {
        "PROJECT_ID": project,
        "COMPLETED": done,
        "DUE_DATE": day(due),
        "COMPLETED_DATE_UTC": at(due) if done else None,
    }


def team_members(row: Row) -> Record:
    """Each user is in one of two teams, and some in both."""
    users = row.story.size["users"]
    team, user = (row.number // users + row.number % users) % 2, row.number % users
    return {"TEAM_ID": row.ref("teams", team), "MEMBER_USER_ID": row.story.id("users", user)}


def teams(row: Row) -> Record:
    numbers = range(row.story.size["team_members"])
    members = (Row(row.story, "team_members", number, row.created) for number in numbers)
    made = [{"PERMISSION_ID": member.id} | team_members(member) for member in members]
    return {"TEAMMEMBERS": [member for member in made if member["TEAM_ID"] == row.id]}


def follows(row: Row) -> Record:
    number, place = divmod(row.number, len(_FOLLOWED))
    kind, entity = _FOLLOWED[place]
    return {"RECORD_TYPE": kind, "RECORD_ID": row.story.id(entity, number)}


def knowledge_articles(row: Row) -> Record:
    published = at(row.created) if row.number % 5 != 4 else None
    archived = None if row.number % 10 else at(row.created)
    dates = {"FIRST_PUBLISHED_DATE_UTC": published, "LAST_PUBLISHED_DATE_UTC": published}
    return dates | {"ARCHIVED_DATE_UTC": archived}


def community_posts(row: Row) -> Record:
    asked = row.story.earlier("tickets", row.number / row.story.size["community_posts"])
    return {"TICKET_ID": None if row.number % 6 else str(row.story.id("tickets", asked))}


def community_comments(row: Row) -> Record:
    post, forums = row.number % row.story.size["community_posts"], row.story.size["community_forums"]
    forum = row.story.id("community_forums", post % forums)
    return {"POST_ID": row.ref("community_posts", post), "FORUM_ID": forum}


def child_row(row: Row, place: int, record: Record) -> Record:
    """The values of the child row at a place below a record."""
    match row.entity:
        case "comments":
            return {"BODY": row.story.pick(WORDS["sentences"])}
        case "static_list_memberships":
            return {"LIST_ID": 4_001 + place}
        case "quotation_documents":
            return {"QUOTATION_NAME": record["QUOTATION_NAME"], "FILE_ID": str(920_000 + row.number)}
        case "ticket_comments" if place % 2:
            return {"AUTHOR_CONTACT_ID": None}
        case "ticket_comments":
            return {"AUTHOR_CONTACT_ID": record["CONTACT_ID"], "CREATED_USER_ID": None}
    return {"FILE_SIZE": 9_000 + row.number * 7_919 % 4_000_000}


def _date(row: Row, name: str, date: str) -> Record:
    names = {"DATE_ID": row.id + 600_000_000, "OCCASION_NAME": name, "OCCASION_DATE": date}
    return names | {"REPEAT_YEARLY": True, "CREATE_TASK_YEARLY": False}


def _price(product: int) -> float:
    return 9.75 + product * 37 % 2_000


def _line(story: Story, number: int) -> Record:
    """The product, quantity and prices of a line item."""
    product = number % story.size["products"]
    quantity, price, discount = 1 + number % 4, _price(product), 5 if number % 6 == 0 else 0
    return {
        "PRICEBOOK_ENTRY_ID": story.id("pricebook_entries", product * story.size["pricebooks"]),
        "QUANTITY": quantity,
        "LIST_PRICE": price,
        "UNIT_PRICE": price,
        "SUBTOTAL": price * quantity,
        "DISCOUNT": discount,
        "TOTAL_PRICE": round(price * quantity * (1 - discount / 100), 2),
    }


def _subject(row: Row, kinds: tuple[str, ...]) -> tuple[str, int, str]:
    """Links a record to another one of `kinds`, which exists when it is created.

    Returns the other record's entity and id, and how a title names it.
    """
    story, entity, number = row.story, row.entity, row.number
    kind = kinds[int(story.rng.random() ** 1.5 * len(kinds))]
    other = story.earlier(kind, number / story.size[entity])
    if kind == "contacts":
        name = " ".join(story.contact_names[other])
    elif kind == "organisations":
        name = story.organisation_name(other)
    elif kind == "opportunities":
        name = story.organisation_name(story.employer[story.buyer[other]])
    else:
        name = "the project team" if kind == "projects" else "the new lead"
    story.connect((entity, number), (kind, other), both=False)
    return kind, row.ref(kind, other), name
