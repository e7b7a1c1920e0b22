"""The records of the account, and edits to them, from Python or through the routes.

Each edit sets DATE_UPDATED_UTC from the store's clock. Deleting a record leaves the links of other records to it:
API.md promises of DELETE only that the record is gone.
"""

import copy
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sources.insightly.entities import ENTITIES

from .child_rows import ChildRows, Rows
from .shapes import (
    CHILD_KEYS,
    LINK_NAMES,
    LINKED,
    MAIN,
    Key,
    Record,
    blank,
    definition,
    facts_of,
    has_list,
    key_of,
    link,
    stamp,
    state_row,
)
from .table import Table, dump, parse

Clock = Callable[[], datetime]

INSTANCE = {
    "INSTANCE_NAME": "Sandbox Trading",
    "INSTANCE_SUBDOMAIN": "sandbox-trading",
    "PLAN_NAME": None,
    "NEW_USER_EXPERIENCE_ENABLED": True,
}

_FIRST_CHILD_ID = 900_000_000


@dataclass
class Contents:
    """Generated data: JSON bytes by key for each entity, definitions, state history, and child rows."""

    tables: dict[str, dict[Key, bytes]] = field(default_factory=dict)
    definitions: list[Record] = field(default_factory=list)
    history: dict[int, list[Record]] = field(default_factory=dict)
    instance: Record = field(default_factory=lambda: dict(INSTANCE))
    child_rows: Rows = field(default_factory=dict)


class Store:
    """Records of every served entity, safe to use from several threads.

    Args:
        contents: the initial data, which stay unchanged. None = an empty account.
        clock: returns the current time as an aware datetime.
    """

    def __init__(self, contents: Contents | None = None, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or (lambda: datetime.now(UTC))
        self.lock = threading.RLock()
        self._child_id = _FIRST_CHILD_ID
        self.restore(contents or Contents())

    def restore(self, contents: Contents) -> None:
        """Replaces everything by the contents, which stay unchanged."""
        with self.lock:
            self._restore(contents)

    def _restore(self, contents: Contents) -> None:
        names = {name for name, facts in ENTITIES.items() if has_list(facts)} | contents.tables.keys()
        self.tables = {name: Table(contents.tables.get(name, {}).items()) for name in names}
        self.definitions = copy.deepcopy(contents.definitions)
        self.history = {key: list(rows) for key, rows in contents.history.items()}
        self.instance = dict(contents.instance)
        self.child_rows = ChildRows(contents.child_rows, self.lock, self.now, self.touch)

    def now(self) -> str:
        """The current second as the API writes it."""
        return stamp(self.clock())

    def snapshot(self) -> Contents:
        """The current contents."""
        with self.lock:
            return Contents(
                {name: dict(table.raw) for name, table in self.tables.items()},
                copy.deepcopy(self.definitions),
                {key: list(rows) for key, rows in self.history.items()},
                dict(self.instance),
                self.child_rows.snapshot(),
            )

    def rows(self, entity: str) -> list[Record]:
        """Copies of all records of `entity`, in ascending key order."""
        with self.lock:
            table = self.tables[entity]
            return [parse(table.raw[key]) for key in table.keys]

    def get(self, entity: str, key: Key) -> Record | None:
        """A copy of one full record, or None."""
        with self.lock:
            raw = self.tables[entity].raw.get(key)
            return None if raw is None else parse(raw)

    def count(self, entity: str) -> int:
        return len(self.tables[entity].keys)

    def page(
        self,
        entity: str,
        skip: int,
        top: int | None,
        token: Hashable = None,
        matches: Callable[[Key, bytes], bool] | None = None,
    ) -> tuple[list[bytes], int]:
        """The JSON of the records on one page, and the number of records on all pages.

        With `matches`, only the records it is true for; `token` is equal for equal tests.
        """
        with self.lock:
            table = self.tables[entity]
            keys = table.keys if matches is None else table.select(token, matches)
            end = None if top is None else skip + top
            return [table.raw[key] for key in keys[skip:end]], len(keys)

    def create(self, entity: str, fields: Mapping[str, Any]) -> Record:
        """Creates a record and returns it.

        What `fields` does not have is null, but for the id and the stamps. The LINKS are added to both records.
        """
        with self.lock:
            facts, record, now = facts_of(entity), blank(entity), self.now()
            key_name = facts.key[0]
            if len(facts.key) == 1 and facts.fields[key_name].type == "integer":
                record[key_name] = self.tables[entity].next_id()
            for name in ("DATE_CREATED_UTC", "DATE_UPDATED_UTC"):
                if name in record:
                    record[name] = now
            record.update(copy.deepcopy({name: value for name, value in fields.items() if name != "LINKS"}))
            self._number_children(record)
            self._save(entity, record)
            if entity == "opportunities" and record["OPPORTUNITY_STATE"]:
                self.record_state(record, now, None)
            for item in fields.get("LINKS") or ():
                self.add_link(
                    entity, record[key_name], item["LINK_OBJECT_NAME"], item["LINK_OBJECT_ID"], item.get("ROLE")
                )
            return parse(self.tables[entity].raw[key_of(entity, record)])

    def update(self, entity: str, key: Key, fields: Mapping[str, Any], touch: bool = True) -> Record:
        """Sets `fields` of one record and returns it; `touch` sets DATE_UPDATED_UTC unless `fields` has it.

        Raises:
            KeyError: no such record.
        """
        with self.lock:
            record = parse(self.tables[entity].raw[key])
            if touch and "DATE_UPDATED_UTC" in record:
                record["DATE_UPDATED_UTC"] = self.now()
            record.update(copy.deepcopy(dict(fields)))
            self._number_children(record)
            self._save(entity, record)
            return record

    def touch(self, entity: str, key: Key, at: str | None = None) -> None:
        """Sets DATE_UPDATED_UTC of one record to `at`, or to now where it has one."""
        self.update(entity, key, {"DATE_UPDATED_UTC": at} if at else {})

    def delete(self, entity: str, key: Key) -> None:
        """Removes one record. Raises KeyError where there is none."""
        with self.lock:
            self.tables[entity].remove(key)
            self.child_rows.remove_parent(entity, key)
            if entity == "opportunities":
                self.history.pop(int(key), None)

    def put(self, entity: str, record: Record) -> None:
        """Stores a record as it is, and numbers the items of its arrays that have no id."""
        with self.lock:
            self._number_children(record)
            self._save(entity, record)

    def put_raw(self, entity: str, record: Record | bytes) -> None:
        """Stores a record as it is, with unknown keys and odd values; bytes are served unchanged."""
        raw = record if isinstance(record, bytes) else dump(record)
        with self.lock:
            self.tables[entity].put(key_of(entity, parse(raw)), raw)

    def set_tags(self, entity: str, key: Key, names: Iterable[str], touch: bool = True) -> Record:
        """Replaces the tags of one record; repeated names are kept once."""
        return self.update(entity, key, {"TAGS": [{"TAG_NAME": name} for name in dict.fromkeys(names)]}, touch)

    def tag_names(self, entity: str) -> list[str]:
        """The distinct tags of one record type, sorted."""
        with self.lock:
            table = self.tables[entity]
            tagged = (raw for raw in table.raw.values() if b'"TAGS":[{' in raw or b'"TAGS": [{' in raw)
            return sorted({tag["TAG_NAME"] for raw in tagged for tag in parse(raw)["TAGS"] if tag["TAG_NAME"]})

    def add_link(
        self, entity: str, key: Key, name: str, other: int, role: str | None = None, touch: bool = True
    ) -> Record:
        """Links a record to another one and returns the link.

        Args:
            entity, key: the record.
            name, other: the other one: its object in the singular, such as "Contact", and its id.
            role: the ROLE of the link.
            touch: whether to set DATE_UPDATED_UTC of both.

        Raises:
            KeyError: one of the two does not exist.
        """
        with self.lock:
            far = LINKED[name]
            near_end, far_end = (LINK_NAMES[entity], int(key)), (name, other)
            self.tables[far].raw[other]
            self._child_id += 1
            made = link(self._child_id, near_end, far_end, role)
            self._extend(entity, key, made, touch)
            if entity in MAIN and far in MAIN:
                self._extend(far, other, link(self._child_id, far_end, near_end, role, forward=False), touch)
            return made

    def change_links(
        self, entity: str, key: Key, link_id: int, change: Mapping[str, Any] | None, touch: bool = True
    ) -> Record | None:
        """Sets fields of a link in both records, or removes it if `change` is None; returns the changed link.

        Raises:
            KeyError: no such record or link.
        """
        with self.lock:
            record = parse(self.tables[entity].raw[key])
            found = next((item for item in record["LINKS"] if item["LINK_ID"] == link_id), None)
            if found is None:
                raise KeyError(link_id)
            ends: list[tuple[str, Key]] = [(entity, key)]
            far = LINKED.get(found["LINK_OBJECT_NAME"])
            if far and far in MAIN and found["LINK_OBJECT_ID"] in self.tables[far].raw:
                ends.append((far, found["LINK_OBJECT_ID"]))
            for table, row in ends:
                links = parse(self.tables[table].raw[row])["LINKS"]
                kept = [item for item in links if item["LINK_ID"] != link_id]
                if change is not None:
                    kept = [{**item, **change} if item["LINK_ID"] == link_id else item for item in links]
                self.update(table, row, {"LINKS": kept}, touch)
            return None if change is None else {**found, **change}

    def record_state(self, opportunity: Record, at: str, reason: Record | None) -> None:
        """Adds the opportunity's current state to its state history."""
        row = state_row(opportunity["OPPORTUNITY_ID"], at, opportunity["OPPORTUNITY_STATE"], reason)
        self.history.setdefault(opportunity["OPPORTUNITY_ID"], []).append(row)

    def define(
        self, field_for: str, name: str, kind: str, label: str | None = None, options: Iterable[str] = ()
    ) -> Record:
        """Adds a custom-field definition, e.g. `define("CONTACT", "Hobby__c", "TEXT")`, and returns it."""
        with self.lock:
            order = 1 + sum(row["FIELD_FOR"] == field_for for row in self.definitions)
            made = definition(field_for, name, kind, order, label, options)
            self.definitions.append(made)
            return made

    def _extend(self, entity: str, key: Key, item: Record, touch: bool) -> None:
        links = parse(self.tables[entity].raw[key])["LINKS"]
        self.update(entity, key, {"LINKS": [*links, item]}, touch)

    def _number_children(self, record: Record) -> None:
        for array, key in CHILD_KEYS.items():
            for item in record.get(array) or ():
                if item.get(key) is None:
                    self._child_id += 1
                    item[key] = self._child_id

    def _save(self, entity: str, record: Record) -> None:
        self.tables[entity].put(key_of(entity, record), dump(record))
