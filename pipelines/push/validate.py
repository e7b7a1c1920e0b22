"""Checks every row against the entity table, before anything is sent. Pure logic."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sources.insightly.entities import COMPUTED_FROM, ENTITIES, Entity
from sources.insightly.errors import BadSetting, closest
from sources.insightly.fields import Field, FieldType, child_fields
from sources.insightly.rows.custom_fields import declared_types

from .input import EXTRA_CELLS
from .values import InvalidValue, stripped, to_api

SYSTEM_COLUMNS = ("_dlt_", "_deleted_at", "_is_empty")
"""Prefixes of the destination's columns that are not fields."""
PARENT = ("parent_type", "parent_id")
TAG_COLUMNS = ("record_type", "record_id", "tag_name")

Definitions = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Row:
    """One row to send.

    `fields` and `custom` are by API name, in the API's form, None to clear a field. `parent` is the record that a note
    is created under, or the record of a tag: (entity, id). `line` is the line of the file it begins in, `place` the
    row's name in messages. A row with `problems` is not sent.
    """

    number: int
    key: int | None = None
    match: Any = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    parent: tuple[str, int] | None = None
    problems: tuple[str, ...] = ()
    line: int | None = None
    place: str = ""

    @property
    def where(self) -> dict[str, Any]:
        """Where the row is in the input, as reports have it."""
        return {"row": self.number, "line": self.line, "place": self.place}


class RowValidator:
    """Checks the rows of one push.

    Args:
        entity: the records' entity.
        op: `create`, `update`, `upsert` or `delete`.
        match: the column that finds records, None for the key.
        definitions: the entity's custom fields; None if they are unknown, and any `Name__c` is accepted.
        normalize: an API name -> its snake_case.
        masked: normalized names of columns whose values no message may have.
    """

    def __init__(
        self,
        entity: Entity,
        op: str,
        match: str | None,
        definitions: Definitions | None,
        normalize: Callable[[str], str],
        masked: Collection[str] = (),
    ) -> None:
        self.entity, self.op, self.normalize, self.masked = entity, op, normalize, masked
        self.accept_any_custom = definitions is None and entity.custom_fields
        types = declared_types(definitions or ())
        self.custom = {name: _field(name, kind or "any") for name, kind in types.items()}
        self.locked = {str(row["FIELD_NAME"]) for row in definitions or () if row.get("EDITABLE") is False}
        self.settable = entity.writable | set(entity.arrays)
        names = [*entity.fields, *self.custom, *entity.arrays]
        self.names = {normalize(name): name for name in names} | {name: name for name in names}
        self.match = None if match is None else self._match_field(match)

    def rows(self, rows: Iterable[Mapping[str, Any]], place_of: Callable[[int], str] = "row {}".format) -> list[Row]:
        """The rows with their problems. Of two rows for one record the later one has a problem.

        Args:
            rows: the cells of each row.
            place_of: a row's number -> its name in messages.
        """
        first_rows: dict[Any, int] = {}
        validated = []
        for number, cells in enumerate(rows, start=1):
            row = self._row(number, cells)
            if row.key is not None or row.match is not None:
                record = row.key if row.key is not None else str(row.match).strip().casefold()
                first = first_rows.setdefault(record, number)
                if first != number:
                    row = replace(row, problems=(*row.problems, f"{place_of(first)} is for the same record"))
            validated.append(row)
        return validated

    def _match_field(self, column: str) -> str:
        name = self._field_name(column)
        if name is None or name in self.entity.arrays or (name in self.entity.fields and name not in self.settable):
            hint = self._hint(column) if name is None else ""
            raise BadSetting("--match", column, f"must be a field of {self.entity.name} that can be written{hint}")
        return name

    def _row(self, number: int, cells: Mapping[str, Any]) -> Row:
        fields: dict[str, Any] = {}
        custom: dict[str, Any] = {}
        parent: dict[str, Any] = {}
        problems: list[str] = []
        invalid = set[str]()
        for column, value in self._cells(cells, problems):
            name = self._field_name(column)
            try:
                if self.entity.create_parents and column.lower() in PARENT:
                    parent[column.lower()] = value
                elif name is None:
                    problems.append(self._unknown(column))
                elif name in fields or name in custom:
                    problems.append(f"{name} has two values")
                elif name in self.entity.arrays:
                    fields[name] = _array(name, value)
                elif name in self.entity.fields:
                    fields[name] = to_api(self.entity.fields[name], value)
                else:
                    custom[name] = to_api(self.custom.get(name) or _field(name, "any"), value)
            except InvalidValue as error:
                is_masked = self.normalize(str(name)) in self.masked
                problems.append(f"{column} {error.reason if is_masked else error}")
                invalid.add(str(name))
        key, match, record = fields.pop(self.entity.key[0], None), {**fields, **custom}.get(self.match or ""), None
        for values in (fields, custom):
            if self.match in values:
                values[self.match] = stripped(values[self.match])
        if self.op == "delete":
            fields, custom = {}, {}
        else:
            problems += self._read_only(fields, custom)
            fields = {name: value for name, value in fields.items() if name in self.settable}
            if self.entity.create_parents and self.op != "update" and key is None:
                record = _record(parent, *PARENT, self.entity.create_parents, problems)
        named = {problem.split()[0] for problem in problems} | invalid
        row = Row(number, key, match, fields, custom, record, tuple(problems))
        incomplete = [problem for problem in self._incomplete(row) if problem.split()[0] not in named]
        return replace(row, problems=(*row.problems, *incomplete))

    def _cells(self, cells: Mapping[str, Any], problems: list[str]) -> Iterable[tuple[str, Any]]:
        """The columns and values of a row, those in CUSTOMFIELDS included."""
        for column, value in cells.items():
            if column == EXTRA_CELLS:
                problems.append(EXTRA_CELLS)
            elif column.upper() == "CUSTOMFIELDS" and isinstance(value, list) and self.entity.custom_fields:
                for entry in value:
                    if isinstance(entry, dict) and entry.get("FIELD_NAME"):
                        yield str(entry["FIELD_NAME"]), entry.get("FIELD_VALUE")
                    else:
                        problems.append("an entry of CUSTOMFIELDS has no FIELD_NAME")
            elif not column.lower().startswith(SYSTEM_COLUMNS):
                yield column, value

    def _field_name(self, column: str) -> str | None:
        name = self.names.get(column) or self.names.get(self.normalize(column))
        return column if name is None and self.accept_any_custom and column.lower().endswith("__c") else name

    def _unknown(self, column: str) -> str:
        return f"{column} is not a field of {self.entity.name}{self._hint(column)}"

    def _hint(self, column: str) -> str:
        similar = closest(self.normalize(column), self.names)
        return f"; did you mean {self.names[similar]}?" if similar else ""

    def _read_only(self, fields: Mapping[str, Any], custom: Mapping[str, Any]) -> list[str]:
        names = [name for name, value in fields.items() if name not in self.settable and value is not None]
        names += [name for name, value in custom.items() if name in self.locked and value is not None]
        arrays = [name for name in fields if name in self.entity.arrays] if self.op != "create" else []
        hints = dict.fromkeys(self.entity.arrays, " after the record's creation") | {"TAGS": "; push the entity tags"}
        hints |= {name: f"; write {field}" for name, field in COMPUTED_FROM.items() if field in self.settable}
        return [f"{name} is read-only{hints.get(name, '')}" for name in (*names, *arrays)]

    def _incomplete(self, row: Row) -> list[str]:
        """Problems of the row as a whole: fields that it lacks, or must not have or clear."""
        key, finds_record = self.entity.key[0], row.key is not None or row.match is not None
        if self.op == "create" and row.key is not None:
            return [f"{key} is set by Insightly: leave it out, or use --op update"]
        if not finds_record and (self.op in ("update", "delete") or self.match is not None):
            return [f"{self.match or key} is missing"]
        if self.op == "delete":
            return []
        if not finds_record:
            return missing_fields(self.entity, row)
        if cleared := [name for name, value in row.fields.items() if value is None and _required(self.entity, name)]:
            return [f"{name} cannot be cleared" for name in cleared]
        written = {**row.fields, **row.custom}.keys() - {self.match}
        return [] if written or row.problems or self.op == "upsert" else ["there is nothing to write"]


def missing_fields(entity: Entity, row: Row) -> list[str]:
    """The required fields that the row lacks for a create."""
    return [f"{n} is missing" for n in entity.fields if _required(entity, n) and row.fields.get(n) is None]


def validate_tags(rows: Iterable[Mapping[str, Any]], taggable: Sequence[str]) -> list[Row]:
    """The rows of a push of tags: record_type, record_id, tag_name.

    Args:
        rows: the cells of each row.
        taggable: the entities whose records have tags.
    """
    validated = []
    for number, cells in enumerate(rows, start=1):
        values = {column.lower(): value for column, value in cells.items()}
        unknown = (c for c in values if c not in TAG_COLUMNS and not c.startswith(SYSTEM_COLUMNS))
        problems = [f"{column} is not a column of tags" for column in unknown]
        record = _record(values, "record_type", "record_id", taggable, problems)
        name = None
        try:
            name = to_api(ENTITIES["tags"].fields["TAG_NAME"], values.get("tag_name"))
            problems += [] if name is not None else ["tag_name is missing"]
        except InvalidValue as error:
            problems.append(f"tag_name {error}")
        validated.append(Row(number, parent=record, fields={"TAG_NAME": name}, problems=tuple(problems)))
    return validated


def _array(name: str, value: Any) -> list[dict[str, Any]]:
    fields = child_fields(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidValue("is not a list of objects")
    if unknown := [column for item in value for column in item if column not in fields]:
        raise InvalidValue(f"has no {unknown[0]} in its items")
    return [{column: to_api(fields[column], each) for column, each in item.items()} for item in value]


def _record(
    values: Mapping[str, Any], type_column: str, id_column: str, entities: Sequence[str], problems: list[str]
) -> tuple[str, int] | None:
    """The (entity, id) in two columns; `Contact` and `CONTACTS` mean contacts. Adds to `problems` if there is none."""
    for column in (type_column, id_column):
        if values.get(column) in (None, ""):
            problems.append(f"{column} is missing")
            return None
    text = str(values[type_column]).strip().lower()
    name = next((each for each in entities if text in (each, ENTITIES[each].field_for.lower())), None)
    if name is None:
        problems.append(f"{type_column} {text!r} is none of {', '.join(entities)}")
        return None
    try:
        return name, int(to_api(_field(id_column, "integer"), values[id_column]))
    except InvalidValue as error:
        problems.append(f"{id_column} {error}")
        return None


def _field(name: str, kind: FieldType) -> Field:
    return Field(name, kind, None, frozenset())


def _required(entity: Entity, name: str) -> bool:
    return name in entity.fields and "required" in entity.fields[name].flags
