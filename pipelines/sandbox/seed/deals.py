"""Generated deals, projects, products, tasks, events and notes."""

from collections.abc import Iterator

from pipelines.sandbox.api.writes import value_of
from pipelines.sandbox.store.shapes import Record, state_row

from .people import custom, dated
from .reference import CATEGORY_IDS, PIPELINES, STATE_REASONS
from .story import DAY, STAGES, Story
from .words import DEALS, EVENTS, FAMILIES, NOTES, PRODUCT_WORDS, PROJECTS, SENTENCES, TASKS, nth

_BIDS = ("Fixed Bid", "Fixed Bid", "Per Hour", "Per Day", "Per Month", "Per Year")
_BY_PIPELINE = [[stage for stage in STAGES if stage[1] == 501 + index] for index in range(len(PIPELINES))]


def opportunities(story: Story) -> Iterator[Record]:
    random, calendar = story.rng.random, story.calendar
    for number, created, record in story.records("opportunities"):
        closed, state, employer = story.closed[number], story.state[number], story.employer[story.buyer[number]]
        stages = _BY_PIPELINE[number % 4 == 3]
        position = len(stages) - 1 if state == "WON" else int(random() * len(stages))
        bid = story.pick(_BIDS)
        fixed = bid == "Fixed Bid"
        record |= {
            "OPPORTUNITY_NAME": f"{story.organisation_name(employer)} - {story.pick(DEALS)}",
            "OPPORTUNITY_DETAILS": nth(SENTENCES, number) if number % 2 else None,
            "OPPORTUNITY_STATE": state,
            "CATEGORY_ID": CATEGORY_IDS["opportunity_categories"] + number % 2,
            "BID_CURRENCY": "EUR" if number % 3 else "USD",
            "BID_AMOUNT": round(500 + random() ** 2 * 80_000, 2) if fixed else 40 + int(random() * 900),
            "BID_TYPE": bid,
            "BID_DURATION": None if fixed else 1 + int(random() * 24),
            "PROBABILITY": 100 if state == "WON" else 0 if closed else 10 + 80 * position // len(stages),
            "ACTUAL_CLOSE_DATE": calendar.day(closed) if closed else None,
            "FORECAST_CLOSE_DATE": calendar.day((closed or story.now) + int(random() * 60 * DAY)),
            "PIPELINE_ID": stages[0][1],
            "STAGE_ID": stages[position][0],
            "ORGANISATION_ID": story.id("organisations", employer),
        }
        record["OPPORTUNITY_VALUE"] = value_of(record)
        dated(record, story, created, closed)
        custom(
            record,
            Deal_No__c=f"D-{number + 1:06}",
            Discount__c=5 * int(random() * 5) if number % 2 else None,
            Decision_Date__c=record["FORECAST_CLOSE_DATE"] if number % 3 == 0 else ...,
        )
        yield record


def history(story: Story) -> dict[int, list[Record]]:
    """The states of each opportunity, oldest first."""
    states = {}
    for number, created in enumerate(story.created["opportunities"]):
        key, closed, state = story.id("opportunities", number), story.closed[number], story.state[number]
        states[key] = [state_row(key, story.calendar.at(created), "OPEN", None)]
        if state != "OPEN":
            reasons = [
                {"STATE_REASON_ID": 901 + index, "STATE_REASON": text}
                for index, (kind, text) in enumerate(STATE_REASONS)
                if kind == state
            ]
            changed = story.calendar.at(closed or min(story.now, created + 20 * DAY))
            states[key].append(state_row(key, changed, state, reasons[number % len(reasons)]))
    return states


def projects(story: Story) -> Iterator[Record]:
    random, calendar, stages = story.rng.random, story.calendar, _BY_PIPELINE[2]
    for number, created, record in story.records("projects"):
        deal = story.deal_of[number]
        client = story.organisation_name(story.employer[story.buyer[deal]]) if deal is not None else "Internal"
        ended = created + int((20 + 200 * random()) * DAY)
        done, draw = ended < story.now, random()
        if done:
            status = "COMPLETED" if draw < 0.85 else "CANCELLED"
        else:
            status = "IN PROGRESS" if draw < 0.7 else "NOT STARTED"
        record |= {
            "PROJECT_NAME": f"{client} - {nth(PROJECTS, number)}",
            "STATUS": status,
            "PROJECT_DETAILS": nth(SENTENCES, number) if number % 2 else None,
            "STARTED_DATE": None if status == "NOT STARTED" else calendar.day(created),
            "COMPLETED_DATE": calendar.day(ended) if status == "COMPLETED" else None,
            "OPPORTUNITY_ID": None if deal is None else story.id("opportunities", deal),
            "CATEGORY_ID": CATEGORY_IDS["project_categories"] + (deal is None),
            "PIPELINE_ID": stages[0][1],
            "STAGE_ID": stages[-1 if status == "COMPLETED" else int(random() * len(stages))][0],
        }
        dated(record, story, created, ended if done else None)
        custom(record, Site_Code__c=f"S{number % 900 + 100}" if random() < 0.7 else None)
        yield record


def products(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("products"):
        word = nth(PRODUCT_WORDS, number)
        record |= {
            "PRODUCT_NAME": f"{word} {chr(65 + number // 8 % 26)}{number // 8 + 1}",
            "PRODUCT_CODE": f"P{number + 1:05}",
            "PRODUCT_SKU": f"{word[:3].upper()}-{number + 1:05}",
            "PRODUCT_FAMILY": nth(FAMILIES, number),
            "CURRENCY_CODE": "EUR",
            "DEFAULT_PRICE": round(9.5 + story.rng.random() * 2_000, 2),
            "ACTIVE": number % 9 != 8,
        }
        dated(record, story, created)
        custom(record, Weight_Kg__c=round(story.rng.random() * 12, 3) if number % 3 == 0 else None)
        yield record


def tasks(story: Story) -> Iterator[Record]:
    random, calendar = story.rng.random, story.calendar
    for number, created, record in story.records("tasks"):
        about, name, created = _link_subject(story, "tasks", number, ("contacts", "opportunities", "projects", "leads"))
        due = created + int((1 + 45 * random() ** 2) * DAY)
        completed = due - int(random() * 3 * DAY) if due < story.now and random() < 0.85 else None
        completed = max(completed, created) if completed else None
        record |= {
            "TITLE": story.pick(TASKS).format(name),
            "DETAILS": nth(SENTENCES, number) if number % 4 == 0 else None,
            "CATEGORY_ID": CATEGORY_IDS["task_categories"] + number % 3,
            "START_DATE": calendar.day(created) if number % 3 == 0 else None,
            "DUE_DATE": calendar.day(due),
            "COMPLETED": completed is not None,
            "PRIORITY": 1 + int(random() * 3),
            "COMPLETED_DATE_UTC": calendar.at(completed) if completed else None,
            "STATUS": "NOT STARTED" if random() < 0.5 else "IN PROGRESS" if random() < 0.7 else "WAITING",
            "REMINDER_SENT": completed is not None,
            "OWNER_VISIBLE": True,
            "PUBLICLY_VISIBLE": True,
        }
        record["PERCENT_COMPLETE"] = 100 if completed else 0 if record["STATUS"] == "NOT STARTED" else 50
        if completed:
            record["STATUS"] = "COMPLETED"
        if about[0] in {"opportunities", "projects"}:
            record["OPPORTUNITY_ID" if about[0] == "opportunities" else "PROJECT_ID"] = story.id(*about)
        dated(record, story, created, completed)
        record["ASSIGNED_BY_USER_ID"], record["ASSIGNED_DATE_UTC"] = record["OWNER_USER_ID"], record["DATE_CREATED_UTC"]
        custom(record, Billable__c=random() < 0.3 if number % 2 else ...)
        yield record


def events(story: Story) -> Iterator[Record]:
    random, calendar = story.rng.random, story.calendar
    for number, created, record in story.records("events"):
        _, name, created = _link_subject(story, "events", number, ("contacts", "opportunities", "organisations"))
        begins = (created + int(random() * 30 * DAY)) // 1_800 * 1_800 + 1_800
        record |= {
            "TITLE": story.pick(EVENTS).format(name),
            "LOCATION": "Online" if number % 2 else story.city(number)[0],
            "START_DATE_UTC": calendar.at(begins),
            "END_DATE_UTC": calendar.at(begins + 3_600),
            "ALL_DAY": number % 25 == 0,
            "DETAILS": nth(SENTENCES, number) if number % 3 == 0 else None,
            "REMINDER_DATE_UTC": calendar.at(begins - 900) if number % 2 else None,
            "REMINDER_SENT": number % 2 == 1 and begins - 900 < story.now,
        }
        dated(record, story, created)
        custom(record, Room__c=nth(("Blue", "Green", "Video call"), number) if number % 4 else ...)
        yield record


def notes(story: Story) -> Iterator[Record]:
    kinds = ("contacts", "opportunities", "organisations", "projects", "leads")
    for number, created, record in story.records("notes"):
        _, name, created = _link_subject(story, "notes", number, kinds)
        first = int(story.rng.random() * len(SENTENCES))
        record["TITLE"] = f"{nth(NOTES, number)}: {name}"[:255]
        record["BODY"] = f"<p>{SENTENCES[first]} {SENTENCES[first - 1]}</p>"
        dated(record, story, created)
        yield record


def _link_subject(story: Story, entity: str, number: int, kinds: tuple[str, ...]) -> tuple[tuple[str, int], str, int]:
    """Links a record to another one of `kinds`.

    Returns the other record (entity, number), how a title names it, and the second when both existed.
    """
    created = story.created[entity][number]
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
    return (kind, other), name, max(created, story.created[kind][other])
