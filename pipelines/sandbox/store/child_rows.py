"""What lies below single records and has no list of its own: comments, files, documents, list memberships.

Each edit stamps the row, and moves the record's DATE_UPDATED_UTC where `touch` says so.
"""

import copy
from collections.abc import Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from pipelines.sandbox.seed.words import SENTENCES
from sources.insightly.entities import ENTITIES

from .shapes import Key, Record, nulls

if TYPE_CHECKING:
    from .store import Store

At = tuple[str, Key]
"""A record: its entity and id."""
Rows = dict[str, dict[At, list[Record]]]

SEEDED: dict[str, dict[str, int]] = {
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
"""Below which records there is something: every so many-th of them."""

_FIRST_IDS = {
    "comments": 72_000_000,
    "file_attachments": 310_000_000,
    "ticket_comments": 5_400_000,
    "quotation_documents": 88_000,
}
_FILES = (
    ("Offer.pdf", "application/pdf"),
    ("Contract signed.pdf", "application/pdf"),
    ("Floor plan.png", "image/png"),
    ("Price list.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("Site photo.jpg", "image/jpeg"),
)
_STAMPS = ("DATE_CREATED_UTC", "DATE_UPDATED_UTC")
_CLAIMS = {"notes": "NOTE_ID", "tasks": "TASK_ID", "emails": "EMAIL_ID", "tickets": "TICKET_ID"}
"""The fields by which a row itself tells the record it lies below."""


class Below:
    """The rows below the records of a store."""

    def __init__(self, store: "Store", rows: Rows) -> None:
        self.store = store
        self._rows: Rows = {name: {at: list(held) for at, held in rows.get(name, {}).items()} for name in SEEDED}
        self._last = {
            name: max((row[ENTITIES[name].key[0]] for _, row in self.all(name)), default=first)
            for name, first in _FIRST_IDS.items()
        }

    def all(self, entity: str) -> Iterator[tuple[At, Record]]:
        """Every row of `entity` with the record it lies below."""
        for at, held in list(self._rows[entity].items()):
            for row in held:
                yield at, copy.deepcopy(row)

    def of(self, entity: str, parent: str, key: Key) -> list[Record]:
        """The rows of `entity` below one record, oldest first."""
        return copy.deepcopy(self._rows[entity].get((parent, key), []))

    def find(self, entity: str, id_: int) -> tuple[At, Record] | None:
        key = ENTITIES[entity].key[0]
        return next(((at, row) for at, row in self.all(entity) if row[key] == id_), None)

    def add(self, entity: str, parent: str, key: Key, fields: Mapping[str, Any], touch: bool = True) -> Record:
        """A new row made of `fields` over nulls, with an id and stamps of its own unless given."""
        with self.store.lock:
            now, id_ = self.store.now(), ENTITIES[entity].key[0]
            row = {**nulls(entity), **_claim(entity, parent, key)}
            row |= {name: now for name in _STAMPS if name in row}
            row |= copy.deepcopy(dict(fields))
            if row[id_] is None:
                self._last[entity] += 1
                row[id_] = self._last[entity]
            self._rows[entity].setdefault((parent, key), []).append(row)
            self._touch((parent, key), touch)
            return copy.deepcopy(row)

    def change(self, entity: str, id_: int, fields: Mapping[str, Any], touch: bool = True) -> Record:
        """Sets `fields` of one row. Raises KeyError where there is none."""
        with self.store.lock:
            at, row = self._found(entity, id_)
            stamps = {"DATE_UPDATED_UTC": self.store.now()} if "DATE_UPDATED_UTC" in row else {}
            row.update(stamps | copy.deepcopy(dict(fields)))
            self._touch(at, touch)
            return copy.deepcopy(row)

    def remove(self, entity: str, id_: int, below: At | None = None, touch: bool = True) -> None:
        """Removes one row, of that record where it is given. Raises KeyError where there is none."""
        with self.store.lock:
            at, row = self._found(entity, id_, below)
            self._rows[entity][at].remove(row)
            self.forget(entity, id_)
            self._touch(at, touch)

    def forget(self, parent: str, key: Key) -> None:
        """Drops everything below a record that is gone, and below what was there."""
        for entity, rows in self._rows.items():
            for row in rows.pop((parent, key), ()):
                self.forget(entity, row[ENTITIES[entity].key[0]])

    def _found(self, entity: str, id_: int, below: At | None = None) -> tuple[At, Record]:
        key = ENTITIES[entity].key[0]
        for at, held in self._rows[entity].items():
            for row in held:
                if row[key] == id_ and below in (None, at):
                    return at, row
        raise KeyError(id_)

    def _touch(self, at: At, touch: bool) -> None:
        """A file below a comment moves the date of what was commented on no more than the comment's own."""
        parent, key = at
        if not touch:
            return
        if parent == "comments":
            self._found("comments", int(key))[1]["DATE_UPDATED_UTC"] = self.store.now()
        else:
            self.store.update(parent, key, {})


def seeded(tables: Mapping[str, Mapping[Key, bytes]], rng: Random) -> Rows:
    """What lies below the records of generated tables; stamped when the record was created, or last updated."""
    rows: Rows = {name: {} for name in SEEDED}
    users, ids = list(tables["users"]), dict(_FIRST_IDS)
    for entity, parents in SEEDED.items():
        id_ = ENTITIES[entity].key[0]
        for parent, every in parents.items():
            comments = [(row["COMMENT_ID"], row) for held in rows["comments"].values() for row in held]
            below: list[tuple[Key, Any]] = comments if parent == "comments" else list(tables.get(parent, {}).items())
            for key, told in below[::every]:
                stamps = _stamps(told)
                held = rows[entity].setdefault((parent, key), [])
                for number in range(1 + int(rng.random() ** 3 * 4)):
                    row = {**nulls(entity), **_claim(entity, parent, key), **_told(entity, number, rng)}
                    row |= {name: rng.choice(users) for name in ("OWNER_USER_ID", "CREATED_USER_ID") if name in row}
                    row |= {
                        name: stamps[number > 0] for name in ("DATE_CREATED_UTC", "DATE_UPDATED_UTC") if name in row
                    }
                    if entity in ids:
                        ids[entity] += 1 + number % 3
                        row[id_] = ids[entity]
                    held.append(row)
    return rows


def state_of(opportunity: Record, at: str, reason: Record | None) -> Record:
    """A row of the state history: the opportunity's present state, which it has had since `at`."""
    return {
        "OPPORTUNITY_ID": opportunity["OPPORTUNITY_ID"],
        "DATE_CHANGED_UTC": at,
        "FOR_OPPORTUNITY_STATE": opportunity["OPPORTUNITY_STATE"],
        "STATE_REASON_ID": reason and reason["STATE_REASON_ID"],
        "STATE_REASON": reason and reason["STATE_REASON"],
    }


def _claim(entity: str, parent: str, key: Key) -> Record:
    if entity == "quotation_documents":
        return {"QUOTE_ID": str(key)}
    name = _CLAIMS.get(parent)
    return {name: key} if name is not None and name in ENTITIES[entity].fields else {}


def _told(entity: str, number: int, rng: Random) -> Record:
    """What the fields of a row say."""
    sentence, (name, kind) = rng.choice(SENTENCES), rng.choice(_FILES)
    if entity == "comments":
        return {"BODY": sentence}
    if entity == "ticket_comments":
        return {"BODY_HTML": f"<p>{sentence}</p>", "PUBLIC_COMMENT": number % 3 != 2, "CHANNEL": "Email"}
    if entity == "static_list_memberships":
        return {"LIST_ID": 4_001 + number}
    if entity == "quotation_documents":
        file = str(920_000 + rng.randrange(10_000))
        return {"QUOTATION_NAME": "Quotation", "FILE_NAME": f"Quotation v{number + 1}.pdf", "CURRENCY_CODE": "EUR"} | {
            "FILE_ID": file
        }
    return {"FILE_NAME": name, "CONTENT_TYPE": kind, "FILE_SIZE": 9_000 + rng.randrange(4_000_000)}


def _stamps(told: bytes | Record) -> tuple[str, str]:
    """When a record was created, and last updated."""
    if isinstance(told, dict):
        return told["DATE_CREATED_UTC"], told["DATE_UPDATED_UTC"]
    created = _stamp(told, b'"DATE_CREATED_UTC":"') or "2026-01-01 00:00:00"
    return created, _stamp(told, b'"DATE_UPDATED_UTC":"') or created


def _stamp(raw: bytes, mark: bytes) -> str:
    """A stamp in a record's bytes, which are not parsed: there are many."""
    start = raw.find(mark)
    return raw[start + len(mark) :].partition(b'"')[0].decode() if start >= 0 else ""
