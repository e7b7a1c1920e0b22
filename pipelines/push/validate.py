"""Every row against the entity table, before anything is sent. Pure logic."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sources.insightly.entities import ENTITIES, Entity, Field, child_fields
from sources.insightly.errors import BadSetting
from sources.insightly.rows.custom_fields import declared_types

from .input import EXTRA
from .values import Misfit, wire

OURS = ("_dlt_", "_deleted_at", "_is_empty")
"""Columns of the destination's tables that are no fields."""
PARENT = ("parent_type", "parent_id")
TAG_COLUMNS = ("record_type", "record_id", "tag_name")

Definitions = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Row:
    """One row as it is to be sent.

    `fields` and `custom` are by API name, in the API's form, None where a field is to be cleared; `parent` is what a
    note is made under, or the record of a tag: (entity, id). A row with `problems` is not sent.
    """

    number: int
    key: int | None = None
    match: Any = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    parent: tuple[str, int] | None = None
    problems: tuple[str, ...] = ()


class Checker:
    """Checks the rows of one push.

    Args:
        entity: whose records they are.
        op: `create`, `update`, `upsert` or `delete`.
        match: the column that finds records, None for the key.
        definitions: the entity's custom fields, None where they are not known: then any `Name__c` is taken as it is.
        normalize: an API name -> its snake_case.
    """

    def __init__(
        self,
        entity: Entity,
        op: str,
        match: str | None,
        definitions: Definitions | None,
        normalize: Callable[[str], str],
    ) -> None:
        self.entity, self.op, self.normalize = entity, op, normalize
        self.defined = definitions is not None
        types = declared_types(definitions or ())
        self.custom = {name: Field(name, kind or "any", None, frozenset()) for name, kind in types.items()}
        self.locked = {str(row["FIELD_NAME"]) for row in definitions or () if row.get("EDITABLE") is False}
        names = [*entity.fields, *self.custom, *entity.arrays]
        self.names = {normalize(name): name for name in names} | {name: name for name in names}
        self.match = None if match is None else self._match(match)

    def rows(self, given: Iterable[Mapping[str, Any]]) -> list[Row]:
        """The rows, each with what is wrong with it; of two rows for one record the later one is wrong."""
        seen: dict[Any, int] = {}
        checked = []
        for number, cells in enumerate(given, start=1):
            row = self._row(number, cells)
            mark = row.key if row.key is not None else str(row.match).strip().casefold()
            if row.key is not None or row.match is not None:
                first = seen.setdefault(mark, number)
                if first != number:
                    row = replace(row, problems=(*row.problems, f"row {first} is for the same record"))
            checked.append(row)
        return checked

    def _match(self, column: str) -> str:
        name = self._name_of(column)
        if name is None or name in self.entity.arrays or (name in self.entity.fields and not self._settable(name)):
            raise BadSetting("--match", column, f"must be a field of {self.entity.name} that can be written")
        return name

    def _row(self, number: int, cells: Mapping[str, Any]) -> Row:
        fields: dict[str, Any] = {}
        custom: dict[str, Any] = {}
        parent: dict[str, Any] = {}
        problems: list[str] = []
        for column, value in self._cells(cells, problems):
            name = self._name_of(column)
            try:
                if self.entity.create_parents and column.lower() in PARENT:
                    parent[column.lower()] = value
                elif name is None:
                    problems.append(self._unknown(column))
                elif name in fields or name in custom:
                    problems.append(f"{name} is given twice")
                elif name in self.entity.arrays:
                    fields[name] = self._array(name, value)
                elif name in self.entity.fields:
                    fields[name] = wire(self.entity.fields[name], value)
                else:
                    custom[name] = wire(self.custom.get(name, Field(name, "any", None, frozenset())), value)
            except Misfit as misfit:
                problems.append(f"{name} {misfit}")
        key = fields.pop(self.entity.key[0], None)
        if self.op == "delete":
            match = {**fields, **custom}.get(self.match or "")
            row = Row(number, key, match)
        else:
            problems += self._read_only(fields, custom)
            kept = {name: value for name, value in fields.items() if self._settable(name)}
            match = {**fields, **custom}.get(self.match or "")
            row = Row(number, key, match, kept, custom, self._parent(parent, key, problems))
        told = {problem.split()[0] for problem in problems}
        lacking = [text for text in self._absent(row) if text.split()[0] not in told]
        return replace(row, problems=(*problems, *lacking))

    def _cells(self, cells: Mapping[str, Any], problems: list[str]) -> Iterable[tuple[str, Any]]:
        for column, value in cells.items():
            if column == EXTRA:
                problems.append(EXTRA)
            elif column.upper() == "CUSTOMFIELDS" and isinstance(value, list) and self.entity.custom_fields:
                for entry in value:
                    if isinstance(entry, dict) and entry.get("FIELD_NAME"):
                        yield str(entry["FIELD_NAME"]), entry.get("FIELD_VALUE")
                    else:
                        problems.append("an entry of CUSTOMFIELDS has no FIELD_NAME")
            elif not column.lower().startswith(OURS):
                yield column, value

    def _name_of(self, column: str) -> str | None:
        name = self.names.get(column) or self.names.get(self.normalize(column))
        if name is None and self.entity.custom_fields and not self.defined and column.lower().endswith("__c"):
            return column
        return name

    def _unknown(self, column: str) -> str:
        close = difflib.get_close_matches(self.normalize(column), [self.normalize(name) for name in self.names], 1, 0.8)
        hint = f"; is it {self.names[close[0]]}?" if close else ""
        return f"{column} is no field of {self.entity.name}{hint}"

    def _settable(self, name: str) -> bool:
        return name in self.entity.writable or name in self.entity.arrays

    def _read_only(self, fields: Mapping[str, Any], custom: Mapping[str, Any]) -> list[str]:
        told = {**fields, **custom}
        bad = [name for name in fields if not self._settable(name) and told[name] is not None]
        bad += [name for name in custom if name in self.locked and told[name] is not None]
        if self.op != "create":
            bad += [name for name in fields if name in self.entity.arrays]
        return [f"{name} is read-only{self._instead(name)}" for name in bad]

    def _instead(self, name: str) -> str:
        if name == "TAGS":
            return " here: push tags"
        return " after the record's creation" if name in self.entity.arrays else ""

    def _array(self, name: str, value: Any) -> list[dict[str, Any]]:
        known = child_fields(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise Misfit("is no list of objects")
        for item in value:
            if unknown := [part for part in item if part not in known]:
                raise Misfit(f"has no {unknown[0]} in its items")
        return [{part: wire(known[part], each) for part, each in item.items()} for item in value]

    def _parent(self, given: Mapping[str, Any], key: int | None, problems: list[str]) -> tuple[str, int] | None:
        if not self.entity.create_parents or self.op == "update" or key is not None:
            return None
        return _record(given, *PARENT, self.entity.create_parents, problems)

    def _absent(self, row: Row) -> list[str]:
        """What the row lacks, or must not have."""
        key, found = self.entity.key[0], row.key is not None or row.match is not None
        if self.op == "create" and row.key is not None:
            return [f"{key} is given by Insightly: leave it out, or use --op update"]
        if not found and (self.op in ("update", "delete") or self.match is not None):
            return [f"{self.match or key} is missing"]
        if self.op == "delete":
            return []
        if not found:
            return missing(self.entity, row)
        cleared = [name for name, value in row.fields.items() if value is None and _required(self.entity, name)]
        if cleared:
            return [f"{name} cannot be cleared" for name in cleared]
        written = {**row.fields, **row.custom}.keys() - {self.match}
        return [] if written or self.op == "upsert" else ["there is nothing to write"]


def missing(entity: Entity, row: Row) -> list[str]:
    """The fields that a create of the row would lack."""
    return [f"{n} is missing" for n in entity.fields if _required(entity, n) and row.fields.get(n) is None]


def check_tags(given: Iterable[Mapping[str, Any]], taggable: Sequence[str]) -> list[Row]:
    """The rows of a push of tags: record_type, record_id, tag_name."""
    checked = []
    for number, cells in enumerate(given, start=1):
        told = {column.lower(): value for column, value in cells.items()}
        problems = [f"{c} is no column of tags" for c in told if c not in TAG_COLUMNS and not c.startswith(OURS)]
        record = _record(told, "record_type", "record_id", taggable, problems)
        name = None
        try:
            name = wire(ENTITIES["tags"].fields["TAG_NAME"], told.get("tag_name"))
            problems += [] if name is not None else ["tag_name is missing"]
        except Misfit as misfit:
            problems.append(f"tag_name {misfit}")
        checked.append(Row(number, parent=record, fields={"TAG_NAME": name}, problems=tuple(problems)))
    return checked


def _record(
    told: Mapping[str, Any], type_column: str, id_column: str, known: Sequence[str], problems: list[str]
) -> tuple[str, int] | None:
    """The (entity, id) that two columns name; `Contact` and `CONTACTS` are contacts."""
    for column in (type_column, id_column):
        if told.get(column) in (None, ""):
            problems.append(f"{column} is missing")
            return None
    word = str(told[type_column]).strip().lower()
    name = next((each for each in known if word in (each, ENTITIES[each].field_for.lower())), None)
    if name is None:
        problems.append(f"{type_column} {word!r} is none of {', '.join(known)}")
        return None
    try:
        return name, int(wire(Field(id_column, "integer", None, frozenset()), told[id_column]))
    except Misfit as misfit:
        problems.append(f"{id_column} {misfit}")
        return None


def _required(entity: Entity, name: str) -> bool:
    return "required" in entity.fields[name].flags if name in entity.fields else False
