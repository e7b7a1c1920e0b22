"""Rows as the API tells them against rows as the destination holds them, value by value. Pure logic."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sources.insightly.rows.naming import DELETED_AT, IS_EMPTY, LIST_IDX
from sources.insightly.rows.shaper import ShapedTable

Row = Mapping[str, Any]
Normalize = Callable[[str], str]
IGNORED = frozenset({DELETED_AT, IS_EMPTY, "_dlt_id", "_dlt_load_id", "e_tag", "etag"})
"""Columns of ours and of dlt's, and the ETag, which says nothing of the record (API.md 1.3)."""


def differences(told: ShapedTable, held: Iterable[Row], normalize: Normalize) -> dict[tuple[Any, ...], str]:
    """What differs between the rows of one table.

    Args:
        told: the rows that the API's answer becomes.
        held: the destination's rows of the same records.
        normalize: an API field name -> the column's name.

    Returns:
        For each record (by the values of its key, without a child row's position): what differs, in words.
    """
    key = [normalize(part) for part in told.key]
    theirs = {_key(row, key): row for row in _rows(told, normalize)}
    ours = {_key(row, key): row for row in held}
    parts = len(key) - (LIST_IDX in told.key)
    found: dict[tuple[Any, ...], str] = {}
    for row_key in [*theirs, *(extra for extra in ours if extra not in theirs)]:
        text = _difference(theirs.get(row_key), ours.get(row_key))
        if text:
            found.setdefault(row_key[:parts], f"{told.table} {_named(key, row_key)}: {text}")
    return found


def group_difference(told: ShapedTable, held: Sequence[Row], normalize: Normalize) -> str | None:
    """What differs between the rows under one record, in words; None where nothing does. Two may have one key."""
    theirs = list(_rows(told, normalize))
    if Counter(map(_values, theirs)) == Counter(map(_values, held)):
        return None
    words = next(iter(differences(told, held, normalize).values()), None)
    return words or f"{told.table}: {len(theirs)} rows at the API, {len(held)} here"


def _values(row: Row) -> frozenset[tuple[str, Any]]:
    return frozenset((name, value) for name, value in row.items() if value is not None and name not in IGNORED)


def _difference(theirs: Row | None, ours: Row | None) -> str:
    if ours is None:
        return "the row is missing here"
    if theirs is None:
        return "the row is not at the API"
    columns = sorted({*theirs, *ours} - IGNORED)
    return "; ".join(
        f"{column} is {_shown(theirs.get(column))} at the API, {_shown(ours.get(column))} here"
        for column in columns
        if theirs.get(column) != ours.get(column)
    )


def _rows(told: ShapedTable, normalize: Normalize) -> Iterable[Row]:
    names = [normalize(name) for name in told.rows.column_names]
    for values in zip(*(column.to_pylist() for column in told.rows.columns), strict=True):
        row = dict(zip(names, values, strict=True))
        if not row.get(IS_EMPTY):
            yield row


def _key(row: Row, key: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[part] for part in key)


def _named(key: Sequence[str], values: Sequence[Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(key, values, strict=True))


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
