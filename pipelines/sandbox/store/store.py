"""The records of the account, and edits to them, from Python or through the routes.

Each edit sets DATE_UPDATED_UTC from the store's clock. Deleting a record leaves the links of other records to it:
api.md promises of DELETE only that the record is gone.
"""

import copy
import json
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sources.insightly.entities import DATE_CREATED, DATE_UPDATED, ENTITIES
from sources.insightly.fields import child_fields

from .shapes import (
    CHILD_ENTITIES,
    CHILD_KEYS,
    HISTORY,
    LINK_FIELDS,
    LINK_NAMES,
    LINKED,
    MAIN,
    Key,
    Parent,
    Record,
    blank,
    definition,
    facts_of,
    has_list,
    key_of,
    link,
    parent_field,
    stamp,
    state_row,
)
from .table import Table, dump, parse

Clock = Callable[[], datetime]

TAG_NAME = re.compile(rb'"TAG_NAME": ?("(?:[^"\\]|\\.)+")')
"""In a record's JSON: quotes within a text are escaped there. To parse all records would take ten times as long."""

INSTANCE = {
    "INSTANCE_NAME": "Sandbox Trading",
    "INSTANCE_SUBDOMAIN": "sandbox-trading",
    "PLAN_NAME": None,
    "NEW_USER_EXPERIENCE_ENABLED": True,
}

_FIRST_CHILD_ID = 900_000_000


@dataclass
class Contents:
    """Generated data: JSON bytes by key for each entity, parents of child rows, and definitions."""

    tables: dict[str, dict[Key, bytes]] = field(default_factory=dict)
    parents: dict[str, dict[Key, Parent]] = field(default_factory=dict)
    definitions: list[Record] = field(default_factory=list)
    instance: Record = field(default_factory=lambda: dict(INSTANCE))


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
        names = {name for name, facts in ENTITIES.items() if has_list(facts)} | {*CHILD_ENTITIES, *contents.tables}
        with self.lock:
            self.tables = {name: Table(contents.tables.get(name), contents.parents.get(name)) for name in sorted(names)}
            self.definitions = copy.deepcopy(contents.definitions)
            self.instance = dict(contents.instance)
            self.files: dict[Key, bytes] = {}
            """What was uploaded, by FILE_ID."""

    def now(self) -> str:
        """The current second as the API writes it."""
        return stamp(self.clock())

    def snapshot(self) -> Contents:
        """The current contents."""
        with self.lock:
            return Contents(
                {name: dict(table.raw) for name, table in self.tables.items()},
                {name: dict(table.parents) for name, table in self.tables.items() if table.parents},
                copy.deepcopy(self.definitions),
                dict(self.instance),
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

    def children(self, entity: str, parent: str, key: Key) -> list[Record]:
        """Copies of the rows of `entity` that belong to one record, oldest first."""
        with self.lock:
            table = self.tables[entity]
            return [parse(table.raw[child]) for child in table.children((parent, key))]

    def count(self, entity: str) -> int:
        return len(self.tables[entity].keys)

    def page(
        self,
        entity: str,
        skip: int,
        top: int | None,
        token: Hashable = None,
        tests: Sequence[Callable[[bytes], bool]] = (),
        parent: Parent | None = None,
    ) -> tuple[list[bytes], int]:
        """The JSON of the records on one page, and the number of records on all pages.

        Only those that pass all `tests`, whose `token` is equal for equal tests, and belong to `parent`.
        """
        with self.lock:
            table = self.tables[entity]
            keys = table.keys if parent is None else table.children(parent)
            if tests:
                keys = table.select(token, keys, tests)
            end = None if top is None else skip + top
            return [table.raw[key] for key in keys[skip:end]], len(keys)

    def create(
        self, entity: str, fields: Mapping[str, Any], parent: Parent | None = None, touch_parent: bool = True
    ) -> Record:
        """Creates a record, or a child row of `parent`, and returns it. Its LINKS are added to both records.

        `touch_parent` sets DATE_UPDATED_UTC of the parent.
        """
        with self.lock:
            record = self.put(entity, {name: value for name, value in fields.items() if name != "LINKS"}, parent)
            key = key_of(entity, record, parent)
            if entity == "opportunities" and record["OPPORTUNITY_STATE"]:
                self.record_state(record, self.now(), None)
            for item in fields.get("LINKS") or ():
                details = {name: item[name] for name in LINK_FIELDS if name in item}
                self.add_link(entity, key, item["LINK_OBJECT_NAME"], item["LINK_OBJECT_ID"], details)
            if touch_parent:
                self._touch_parent(entity, key)
            return parse(self.tables[entity].raw[key])

    def update(
        self, entity: str, key: Key, fields: Mapping[str, Any], touch: bool = True, touch_parent: bool = True
    ) -> Record:
        """Sets `fields` of one record and returns it.

        `touch` sets its DATE_UPDATED_UTC unless `fields` has it, and `touch_parent` that of the record it belongs to.

        Raises:
            KeyError: no such record.
        """
        with self.lock:
            record = parse(self.tables[entity].raw[key])
            if touch and DATE_UPDATED in record:
                record[DATE_UPDATED] = self.now()
            record.update(copy.deepcopy(dict(fields)))
            self._number_children(record)
            self.tables[entity].put(key, dump(record))
            if touch_parent:
                self._touch_parent(entity, key)
            return record

    def touch(self, entity: str, key: Key, at: str | None = None) -> None:
        """Sets DATE_UPDATED_UTC of one record to `at`, or to now where it has one."""
        self.update(entity, key, {DATE_UPDATED: at} if at else {})

    def delete(self, entity: str, key: Key, touch_parent: bool = True) -> None:
        """Removes one record, and the rows that belong to it. Raises KeyError where there is none."""
        with self.lock:
            self.tables[entity].raw[key]
            if touch_parent:
                self._touch_parent(entity, key)
            self.tables[entity].remove(key)
            for name in CHILD_ENTITIES:
                for child in [*self.tables[name].children((entity, key))]:
                    self.delete(name, child, touch_parent=False)

    def put(self, entity: str, fields: Mapping[str, Any], parent: Parent | None = None) -> Record:
        """Stores a record, and returns it: what `fields` lacks is null, but for a new id and the dates."""
        with self.lock:
            facts, record = facts_of(entity), blank(entity) | parent_field(entity, parent) | copy.deepcopy(dict(fields))
            key = facts.key[0]
            if record[key] is None and len(facts.key) == 1 and facts.fields[key].type == "integer":
                record[key] = self.tables[entity].next_id()
            for name in (DATE_CREATED, DATE_UPDATED):
                if name in record and record[name] is None:
                    record[name] = self.now()
            for array in facts.arrays:
                record[array] = [dict.fromkeys(child_fields(array)) | item for item in record[array] or ()]
            self._number_children(record)
            self.tables[entity].put(key_of(entity, record, parent), dump(record), parent)
            return record

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
            texts = {text for raw in self.tables[entity].raw.values() for text in TAG_NAME.findall(raw)}
        return sorted(set(map(json.loads, texts)))

    def add_link(
        self, entity: str, key: Key, name: str, other: int, fields: Record | None = None, touch: bool = True
    ) -> Record:
        """Links a record to another one, a "Contact" for example, and returns the link; `touch` as in `update`.

        Raises:
            KeyError: one of the two does not exist.
        """
        with self.lock:
            far, near_end, far_end = LINKED[name], (LINK_NAMES[entity], int(key)), (name, other)
            self.tables[far].raw[other]
            self._child_id += 1
            made = link(self._child_id, near_end, far_end) | (fields or {})
            ends: list[tuple[str, Key, Record]] = [(entity, key, made)]
            if entity in MAIN and far in MAIN:
                ends.append((far, other, link(self._child_id, far_end, near_end, forward=False) | (fields or {})))
            for table, row, item in ends:
                self.update(table, row, {"LINKS": [*parse(self.tables[table].raw[row])["LINKS"], item]}, touch)
            return made

    def change_links(
        self, entity: str, key: Key, link_id: int, change: Record | None, touch: bool = True
    ) -> Record | None:
        """Sets fields of a link in both records, or removes it if `change` is None; returns the changed link.

        Raises:
            KeyError: no such record or link.
        """
        with self.lock:
            found: Record = {item["LINK_ID"]: item for item in parse(self.tables[entity].raw[key])["LINKS"]}[link_id]
            far, other = LINKED.get(found["LINK_OBJECT_NAME"]), found["LINK_OBJECT_ID"]
            ends: list[tuple[str, Key]] = [(entity, key)]
            if far in MAIN and other in self.tables[far].raw:
                ends.append((far, other))
            for table, row in ends:
                links = parse(self.tables[table].raw[row])["LINKS"]
                kept = [item for item in links if item["LINK_ID"] != link_id]
                if change is not None:
                    kept = [item | change if item["LINK_ID"] == link_id else item for item in links]
                self.update(table, row, {"LINKS": kept}, touch)
            return None if change is None else found | change

    def record_state(self, opportunity: Record, at: str, reason: Record | None) -> Record:
        """Adds the opportunity's current state to its state history, and returns the new row."""
        key = opportunity["OPPORTUNITY_ID"]
        return self.put(HISTORY, state_row(key, at, opportunity["OPPORTUNITY_STATE"], reason), ("opportunities", key))

    def define(
        self, field_for: str, name: str, kind: str, label: str | None = None, options: Iterable[str] = ()
    ) -> Record:
        """Adds a custom-field definition, e.g. `define("CONTACT", "Hobby__c", "TEXT")`, and returns it."""
        with self.lock:
            order = 1 + sum(row["FIELD_FOR"] == field_for for row in self.definitions)
            made = definition(field_for, name, kind, order, options) | ({"FIELD_LABEL": label} if label else {})
            self.definitions.append(made)
            return made

    def define_object(self, name: str) -> Record:
        """Adds a custom object without records, e.g. `Fruit__c`, and returns its definition."""
        with self.lock:
            self.tables[name] = Table()
            return self.create("custom_objects", {"OBJECT_NAME": name, "SINGULAR_LABEL": name.removesuffix("__c")})

    def remove_object(self, name: str) -> None:
        """Removes a custom object and its records. Raises KeyError where there is none."""
        with self.lock:
            self.delete("custom_objects", name)
            del self.tables[name]

    def object_named(self, name: str) -> str | None:
        """The OBJECT_NAME of the custom object with this name in any case, or None."""
        names = (each for each in self.tables["custom_objects"].keys if each in self.tables)
        return next((each for each in names if each.lower() == name.lower()), None)

    def _number_children(self, record: Record) -> None:
        for array, key in CHILD_KEYS.items():
            for item in record.get(array) or ():
                if item.get(key) is None:
                    self._child_id += 1
                    item[key] = self._child_id

    def _touch_parent(self, entity: str, key: Key) -> None:
        """A file of a comment changes the comment's date, and not that of the comment's record."""
        if parent := self.tables[entity].parents.get(key):
            self.update(*parent, {}, touch_parent=False)
