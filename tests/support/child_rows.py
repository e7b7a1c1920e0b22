"""What the tests of rows that lie under other records share: an account with all of them, and the rows it holds."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pipelines.sandbox import Sandbox
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
"""Each entity that costs a call a record, and the entities whose records are asked."""
OWNED = {
    "opportunity_state_history": ("OPPORTUNITY_ID",),
    "ticket_comments": ("TICKET_ID",),
    "static_list_memberships": ("PROSPECT_ID",),
    "quotation_documents": ("QUOTE_ID",),
}
"""How the rows tell whose they are, where that is not `parent_type` and `parent_id`."""


def fill(sandbox: Sandbox) -> None:
    """Adds four records to each entity of parents that has few, with none to three rows under them."""
    store = sandbox.store
    wanted: dict[str, dict[str, Any]] = {
        "emails": {"SUBJECT": "Offer"},
        "tickets": {"SUBJECT": "Broken", "TICKET_STATUS": "Open"},
        "prospects": {"EMAIL_ADDRESS": "a@b.example"},
        "quotes": {"QUOTATION_NAME": "Offer"},
    }
    below: dict[str, tuple[str, dict[str, Any]]] = {
        "emails": ("comments", {"BODY": "seen"}),
        "tickets": ("ticket_comments", {"BODY_HTML": "<p>hello</p>", "PUBLIC_COMMENT": True, "CHANNEL": "Email"}),
        "prospects": ("static_list_memberships", {}),
        "quotes": ("quotation_documents", {"FILE_NAME": "offer.pdf", "FILE_ID": "77", "CURRENCY_CODE": "EUR"}),
    }
    for parent, fields in wanted.items():
        entity, row = below[parent]
        for number in range(4):
            key = store.create(parent, fields)[ENTITIES[parent].key[0]]
            for again in range(number):
                told = {"LIST_ID": 900 + again} if parent == "prospects" else row
                store.child_rows.add(entity, parent, key, told, touch=False)


def keys(sandbox: Sandbox, parent: str) -> list[Any]:
    return list(sandbox.store.tables[parent].keys)


def add(sandbox: Sandbox, entity: str, parent: str, key: Any, *, touch: bool = True, **fields: Any) -> Row:
    """A new row under a record."""
    return sandbox.store.child_rows.add(entity, parent, key, fields, touch=touch)


def lying(sandbox: Sandbox, entity: str) -> list[tuple[str, int, Row]]:
    """Every row of an entity at the account, with the record it lies under; those under comments are not read."""
    if entity == "opportunity_state_history":
        return [("opportunities", key, row) for key, rows in sandbox.store.history.items() for row in rows]
    told = [(parent, int(key), row) for (parent, key), row in sandbox.store.child_rows.all(entity)]
    return [each for each in told if each[0] in PARENTS[entity]]


def wanted(sandbox: Sandbox, entity: str) -> list[Row]:
    """The rows that a destination is to hold, made from the account's."""
    fields, rows = ENTITIES[entity].fields, []
    for parent, key, told in lying(sandbox, entity):
        row = {normalize(name): stored(value, fields[name].type) for name, value in told.items()}
        if entity in OWNED:
            (name,) = OWNED[entity]
            row[normalize(name)] = str(key) if name == "QUOTE_ID" else key
        else:
            row |= {"parent_type": parent, "parent_id": key}
        rows.append(known(row))
    return rows


def counted(rows: Iterable[Row]) -> Counter[tuple[tuple[str, Any], ...]]:
    return Counter(tuple(sorted(known(row).items())) for row in rows)


def live(crm: Crm, entity: str) -> list[Row]:
    return crm.read(f"select * from insightly.{entity} where _deleted_at is null")


def assert_equal(crm: Crm, *entities: str) -> None:
    """Asserts that the live rows of the entities are those of the account, each as often as there."""
    for entity in entities:
        assert counted(live(crm, entity)) == counted(wanted(crm.sandbox, entity)), entity


def asked(crm: Crm) -> list[str]:
    """The paths below single records that the last run read, each as often as it did."""
    return sorted(call.path.strip("/") for call in crm.sandbox.log if call.path.count("/") == 3)
