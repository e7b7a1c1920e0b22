"""What the tests of child rows share: an account with all kinds of them, and the rows that a sync must load."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson

from pipelines.sandbox import Sandbox, Store
from pipelines.sandbox.store.shapes import Parent
from sources.insightly import ENTITIES
from tests.support.crm import Crm
from tests.support.expected import Row, known, normalize, stored

PARENTS: dict[str, tuple[str, ...]] = {
    "comments": ("notes", "tasks", "emails"),
    "file_attachments": ("contacts", "leads", "opportunities", "organisations", "projects", "notes", "emails"),
    "opportunity_state_history": ("opportunities",),
    "ticket_comments": ("tickets",),
    "static_list_memberships": ("prospects",),
    "quotation_documents": ("quotes",),
}
"""Each entity that is read per parent record, and the entities of its parents."""
OWNER_COLUMNS = {
    "opportunity_state_history": ("OPPORTUNITY_ID",),
    "ticket_comments": ("TICKET_ID",),
    "static_list_memberships": ("PROSPECT_ID",),
    "quotation_documents": ("QUOTE_ID",),
}
"""The column with the parent's id, if it is not `parent_type` and `parent_id`."""


def add_child_rows(sandbox: Sandbox) -> None:
    """Adds four records with none to three child rows to each parent entity that has few."""
    store = sandbox.store
    parents: dict[str, dict[str, Any]] = {
        "emails": {"SUBJECT": "Offer"},
        "tickets": {"SUBJECT": "Broken", "TICKET_STATUS": "Open"},
        "prospects": {"EMAIL_ADDRESS": "a@b.example"},
        "quotes": {"QUOTATION_NAME": "Offer"},
    }
    children: dict[str, tuple[str, dict[str, Any]]] = {
        "emails": ("comments", {"BODY": "seen"}),
        "tickets": ("ticket_comments", {"BODY_HTML": "<p>hello</p>", "PUBLIC_COMMENT": True, "CHANNEL": "Email"}),
        "prospects": ("static_list_memberships", {}),
        "quotes": ("quotation_documents", {"FILE_NAME": "offer.pdf", "FILE_ID": "77", "CURRENCY_CODE": "EUR"}),
    }
    for parent, values in parents.items():
        entity, row = children[parent]
        for number in range(4):
            key = store.create(parent, values)[ENTITIES[parent].key[0]]
            for index in range(number):
                fields = {"LIST_ID": 900 + index} if parent == "prospects" else row
                store.create(entity, fields, (parent, key), touch_parent=False)


def keys(sandbox: Sandbox, parent: str) -> list[Any]:
    return list(sandbox.store.tables[parent].keys)


def add(sandbox: Sandbox, entity: str, parent: str, key: Any, *, touch: bool = True, **fields: Any) -> Row:
    """Adds a child row to a record."""
    return sandbox.store.create(entity, fields, (parent, key), touch_parent=touch)


def child_rows(store: Store, entity: str) -> list[tuple[Parent, Row]]:
    """Each child row of an entity with the record that it belongs to."""
    table = store.tables[entity]
    return [(parent, orjson.loads(table.raw[key])) for key, parent in table.parents.items()]


def account_rows(sandbox: Sandbox, entity: str) -> list[tuple[str, int, Row]]:
    """The account's rows of an entity as (parent entity, parent id, row); parents that no sync reads are left out."""
    rows = [(parent, int(key), row) for (parent, key), row in child_rows(sandbox.store, entity)]
    return [each for each in rows if each[0] in PARENTS[entity]]


def expected_rows(sandbox: Sandbox, entity: str) -> list[Row]:
    """The rows that a sync must load, computed from the account's."""
    fields, rows = ENTITIES[entity].fields, []
    for parent, key, record in account_rows(sandbox, entity):
        row = {normalize(name): stored(value, fields[name].type) for name, value in record.items()}
        if entity in OWNER_COLUMNS:
            (name,) = OWNER_COLUMNS[entity]
            row[normalize(name)] = str(key) if name == "QUOTE_ID" else key
        else:
            row |= {"parent_type": parent, "parent_id": key}
        rows.append(known(row))
    return rows


def count_rows(rows: Iterable[Row]) -> Counter[tuple[tuple[str, Any], ...]]:
    return Counter(tuple(sorted(known(row).items())) for row in rows)


def live_rows(crm: Crm, entity: str) -> list[Row]:
    return crm.read(f"select * from insightly.{entity} where _deleted_at is null")


def assert_equal(crm: Crm, *entities: str) -> None:
    """Asserts that the live rows of the entities equal those of the account, repeated rows included."""
    for entity in entities:
        assert count_rows(live_rows(crm, entity)) == count_rows(expected_rows(crm.sandbox, entity)), entity


def child_requests(crm: Crm) -> list[str]:
    """The paths of child rows that the last run requested, one for each request."""
    return sorted(call.path.strip("/") for call in crm.sandbox.log if call.path.count("/") == 3)
