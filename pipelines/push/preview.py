"""The preview of a push: each row's change, compared with the record in the destination. Sends no call."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

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
    """What a push does with each row, as far as the destination's rows tell.

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
    normalize = dataset.normalize if dataset is not None else str.lower
    shown: Callable[[str], bool] = lambda name: normalize(name) not in masked  # noqa: E731
    held = _Records(entity, rows, dataset, match if match is None or shown(match) else None)
    changes = []
    for row in rows:
        found = [row.key] if row.key is not None else held.find(row.match)
        id_ = found[0] if len(found) == 1 else None
        record = None if id_ is None else held.record(id_)
        change = _change(row, op, id_, held.name_of(record, shown))
        changes.append(change)
        if len(found) > 1:
            change["note"] = f"{len(found)} records have this {match}, so the row will be refused"
            continue
        live = record is not None and not record.get(DELETED_AT)
        if op == "create" or (op == "upsert" and row.key is None and not live):
            _create(change, entity, op, row, match, shown)
        elif op == "delete":
            _delete(change, record, live, known=dataset is not None and match is None)
        else:
            _update(change, row, record, match, partial(held.value, record or {}), shown)
    return changes


def _create(change: Change, entity: Entity, op: str, row: Row, match: str | None, shown: Callable[[str], bool]) -> None:
    change["action"], change["record_id"], change["name"] = "create", None, None
    values = {name: value for name, value in {**row.fields, **row.custom}.items() if value is not None}
    change["fields"] = [_field(name, None, value, shown) for name, value in values.items()]
    if op == "upsert" and match is not None:
        known = f"no record with this {match} in the destination"
        change["note"] = known if shown(match) else f"unless a record has this {match}, which hash or drop masks"
        if missing := missing_fields(entity, row):
            change["note"] += f", and to create one {', '.join(missing)}"


def _delete(change: Change, record: Mapping[str, Any] | None, live: bool, known: bool) -> None:
    if record is not None and not live:
        change["action"], change["note"] = "missing", f"deleted already, found {record[DELETED_AT]:%Y-%m-%d %H:%M}"
    elif record is None:
        change["action"], change["note"] = "missing" if known else "delete", NOT_LOADED


def _update(
    change: Change,
    row: Row,
    record: Mapping[str, Any] | None,
    match: str | None,
    stored: Callable[[str], Any],
    shown: Callable[[str], bool],
) -> None:
    change["action"] = "update"
    if record is None:
        change["note"] = f"{NOT_LOADED}: the old values are not known"
    elif record.get(DELETED_AT):
        change["note"] = f"deleted, found {record[DELETED_AT]:%Y-%m-%d %H:%M}"
    values = {name: value for name, value in {**row.fields, **row.custom}.items() if row.key or name != match}
    for name, value in values.items():
        old = stored(name)
        if record is None or not shown(name) or not equal(value, old):
            field = _field(name, old, value, shown)
            change["fields"].append(field)
            if record is None:
                field.pop("old", None)
    if not change["fields"]:
        change["action"] = "none"


def _field(name: str, old: Any, new: Any, shown: Callable[[str], bool]) -> dict[str, Any]:
    return {"field": name, "old": old, "new": new} if shown(name) else {"field": name, "masked": True}


def _change(row: Row, action: str, id_: int | None, name: str | None = None) -> Change:
    return {**row.where, "action": action, "record_id": id_, "name": name, "fields": [], "note": None}


class _Records:
    """The destination's records that some rows are for."""

    def __init__(self, entity: Entity, rows: Sequence[Row], dataset: Dataset | None, match: str | None) -> None:
        self._entity, self._normalize = entity, str.lower if dataset is None else dataset.normalize
        self._ids: dict[str, list[int]] = {}
        self._records: dict[int, dict[str, Any]] = {}
        # The required texts, such as TITLE or OPPORTUNITY_NAME, say to a person which record it is.
        self._names = [n for n, f in entity.fields.items() if f.type == "string" and "required" in f.flags]
        if dataset is None or not dataset.table_exists(entity.name):
            return
        if match is not None:
            self._ids = _ids_by_value(dataset, entity, match, [row.match for row in rows if row.match is not None])
        columns = dict.fromkeys([*self._names, *(name for row in rows for name in (*row.fields, *row.custom))])
        ids = {row.key for row in rows if row.key is not None} | {id_ for found in self._ids.values() for id_ in found}
        names = (each for name in columns if name not in entity.arrays for each in (name, name + VARIANT))
        self._records = dataset.values_by_id(entity, [*map(self._normalize, names), DELETED_AT], sorted(ids))

    def find(self, value: Any) -> list[int]:
        return self._ids.get(_fold(value), [])

    def record(self, id_: int) -> dict[str, Any] | None:
        return self._records.get(id_)

    def value(self, record: Mapping[str, Any], name: str) -> Any:
        """A stored value in the form the API takes."""
        value = record.get(self._normalize(name + VARIANT))  # exact, where the column is rounded
        if value is None:
            value = record.get(self._normalize(name))
        return _to_api(value)

    def name_of(self, record: Mapping[str, Any] | None, shown: Callable[[str], bool]) -> str | None:
        values = (self.value(record, name) for name in self._names if shown(name)) if record else ()
        return " ".join(str(value) for value in values if value) or None


def _ids_by_value(dataset: Dataset, entity: Entity, match: str, values: Sequence[Any]) -> dict[str, list[int]]:
    """The live records with some values in a field; blanks and case of texts make no difference."""
    if not dataset.has_column(entity.name, dataset.normalize(match)):
        return {}
    column, key = dataset.column(match), dataset.column(entity.key[0])
    is_text, found = dataset.is_text(entity.name, dataset.normalize(match)), dict[str, list[int]]()
    operand = f"lower(trim({column}))" if is_text else column
    wanted = [_fold(value) if is_text else _time(value) for value in values]
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        where = f"where {operand} in ({', '.join(['%s'] * len(batch))}) and {dataset.column(DELETED_AT)} is null"
        sql = f"select {key} as id, {column} as value from {dataset.table_name(entity.name)} {where}"
        for row in dataset.query(sql, *batch):
            found.setdefault(_fold(_to_api(row["value"])), []).append(int(row["id"]))
    return found


def _tag_changes(op: str, rows: Sequence[Row], dataset: Dataset | None) -> list[Change]:
    """For an update, which sets all tags of a record, one change at the record's first row."""
    held, changes, names = _tags(rows, dataset), list[Change](), dict[Any, list[str]]()
    for row in rows:
        names.setdefault(row.parent, []).append(str(row.fields["TAG_NAME"]))
    for row in rows:
        assert row.parent is not None
        name, existing = str(row.fields["TAG_NAME"]), held.get(row.parent)
        has = _fold(name) in {_fold(each) for each in existing or ()}
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
    by_entity = dict[str, set[int]]()
    for row in rows:
        if row.parent is not None:
            by_entity.setdefault(row.parent[0], set()).add(row.parent[1])
    held = dict[tuple[str, int], list[str]]()
    for name, ids in by_entity.items() if dataset is not None else ():
        assert dataset is not None
        entity, ordered = ENTITIES[name], sorted(ids)
        key = entity.key[0]
        held |= {(name, id_): [] for id_ in dataset.values_by_id(entity, [dataset.normalize(key)], ordered)}
        for start in range(0, len(ordered), BATCH):
            tags = dataset.rows_by_id(entity, child_table(entity, "TAGS"), ordered[start : start + BATCH])
            for tag in sorted(tags, key=lambda each: int(each[dataset.normalize(LIST_IDX)] or 0)):
                if tag["tag_name"] is not None:
                    held.setdefault((name, tag[dataset.normalize(key)]), []).append(tag["tag_name"])
    return held


def _to_api(stored: Any) -> Any:
    try:
        return to_api(_ANY, stored)
    except InvalidValue:
        return str(stored)


def _time(value: Any) -> Any:
    """A date or time in the form the API takes as the destination has it; any other value as it is."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value


def _fold(value: Any) -> str:
    return str(stripped(value)).lower()
