"""The rows that belong to one record and have no list of their own: comments, files, documents, list memberships.

Each edit sets the row's DATE_UPDATED_UTC, and with `touch` also that of the record it belongs to.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from sources.insightly.entities import ENTITIES

from .shapes import Key, Record, nulls

Parent = tuple[str, Key]
"""A record: its entity and id."""
Rows = dict[str, dict[Parent, list[Record]]]

CHILD_ENTITIES = (
    "comments",
    "file_attachments",
    "ticket_comments",
    "static_list_memberships",
    "quotation_documents",
)
FIRST_IDS = {
    "comments": 72_000_000,
    "file_attachments": 310_000_000,
    "ticket_comments": 5_400_000,
    "quotation_documents": 88_000,
}
_STAMPS = ("DATE_CREATED_UTC", "DATE_UPDATED_UTC")
_PARENT_IDS = {"notes": "NOTE_ID", "tasks": "TASK_ID", "emails": "EMAIL_ID", "tickets": "TICKET_ID"}
"""The field of a child row that names its parent."""


def blank_child(entity: str, parent: str, key: Key) -> Record:
    """A child row with every field null but the one that names its parent."""
    row = nulls(entity).copy()
    if entity == "quotation_documents":
        row["QUOTE_ID"] = str(key)
    elif _PARENT_IDS.get(parent) in row:
        row[_PARENT_IDS[parent]] = key
    return row


class ChildRows:
    """The child rows of a store.

    Args:
        rows: the rows to start with.
        lock: the lock of the store.
        now: returns the current second as the API writes it.
        touch_record: sets DATE_UPDATED_UTC of the record with this entity and id.
    """

    def __init__(
        self,
        rows: Rows,
        lock: AbstractContextManager[Any],
        now: Callable[[], str],
        touch_record: Callable[[str, Key], None],
    ) -> None:
        self._lock, self._now, self._touch_record = lock, now, touch_record
        self._rows: Rows = {
            name: {parent: list(children) for parent, children in rows.get(name, {}).items()} for name in CHILD_ENTITIES
        }
        self.files: dict[int, bytes] = {}
        """What was uploaded, by FILE_ID."""
        self._last_ids = {
            name: max((row[ENTITIES[name].key[0]] for _, row in self.all(name)), default=first)
            for name, first in FIRST_IDS.items()
        }

    def all(self, entity: str) -> Iterator[tuple[Parent, Record]]:
        """Copies of every row of `entity`, each with its parent."""
        for parent, children in list(self._rows[entity].items()):
            for row in children:
                yield parent, copy.deepcopy(row)

    def snapshot(self) -> Rows:
        """All rows."""
        return copy.deepcopy(self._rows)

    def of(self, entity: str, parent: str, key: Key) -> list[Record]:
        """Copies of the rows of `entity` that belong to one record, oldest first."""
        return copy.deepcopy(self._rows[entity].get((parent, key), []))

    def find(self, entity: str, id_: int) -> tuple[Parent, Record] | None:
        """A copy of the row with this id and its parent, or None."""
        key = ENTITIES[entity].key[0]
        return next(((parent, row) for parent, row in self.all(entity) if row[key] == id_), None)

    def add(self, entity: str, parent: str, key: Key, fields: Mapping[str, Any], touch: bool = True) -> Record:
        """Adds a row with `fields`, others null, and returns it; an id and stamps are set unless `fields` has them."""
        with self._lock:
            row, now, id_ = blank_child(entity, parent, key), self._now(), ENTITIES[entity].key[0]
            row |= {name: now for name in _STAMPS if name in row}
            row |= copy.deepcopy(dict(fields))
            if row[id_] is None:
                self._last_ids[entity] += 1
                row[id_] = self._last_ids[entity]
            self._rows[entity].setdefault((parent, key), []).append(row)
            if touch:
                self._touch(parent, key)
            return copy.deepcopy(row)

    def update(self, entity: str, id_: int, fields: Mapping[str, Any], touch: bool = True) -> Record:
        """Sets `fields` of one row and returns it. Raises KeyError where there is none."""
        with self._lock:
            parent, row = self._locate(entity, id_)
            if "DATE_UPDATED_UTC" in row:
                row["DATE_UPDATED_UTC"] = self._now()
            row |= copy.deepcopy(dict(fields))
            if touch:
                self._touch(*parent)
            return copy.deepcopy(row)

    def remove(self, entity: str, id_: int, parent: Parent | None = None, touch: bool = True) -> None:
        """Removes one row, with `parent` only if it belongs to that record. Raises KeyError where there is none."""
        with self._lock:
            parent, row = self._locate(entity, id_, parent)
            self._rows[entity][parent].remove(row)
            self.remove_parent(entity, id_)
            if touch:
                self._touch(*parent)

    def remove_parent(self, parent: str, key: Key) -> None:
        """Removes the rows of a deleted record, and the rows of those rows."""
        for entity, rows in self._rows.items():
            for row in rows.pop((parent, key), ()):
                self.remove_parent(entity, row[ENTITIES[entity].key[0]])

    def _locate(self, entity: str, id_: int, parent: Parent | None = None) -> tuple[Parent, Record]:
        key = ENTITIES[entity].key[0]
        for owner, children in self._rows[entity].items():
            for row in children:
                if row[key] == id_ and parent in (None, owner):
                    return owner, row
        raise KeyError(id_)

    def _touch(self, parent: str, key: Key) -> None:
        if parent == "comments":  # a file of a comment changes the comment's date, and no record's
            self._locate("comments", int(key))[1]["DATE_UPDATED_UTC"] = self._now()
        else:
            self._touch_record(parent, key)
