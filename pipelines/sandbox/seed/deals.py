"""Generated opportunities, projects, products and quotes: what makes their story."""

from collections.abc import Iterator

from pipelines.sandbox.api.writes import value_of
from pipelines.sandbox.store.shapes import Record, state_row

from .data import FACTS, STAGES, WORDS, nth
from .fill import Row
from .story import DAY, Story, at, day

_REASONS = "opportunity_state_reasons"
_BIDS = ("Fixed Bid", "Fixed Bid", "Per Hour", "Per Day", "Per Month", "Per Year")


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
        "BID_CURRENCY": "EUR" if number % 3 else "USD",
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
        "PRICEBOOK_ID": row.story.id("pricebooks", book),
        "PRICE": round(_price(product) * 0.9, 2) if book else _price(product),
        "USE_STANDARD_PRICE": book == 0,
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
        "PRICEBOOK_ID": story.id("pricebooks", 0),
        "QUOTATION_NAME": f"Offer {number + 1} to {story.organisation_name(row.place)}",
        "SUBTOTAL": total,
        "TOTAL_PRICE": total,
        "GRAND_TOTAL": round(total + 25, 2),
        "QUOTATION_EXPIRATION_DATE": day(row.created + 30 * DAY),
    }


def quote_line_items(row: Row) -> Record:
    """Two of each quote."""
    quote, place = divmod(row.number, 2)
    return {"QUOTE_ID": row.ref("quotes", quote), "SORT_ORDER": place + 1} | _line(row.story, row.number)


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
