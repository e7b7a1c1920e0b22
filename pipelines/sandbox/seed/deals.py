"""The records of deals, projects, products, tasks, events and notes, written from the story."""

from collections.abc import Iterator

from pipelines.sandbox.api.writes import value_of
from pipelines.sandbox.store.shapes import Record, blank

from .people import custom, dated, tags
from .reference import PIPELINES, STATE_REASONS
from .story import STAGES, Story
from .words import DEALS, EVENTS, FAMILIES, NOTES, PRODUCT_WORDS, PROJECTS, SENTENCES, TASKS

DAY = 86_400
_OPPORTUNITY_CATEGORY, _PROJECT_CATEGORY, _TASK_CATEGORY = 7_001, 7_101, 7_201
_BIDS = ("Fixed Bid", "Fixed Bid", "Per Hour", "Per Day", "Per Month", "Per Year")
_BY_PIPELINE = [[stage for stage in STAGES if stage[1] == 501 + index] for index in range(len(PIPELINES))]


def opportunities(story: Story) -> Iterator[Record]:
    random, calendar = story.rng.random, story.calendar
    for number, created in enumerate(story.created["opportunities"]):
        record, closed, state = blank("opportunities"), story.closed[number], story.state[number]
        buyer = story.buyer[number]
        employer = story.employer[buyer]
        stages = _BY_PIPELINE[number % 4 == 3]
        position = len(stages) - 1 if state == "WON" else int(random() * len(stages))
        bid = _BIDS[int(random() * len(_BIDS))]
        fixed = bid == "Fixed Bid"
        record["OPPORTUNITY_ID"] = story.id("opportunities", number)
        record["OPPORTUNITY_NAME"] = f"{story.organisation_name(employer)} - {DEALS[int(random() * len(DEALS))]}"
        record["OPPORTUNITY_DETAILS"] = SENTENCES[number % len(SENTENCES)] if number % 2 else None
        record["OPPORTUNITY_STATE"] = state
        record["CATEGORY_ID"] = _OPPORTUNITY_CATEGORY + number % 2
        record["BID_CURRENCY"] = "EUR" if number % 3 else "USD"
        record["BID_AMOUNT"] = round(500 + random() ** 2 * 80_000, 2) if fixed else 40 + int(random() * 900)
        record["BID_TYPE"] = bid
        record["BID_DURATION"] = None if fixed else 1 + int(random() * 24)
        record["OPPORTUNITY_VALUE"] = value_of(record)
        record["PROBABILITY"] = 100 if state == "WON" else 0 if closed else 10 + 80 * position // len(stages)
        record["ACTUAL_CLOSE_DATE"] = calendar.day(closed) if closed else None
        record["FORECAST_CLOSE_DATE"] = calendar.day((closed or story.now) + int(random() * 60 * DAY))
        record["PIPELINE_ID"], record["STAGE_ID"] = stages[0][1], stages[position][0]
        record["ORGANISATION_ID"] = story.id("organisations", employer)
        dated(record, story, created, closed)
        record["RESPONSIBLE_USER_ID"] = record["OWNER_USER_ID"]
        custom(
            record,
            Deal_No__c=f"D-{number + 1:06}",
            Discount__c=5 * int(random() * 5) if number % 2 else None,
            Decision_Date__c=record["FORECAST_CLOSE_DATE"] if number % 3 == 0 else ...,
        )
        record["TAGS"] = tags(story, "opportunities")
        record["LINKS"] = story.links_of("opportunities", number)
        yield record


def history(story: Story) -> dict[int, list[Record]]:
    """The states each opportunity has been in, oldest first."""
    found = {}
    for number, created in enumerate(story.created["opportunities"]):
        key, closed, state = story.id("opportunities", number), story.closed[number], story.state[number]
        rows = [(created, "OPEN", None, None)]
        if state != "OPEN":
            reasons = [(901 + index, text) for index, (kind, text) in enumerate(STATE_REASONS) if kind == state]
            rows.append((closed or min(story.now, created + 20 * DAY), state, *reasons[number % len(reasons)]))  # type: ignore[arg-type]
        found[key] = [
            {
                "OPPORTUNITY_ID": key,
                "DATE_CHANGED_UTC": story.calendar.at(moment),
                "FOR_OPPORTUNITY_STATE": name,
                "STATE_REASON_ID": reason_id,
                "STATE_REASON": reason,
            }
            for moment, name, reason_id, reason in rows
        ]
    return found


def projects(story: Story) -> Iterator[Record]:
    random, calendar = story.rng.random, story.calendar
    stages = _BY_PIPELINE[2]
    for number, created in enumerate(story.created["projects"]):
        record, deal = blank("projects"), story.deal_of[number]
        ended = created + int((20 + 200 * random()) * DAY)
        done, draw = ended < story.now, random()
        status = (
            "COMPLETED"
            if done and draw < 0.85
            else "CANCELLED"
            if done
            else "IN PROGRESS"
            if draw < 0.7
            else "NOT STARTED"
        )
        kind = PROJECTS[number % len(PROJECTS)]
        client = story.organisation_name(story.employer[story.buyer[deal]]) if deal is not None else "Internal"
        record["PROJECT_ID"] = story.id("projects", number)
        record["PROJECT_NAME"] = f"{client} - {kind}"
        record["STATUS"] = status
        record["PROJECT_DETAILS"] = SENTENCES[number % len(SENTENCES)] if number % 2 else None
        record["STARTED_DATE"] = None if status == "NOT STARTED" else calendar.day(created)
        record["COMPLETED_DATE"] = calendar.day(ended) if status == "COMPLETED" else None
        record["OPPORTUNITY_ID"] = None if deal is None else story.id("opportunities", deal)
        record["CATEGORY_ID"] = _PROJECT_CATEGORY + (deal is None)
        record["PIPELINE_ID"] = stages[0][1]
        record["STAGE_ID"] = stages[-1 if status == "COMPLETED" else int(random() * len(stages))][0]
        dated(record, story, created, ended if done else None)
        record["RESPONSIBLE_USER_ID"] = record["OWNER_USER_ID"]
        custom(record, Site_Code__c=f"S{number % 900 + 100}" if random() < 0.7 else None)
        record["TAGS"] = tags(story, "projects")
        record["LINKS"] = story.links_of("projects", number)
        yield record


def products(story: Story) -> Iterator[Record]:
    for number, created in enumerate(story.created["products"]):
        record, word = blank("products"), PRODUCT_WORDS[number % len(PRODUCT_WORDS)]
        record["PRODUCT_ID"] = story.id("products", number)
        record["PRODUCT_NAME"] = f"{word} {chr(65 + number // 8 % 26)}{number // 8 + 1}"
        record["PRODUCT_CODE"], record["PRODUCT_SKU"] = f"P{number + 1:05}", f"{word[:3].upper()}-{number + 1:05}"
        record["PRODUCT_FAMILY"] = FAMILIES[number % len(FAMILIES)]
        record["CURRENCY_CODE"] = "EUR"
        record["DEFAULT_PRICE"] = round(9.5 + story.rng.random() * 2_000, 2)
        record["ACTIVE"] = number % 9 != 8
        dated(record, story, created)
        custom(record, Weight_Kg__c=round(story.rng.random() * 12, 3) if number % 3 == 0 else None)
        yield record


def tasks(story: Story) -> Iterator[Record]:
    random, calendar = story.rng.random, story.calendar
    count = story.size["tasks"]
    for number, created in enumerate(story.created["tasks"]):
        record = blank("tasks")
        about, name, born = _subject(story, number / count, ("contacts", "opportunities", "projects", "leads"))
        created = max(created, born)
        due = created + int((1 + 45 * random() ** 2) * DAY)
        completed = due - int(random() * 3 * DAY) if due < story.now and random() < 0.85 else None
        completed = max(completed, created) if completed else None
        record["TASK_ID"] = story.id("tasks", number)
        record["TITLE"] = TASKS[int(random() * len(TASKS))].format(name)
        record["DETAILS"] = SENTENCES[number % len(SENTENCES)] if number % 4 == 0 else None
        record["CATEGORY_ID"] = _TASK_CATEGORY + number % 3
        record["START_DATE"] = calendar.day(created) if number % 3 == 0 else None
        record["DUE_DATE"] = calendar.day(due)
        record["COMPLETED"], record["PRIORITY"] = completed is not None, 1 + int(random() * 3)
        record["COMPLETED_DATE_UTC"] = calendar.at(completed) if completed else None
        open_status = "NOT STARTED" if random() < 0.5 else "IN PROGRESS" if random() < 0.7 else "WAITING"
        record["STATUS"] = "COMPLETED" if completed else open_status
        record["PERCENT_COMPLETE"] = 100 if completed else 0 if open_status == "NOT STARTED" else 50
        record["REMINDER_SENT"], record["OWNER_VISIBLE"], record["PUBLICLY_VISIBLE"] = completed is not None, True, True
        column = {"opportunities": "OPPORTUNITY_ID", "projects": "PROJECT_ID"}.get(about[0])
        if column:
            record[column] = story.id(*about)
        dated(record, story, created, completed)
        record["RESPONSIBLE_USER_ID"] = record["ASSIGNED_BY_USER_ID"] = record["OWNER_USER_ID"]
        record["ASSIGNED_DATE_UTC"] = record["DATE_CREATED_UTC"]
        custom(record, Billable__c=random() < 0.3 if number % 2 else ...)
        story.connect(("tasks", number), about, both=False)
        record["LINKS"] = story.links_of("tasks", number)
        yield record


def events(story: Story) -> Iterator[Record]:
    random, calendar = story.rng.random, story.calendar
    count = story.size["events"]
    for number, created in enumerate(story.created["events"]):
        record = blank("events")
        about, name, born = _subject(story, number / count, ("contacts", "opportunities", "organisations"))
        created = max(created, born)
        begins = (created + int(random() * 30 * DAY)) // 1_800 * 1_800 + 1_800
        record["EVENT_ID"] = story.id("events", number)
        record["TITLE"] = EVENTS[int(random() * len(EVENTS))].format(name)
        record["LOCATION"] = "Online" if number % 2 else story.city(number)[0]
        record["START_DATE_UTC"], record["END_DATE_UTC"] = calendar.at(begins), calendar.at(begins + 3_600)
        record["ALL_DAY"] = number % 25 == 0
        record["DETAILS"] = SENTENCES[number % len(SENTENCES)] if number % 3 == 0 else None
        record["REMINDER_DATE_UTC"] = calendar.at(begins - 900) if number % 2 else None
        record["REMINDER_SENT"] = number % 2 == 1 and begins - 900 < story.now
        dated(record, story, created)
        custom(record, Room__c=("Blue", "Green", "Video call")[number % 3] if number % 4 else ...)
        story.connect(("events", number), about, both=False)
        record["LINKS"] = story.links_of("events", number)
        yield record


def notes(story: Story) -> Iterator[Record]:
    random = story.rng.random
    count = story.size["notes"]
    kinds = ("contacts", "opportunities", "organisations", "projects", "leads")
    for number, created in enumerate(story.created["notes"]):
        record = blank("notes")
        about, name, born = _subject(story, number / count, kinds)
        first = int(random() * len(SENTENCES))
        record["NOTE_ID"] = story.id("notes", number)
        record["TITLE"] = f"{NOTES[number % len(NOTES)]}: {name}"[:255]
        record["BODY"] = f"<p>{SENTENCES[first]} {SENTENCES[first - 1]}</p>"
        dated(record, story, max(created, born))
        story.connect(("notes", number), about, both=False)
        record["LINKS"] = story.links_of("notes", number)
        yield record


def _subject(story: Story, share: float, kinds: tuple[str, ...]) -> tuple[tuple[str, int], str, int]:
    """A record to write about: (entity, number), what to call it, the second it was created."""
    entity = kinds[int(story.rng.random() ** 1.5 * len(kinds))]
    number = story.earlier(entity, share)
    if entity == "contacts":
        name = " ".join(story.contact_name(number))
    elif entity == "organisations":
        name = story.organisation_name(number)
    elif entity == "opportunities":
        name = story.organisation_name(story.employer[story.buyer[number]])
    else:
        name = "the project team" if entity == "projects" else "the new lead"
    return (entity, number), name, story.created[entity][number]
