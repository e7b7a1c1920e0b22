"""Generated price books, line items of deals, and quotes."""

from collections.abc import Iterator

from pipelines.sandbox.store.shapes import Record, blank

from .people import address, custom, dated
from .story import DAY, Story
from .words import nth

_BOOKS = ((3_001, "Standard", True), (3_002, "Partners", False))
_STATUSES = ("DRAFT", "SENT", "ACCEPTED", "DENIED")


def pricebooks(story: Story) -> Iterator[Record]:
    for key, name, standard in _BOOKS:
        record = blank("pricebooks")
        record |= {"PRICEBOOK_ID": key, "NAME": name, "CURRENCY_CODE": "EUR", "IS_STANDARD": standard, "ACTIVE": True}
        dated(record, story, story.start)
        yield record


def pricebook_entries(story: Story) -> Iterator[Record]:
    """Each product in each book."""
    for number in range(story.size["products"] * len(_BOOKS)):
        product, (book, _, standard) = number // len(_BOOKS), _BOOKS[number % len(_BOOKS)]
        record = story.blank("pricebook_entries", number) | {
            "PRICEBOOK_ID": book,
            "PRODUCT_ID": story.id("products", product),
            "CURRENCY_CODE": "EUR",
            "PRICE": _price(product) if standard else round(_price(product) * 0.9, 2),
            "USE_STANDARD_PRICE": standard,
            "ACTIVE": product % 9 != 8,
        }
        dated(record, story, story.created["products"][product])
        yield record


def opportunity_line_items(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("opportunity_line_items"):
        deal = number * 5 % story.size["opportunities"]
        record |= _line(story, number)
        record["OPPORTUNITY_ID"] = story.id("opportunities", deal)
        record["SERVICE_DATE"] = story.calendar.day(created) if number % 3 == 0 else None
        dated(record, story, max(created, story.created["opportunities"][deal]))
        yield record


def quotes(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("quotes"):
        deal = number * 3 % story.size["opportunities"]
        buyer = story.buyer[deal]
        employer = story.employer[buyer]
        total = round(sum(_line(story, 2 * number + item)["TOTAL_PRICE"] for item in range(2)), 2)
        created = max(created, story.created["opportunities"][deal])
        record |= {
            "QUOTATION_NUMBER": f"Q-{number + 1:05}",
            "QUOTATION_NAME": f"Offer {number + 1} to {story.organisation_name(employer)}",
            "OPPORTUNITY_ID": story.id("opportunities", deal),
            "CONTACT_ID": story.id("contacts", buyer),
            "ORGANISATION_ID": story.id("organisations", employer),
            "PRICEBOOK_ID": _BOOKS[0][0],
            "QUOTE_STATUS": nth(_STATUSES, number),
            "QUOTATION_CURRENCY_CODE": "EUR",
            "LINE_ITEM_COUNT": 2,
            "IS_SYNCING": False,
            "SUBTOTAL": total,
            "DISCOUNT": 0,
            "TOTAL_PRICE": total,
            "SHIPPING_HANDLING": 25,
            "TAX": 0,
            "GRAND_TOTAL": round(total + 25, 2),
            "QUOTATION_EXPIRATION_DATE": story.calendar.day(created + 30 * DAY),
        }
        record |= address("ADDRESS_BILLING", story, employer, employer)
        dated(record, story, created)
        custom(record, Approved__c=number % 4 == 2 if number % 5 else ...)
        yield record


def quote_line_items(story: Story) -> Iterator[Record]:
    """Two of each quote."""
    for number in range(2 * story.size["quotes"]):
        record = story.blank("quote_line_items", number) | _line(story, number)
        record["QUOTE_ID"], record["SORT_ORDER"] = story.id("quotes", number // 2), 1 + number % 2
        dated(record, story, story.now - 1 - number)
        yield record


def _price(product: int) -> float:
    return 9.75 + product * 37 % 2_000


def _line(story: Story, number: int) -> Record:
    """The product, quantity and prices of a line item."""
    product = number % story.size["products"]
    quantity, price, discount = 1 + number % 4, _price(product), 5 if number % 6 == 0 else 0
    return {
        "PRICEBOOK_ENTRY_ID": story.id("pricebook_entries", product * len(_BOOKS)),
        "CURRENCY_CODE": "EUR",
        "QUANTITY": quantity,
        "LIST_PRICE": price,
        "UNIT_PRICE": price,
        "SUBTOTAL": price * quantity,
        "DISCOUNT": discount,
        "TOTAL_PRICE": round(price * quantity * (1 - discount / 100), 2),
    }
