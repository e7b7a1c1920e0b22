"""The records of price books, of what was offered and sold, and of quotes, written from the story."""

from collections.abc import Iterator

from pipelines.sandbox.store.shapes import Record, blank

from .people import custom, dated, stamped
from .story import Story

BOOKS = ((3_001, "Standard", True), (3_002, "Partners", False))


def pricebooks(story: Story) -> Iterator[Record]:
    for key, name, standard in BOOKS:
        record = blank("pricebooks")
        record |= {"PRICEBOOK_ID": key, "NAME": name, "CURRENCY_CODE": "EUR", "IS_STANDARD": standard, "ACTIVE": True}
        dated(record, story, story.start)
        yield record


def pricebook_entries(story: Story) -> Iterator[Record]:
    """Each product in each book."""
    for number in range(story.size["products"] * len(BOOKS)):
        record, product = blank("pricebook_entries"), number // len(BOOKS)
        book = BOOKS[number % len(BOOKS)]
        record["PRICEBOOK_ENTRY_ID"] = story.id("pricebook_entries", number)
        record["PRICEBOOK_ID"], record["PRODUCT_ID"] = book[0], story.id("products", product)
        record["CURRENCY_CODE"], record["PRICE"] = (
            "EUR",
            _price(product) if book[2] else round(_price(product) * 0.9, 2),
        )
        record["USE_STANDARD_PRICE"], record["ACTIVE"] = book[2], product % 9 != 8
        yield stamped(record, story, story.created["products"][product])


def opportunity_line_items(story: Story) -> Iterator[Record]:
    for number, created in enumerate(story.more("opportunity_line_items")):
        record, deal = blank("opportunity_line_items"), number * 5 % story.size["opportunities"]
        record["OPPORTUNITY_ITEM_ID"] = story.id("opportunity_line_items", number)
        record["OPPORTUNITY_ID"] = story.id("opportunities", deal)
        record["SERVICE_DATE"] = story.calendar.day(created) if number % 3 == 0 else None
        record |= _priced(story, number)
        yield stamped(record, story, max(created, story.created["opportunities"][deal]))


def quotes(story: Story) -> Iterator[Record]:
    for number, created in enumerate(story.more("quotes")):
        record, deal = blank("quotes"), number * 3 % story.size["opportunities"]
        buyer = story.buyer[deal]
        employer = story.employer[buyer]
        city, state, postcode, country, _ = story.city(employer)
        record["QUOTE_ID"], record["QUOTATION_NUMBER"] = story.id("quotes", number), f"Q-{number + 1:05}"
        record["QUOTATION_NAME"] = f"Offer {number + 1} to {story.organisation_name(employer)}"
        record["OPPORTUNITY_ID"] = story.id("opportunities", deal)
        record["CONTACT_ID"] = story.id("contacts", buyer)
        record["ORGANISATION_ID"], record["PRICEBOOK_ID"] = story.id("organisations", employer), BOOKS[0][0]
        record["QUOTE_STATUS"] = ("DRAFT", "SENT", "ACCEPTED", "DENIED")[number % 4]
        record["QUOTATION_CURRENCY_CODE"], record["LINE_ITEM_COUNT"], record["IS_SYNCING"] = "EUR", 2, False
        total = round(sum(_priced(story, 2 * number + item)["TOTAL_PRICE"] for item in range(2)), 2)
        record["SUBTOTAL"], record["DISCOUNT"], record["TOTAL_PRICE"] = total, 0, total
        record["SHIPPING_HANDLING"], record["TAX"], record["GRAND_TOTAL"] = 25, 0, round(total + 25, 2)
        record["ADDRESS_BILLING_CITY"], record["ADDRESS_BILLING_STATE"] = city, state
        record["ADDRESS_BILLING_POSTCODE"], record["ADDRESS_BILLING_COUNTRY"] = (
            f"{postcode}{10 + employer % 89}",
            country,
        )
        created = max(created, story.created["opportunities"][deal])
        record["QUOTATION_EXPIRATION_DATE"] = story.calendar.day(created + 2_592_000)
        dated(record, story, created)
        custom(record, Approved__c=number % 4 == 2 if number % 5 else ...)
        yield record


def quote_line_items(story: Story) -> Iterator[Record]:
    """Two of each quote."""
    for number in range(2 * story.many("quotes")):
        record = blank("quote_line_items") | _priced(story, number)
        record["QUOTATION_ITEM_ID"] = story.id("quote_line_items", number)
        record["QUOTE_ID"], record["SORT_ORDER"] = story.id("quotes", number // 2), 1 + number % 2
        yield stamped(record, story, story.now - 1 - number)


def _price(product: int) -> float:
    return 9.75 + product * 37 % 2_000


def _priced(story: Story, number: int) -> Record:
    """What a line item says of its price."""
    product = number % story.size["products"]
    quantity, price, discount = 1 + number % 4, _price(product), 5 if number % 6 == 0 else 0
    return {
        "PRICEBOOK_ENTRY_ID": story.id("pricebook_entries", product * len(BOOKS)),
        "CURRENCY_CODE": "EUR",
        "QUANTITY": quantity,
        "LIST_PRICE": price,
        "UNIT_PRICE": price,
        "SUBTOTAL": price * quantity,
        "DISCOUNT": discount,
        "TOTAL_PRICE": round(price * quantity * (1 - discount / 100), 2),
    }
