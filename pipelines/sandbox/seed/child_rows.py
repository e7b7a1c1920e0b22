"""The generated rows that belong to one record: comments, files, documents, list memberships."""

from collections.abc import Mapping
from itertools import chain, islice
from random import Random

from pipelines.sandbox.store.child_rows import CHILD_ENTITIES, FIRST_IDS, Rows, blank_child
from pipelines.sandbox.store.shapes import Key, Record
from pipelines.sandbox.store.table import parse
from sources.insightly.entities import ENTITIES

from .words import SENTENCES

_EVERY = {
    "comments": {"notes": 3, "tasks": 5, "emails": 4},
    "file_attachments": {
        "contacts": 9,
        "leads": 15,
        "opportunities": 4,
        "organisations": 8,
        "projects": 3,
        "notes": 11,
        "emails": 6,
        "comments": 20,
    },
    "ticket_comments": {"tickets": 1},
    "static_list_memberships": {"prospects": 2},
    "quotation_documents": {"quotes": 2},
}
"""Which parents have rows: `{"comments": {"notes": 3}}` gives every third note comments."""
_FILES = (
    ("Offer.pdf", "application/pdf"),
    ("Contract signed.pdf", "application/pdf"),
    ("Floor plan.png", "image/png"),
    ("Price list.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("Site photo.jpg", "image/jpeg"),
)


def child_rows(tables: Mapping[str, Mapping[Key, bytes]], rng: Random) -> Rows:
    """The child rows of generated tables; the first of a record has its date of creation, others that of its update."""
    rows: Rows = {name: {} for name in CHILD_ENTITIES}
    users, ids = list(tables["users"]), dict(FIRST_IDS)
    for entity, parents in _EVERY.items():
        for parent, every in parents.items():
            if parent == "comments":
                records = iter(list(chain.from_iterable(rows["comments"].values()))[::every])
            else:
                records = map(parse, islice(tables.get(parent, {}).values(), 0, None, every))
            for record in records:
                key = record[ENTITIES[parent].key[0]]
                created = record.get("DATE_CREATED_UTC") or "2026-01-01 00:00:00"
                updated = record.get("DATE_UPDATED_UTC") or created
                children = rows[entity].setdefault((parent, key), [])
                for number in range(1 + int(rng.random() ** 3 * 4)):
                    row = blank_child(entity, parent, key) | _content(entity, number, rng)
                    row |= {name: rng.choice(users) for name in ("OWNER_USER_ID", "CREATED_USER_ID") if name in row}
                    stamp = updated if number else created
                    row |= {name: stamp for name in ("DATE_CREATED_UTC", "DATE_UPDATED_UTC") if name in row}
                    if entity in ids:
                        ids[entity] += 1 + number % 3
                        row[ENTITIES[entity].key[0]] = ids[entity]
                    children.append(row)
    return rows


def _content(entity: str, number: int, rng: Random) -> Record:
    sentence, (name, kind) = rng.choice(SENTENCES), rng.choice(_FILES)
    if entity == "comments":
        return {"BODY": sentence}
    if entity == "ticket_comments":
        return {"BODY_HTML": f"<p>{sentence}</p>", "PUBLIC_COMMENT": number % 3 != 2, "CHANNEL": "Email"}
    if entity == "static_list_memberships":
        return {"LIST_ID": 4_001 + number}
    if entity == "quotation_documents":
        document = {"QUOTATION_NAME": "Quotation", "FILE_NAME": f"Quotation v{number + 1}.pdf", "CURRENCY_CODE": "EUR"}
        return document | {"FILE_ID": str(920_000 + rng.randrange(10_000))}
    return {"FILE_NAME": name, "CONTENT_TYPE": kind, "FILE_SIZE": 9_000 + rng.randrange(4_000_000)}
