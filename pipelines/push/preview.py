"""The preview of a push: each row's change, compared with the record in the destination. Sends no call."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dlt.common.utils import chunks

from pipelines.destinations.dataset import BATCH, Dataset
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.fields import Field
from sources.insightly.rows.naming import DELETED_AT, LIST_IDX, VARIANT, child_table

from .validate import Row, missing_fields
from .values import InvalidValue, equal, stripped, to_api

Change = dict[str, Any]
NOT_LOADED = "not in the destination"
_ANY = Field("", "any", None, frozenset())


def preview(
    entity: Entity,
    op: str,
    rows: Sequence[Row],
    dataset: Dataset | None,
    match: str | None,
    masked: Collection[str] = (),
) -> list[Change]:
    """What a push does with each row, as far as the destination's rows show.

    Args:
        entity, op: the records' entity and the operation.
        rows: the rows to carry out, without problems.
        dataset: the destination, None if it does not exist yet.
        match: the field that finds records, None for the key.
        masked: columns in `hash` or `drop`: their values are neither compared nor shown.

    Returns:
        One change for each row: `row`, `line` and `place`; `action` (create, update, delete, none if the record has
        the values, missing if there is no record to delete); `record_id` and `name`, null if not known; `fields`, each
        with `field`, `old` and `new`; and a `note`. There is no `old` if the record is not in the destination.
    """
    if dataset is not None and not dataset.has_schema:
        dataset = None
    if entity.name == "tags":
        return _tag_changes(op, rows, dataset)
    previewed = _Preview(entity, op, rows, dataset, match, masked)
    return [previewed.change(row) for row in rows]


def _change(row: Row, action: str, id_: int | None, name: str | None = None) -> Change:
    return {**row.where, "action": action, "record_id": id_, "name": name, "fields": [], "note": None}


class _Preview:
    """The preview of records: compares rows with the destination's records that they are for."""

    def __init__(
        self,
        entity: Entity,
        op: str,
        rows: Sequence[Row],
        dataset: Dataset | None,
        match: str | None,
        masked: Collection[str],
    ) -> None:
        self.entity, self.op, self.match, self.masked = entity, op, match, masked
        self.normalize = str.lower if dataset is None else dataset.normalize
        self.has_destination = dataset is not None
        self.ids: dict[str, list[int]] = {}
        self.records: dict[int, dict[str, Any]] = {}
        # The required texts, such as TITLE or OPPORTUNITY_NAME, say to a person which record it is.
        required = (n for n, field in entity.fields.items() if field.type == "string" and "required" in field.flags)
        self.names = list(filter(self._is_shown, required))
        if dataset is None or not dataset.table_exists(entity.name):
            return
        if match is not None and self._is_shown(match):
            self.ids = _ids_by_value(dataset, entity, match, [row.match for row in rows if row.match is not None])
        columns = dict.fromkeys([*self.names, *(name for row in rows for name in (*row.fields, *row.custom))])
        ids = {row.key for row in rows if row.key is not None} | {id_ for found in self.ids.values() for id_ in found}
        names = (each for name in columns if name not in entity.arrays for each in (name, name + VARIANT))
        self.records = dataset.values_by_id(entity, [*map(self.normalize, names), DELETED_AT], sorted(ids))

    def change(self, row: Row) -> Change:
        """What happens to one row."""
        found = [row.key] if row.key is not None else self.ids.get(_normalized(row.match), [])
        id_ = found[0] if len(found) == 1 else None
        record = None if id_ is None else self.records.get(id_)
        name = " ".join(str(value) for name in self.names if (value := self._stored(record, name)))
        change = _change(row, self.op, id_, name or None)
        is_live = record is not None and not record.get(DELETED_AT)
        if len(found) > 1:
            change["note"] = f"{len(found)} records have this {self.match}, so the row will be refused"
        elif self.op == "create" or (self.op == "upsert" and row.key is None and not is_live):
            self._create(change, row)
        elif self.op == "delete":
            self._delete(change, record, is_live)
        else:
            self._update(change, row, record)
        return change

    def _create(self, change: Change, row: Row) -> None:
        change |= {"action": "create", "record_id": None, "name": None}
        values = {name: value for name, value in {**row.fields, **row.custom}.items() if value is not None}
        change["fields"] = [self._field(name, None, value) for name, value in values.items()]
        if self.op == "upsert" and self.match is not None:
            change["note"] = f"no record with this {self.match} in the destination"
            if not self._is_shown(self.match):
                change["note"] = f"unless a record has this {self.match}, which hash or drop masks"
            if missing := missing_fields(self.entity, row):
                change["note"] += f", and to create one {', '.join(missing)}"

    def _delete(self, change: Change, record: Mapping[str, Any] | None, is_live: bool) -> None:
        if record is not None and not is_live:
            change |= {"action": "missing", "note": f"deleted already, found {record[DELETED_AT]:%Y-%m-%d %H:%M}"}
        elif record is None:
            is_missing = self.has_destination and self.match is None
            change |= {"action": "missing" if is_missing else "delete", "note": NOT_LOADED}

    def _update(self, change: Change, row: Row, record: Mapping[str, Any] | None) -> None:
        if record is None:
            change["note"] = f"{NOT_LOADED}: the old values are not known"
        elif record.get(DELETED_AT):
            change["note"] = f"deleted, found {record[DELETED_AT]:%Y-%m-%d %H:%M}"
        values = {name: value for name, value in {**row.fields, **row.custom}.items() if row.key or name != self.match}
        for name, value in values.items():
            old = self._stored(record, name)
            if record is None or not self._is_shown(name) or not equal(value, old):
                field = self._field(name, old, value)
                change["fields"].append(field)
                if record is None:
                    field.pop("old", None)
        change["action"] = "update" if change["fields"] else "none"

    def _field(self, name: str, old: Any, new: Any) -> dict[str, Any]:
        return {"field": name, "old": old, "new": new} if self._is_shown(name) else {"field": name, "masked": True}

    def _is_shown(self, name: str) -> bool:
        return self.normalize(name) not in self.masked

    def _stored(self, record: Mapping[str, Any] | None, name: str) -> Any:
        """A value of a record in the destination, in the form the API takes."""
        if record is None:
            return None
        value = record.get(self.normalize(name + VARIANT))  # exact, where the column is rounded
        return _to_api(record.get(self.normalize(name)) if value is None else value)


def _ids_by_value(dataset: Dataset, entity: Entity, match: str, values: Sequence[Any]) -> dict[str, list[int]]:
    """The live records with some values in a field; blanks and case of texts make no difference."""
    if not dataset.has_column(entity.name, dataset.normalize(match)):
        return {}
    column, key = dataset.column(match), dataset.column(entity.key[0])
    is_text, found = dataset.is_text(entity.name, dataset.normalize(match)), dict[str, list[int]]()
    operand = f"lower(trim({column}))" if is_text else column
    wanted = [_normalized(value) if is_text else _time(value) for value in values]
    for batch in chunks(wanted, BATCH):
        where = f"where {operand} in ({', '.join(['%s'] * len(batch))}) and {dataset.column(DELETED_AT)} is null"
        sql = f"select {key} as id, {column} as value from {dataset.table_name(entity.name)} {where}"
        for row in dataset.query(sql, *batch):
            found.setdefault(_normalized(_to_api(row["value"])), []).append(int(row["id"]))
    return found


def _tag_changes(op: str, rows: Sequence[Row], dataset: Dataset | None) -> list[Change]:
    """For an update, which sets all tags of a record, one change at the record's first row."""
    loaded, changes, names = _tags(rows, dataset), list[Change](), dict[Any, list[str]]()
    for row in rows:
        names.setdefault(row.parent, []).append(str(row.fields["TAG_NAME"]))
    for row in rows:
        assert row.parent is not None
        name, existing = str(row.fields["TAG_NAME"]), loaded.get(row.parent)
        has = _normalized(name) in {_normalized(each) for each in existing or ()}
        change = _change(row, op, row.parent[1], row.parent[0])
        change["note"] = f"{NOT_LOADED}: its tags are not known" if existing is None else None
        if op == "update":
            if row.parent not in names:
                continue
            new = list(dict.fromkeys(names.pop(row.parent)))
            change["fields"] = [{"field": "TAGS", "old": existing, "new": new}]
            change["action"] = "none" if set(new) == set(existing or ()) else "update"
        else:
            old, new_name = (name if has else None, name) if op == "create" else (name, None)
            change["fields"] = [{"field": "TAG_NAME", "old": old, "new": new_name}]
            if existing is not None and has == (op == "create"):
                change["action"] = "none" if has else "missing"
        changes.append(change)
    return changes


def _tags(rows: Iterable[Row], dataset: Dataset | None) -> dict[tuple[str, int], list[str]]:
    """The tags of the records that are in the destination."""
    if dataset is None:
        return {}
    by_entity = dict[str, set[int]]()
    for row in rows:
        if row.parent is not None:
            by_entity.setdefault(row.parent[0], set()).add(row.parent[1])
    loaded = dict[tuple[str, int], list[str]]()
    for name, ids in by_entity.items():
        entity, ordered = ENTITIES[name], sorted(ids)
        key = entity.key[0]
        loaded |= {(name, id_): [] for id_ in dataset.values_by_id(entity, [dataset.normalize(key)], ordered)}
        for batch in chunks(ordered, BATCH):
            tags = dataset.rows_by_id(entity, child_table(entity, "TAGS"), batch)
            for tag in sorted(tags, key=lambda each: int(each[dataset.normalize(LIST_IDX)] or 0)):
                if tag["tag_name"] is not None:
                    loaded.setdefault((name, tag[dataset.normalize(key)]), []).append(tag["tag_name"])
    return loaded


def _to_api(stored: Any) -> Any:
    try:
        return to_api(_ANY, stored)
    except InvalidValue:
        return str(stored)


def _time(value: Any) -> Any:
    """A date or time in the form the API takes as the destination has it; any other value as it is."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value


def _normalized(value: Any) -> str:
    return str(stripped(value)).lower()
