"""Compares rows of the API with rows of the destination, value by value. Pure logic."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from sources.insightly.rows.arrow import round_number
from sources.insightly.rows.naming import DELETED_AT, IS_EMPTY, LIST_IDX, VARIANT
from sources.insightly.rows.shaper import ShapedTable

Row = Mapping[str, Any]
Normalize = Callable[[str], str]
IGNORED = frozenset({DELETED_AT, IS_EMPTY, "_dlt_id", "_dlt_load_id"})
"""Columns that this tool and dlt add."""
EXAMPLES = 20


@dataclass
class Findings:
    """The result of comparing one entity.

    Attributes:
        ids: records that the API lists.
        compared: records compared field by field.
        newer: records that differ because they changed after the last sync.
        count: differences.
        sampled: True if not even every id was compared.
        examples: the first differences, in words.
    """

    ids: int = 0
    compared: int = 0
    newer: int = 0
    count: int = 0
    sampled: bool = False
    examples: list[str] = field(default_factory=list)

    def add(self, difference: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(difference)


def differences(shaped: ShapedTable, loaded: Iterable[Row], normalize: Normalize) -> dict[tuple[Any, ...], str]:
    """Compares the rows of one table.

    Args:
        shaped: the rows made of the API's records.
        loaded: the rows of the same records in the destination.
        normalize: an API field name -> the column's name.

    Returns:
        The difference in words, by the key of the record (without the position of a child row).
    """
    key = [normalize(part) for part in shaped.key]
    api_rows = {_key(row, key): row for row in _rows(shaped, normalize)}
    loaded_rows = {_key(row, key): _as_current(row) for row in loaded}
    key_length = len(key) - (LIST_IDX in shaped.key)
    found: dict[tuple[Any, ...], str] = {}
    for row_key in dict.fromkeys([*api_rows, *loaded_rows]):
        if text := _difference(api_rows.get(row_key), loaded_rows.get(row_key)):
            found.setdefault(row_key[:key_length], f"{describe(shaped.table, key, row_key)}: {text}")
    return found


def repetitions(shaped: ShapedTable, loaded: Iterable[Row], normalize: Normalize) -> Iterator[str]:
    """Compares how often each key of a table is there; yields the differences in words."""
    key = [normalize(part) for part in shaped.key]
    in_api = Counter(_key(row, key) for row in _rows(shaped, normalize))
    for row_key, count in Counter(_key(row, key) for row in loaded).items():
        if count != in_api.get(row_key, count):
            named = describe(shaped.table, key, row_key)
            yield f"{named} is in the table {times(count)}, in the API {times(in_api[row_key])}"


def times(count: int) -> str:
    """A number of times in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def describe(table: str, key: Iterable[str], values: Iterable[Any]) -> str:
    """A row by its table and key."""
    return f"{table} {', '.join(f'{name} {value}' for name, value in zip(key, values, strict=True))}"


def group_difference(shaped: ShapedTable, loaded: Sequence[Row], normalize: Normalize) -> str | None:
    """Compares the rows of one parent, two of which may have the same key.

    Returns:
        The difference in words; None if there is none.
    """
    api_rows, loaded = list(_rows(shaped, normalize)), list(map(_as_current, loaded))
    if Counter(map(_values, api_rows)) == Counter(map(_values, loaded)):
        return None
    text = next(iter(differences(shaped, loaded, normalize).values()), None)
    return text or f"{shaped.table}: {len(api_rows)} rows in the API, {len(loaded)} in the destination"


def _values(row: Row) -> frozenset[tuple[str, Any]]:
    return frozenset((name, value) for name, value in row.items() if value is not None and name not in IGNORED)


def _difference(api_row: Row | None, loaded_row: Row | None) -> str:
    if loaded_row is None:
        return "the row is missing in the destination"
    if api_row is None:
        return "the row is not in the API"
    return "; ".join(
        f"{column} is {_shorten(api_row.get(column))} in the API, {_shorten(loaded_row.get(column))} in the destination"
        for column in sorted({*api_row, *loaded_row} - IGNORED)
        if api_row.get(column) != loaded_row.get(column)
    )


def _rows(shaped: ShapedTable, normalize: Normalize) -> Iterable[Row]:
    for row in shaped.rows.rename_columns(list(map(normalize, shaped.rows.column_names))).to_pylist():
        if not row.get(IS_EMPTY):
            yield _as_current(row)


def _as_current(row: Row) -> Row:
    """The row with its numbers as this version stores them: rounded, and exact in the text column.

    An earlier version stored up to 15 decimals, and a number with more only as text.
    """
    numbers = dict[str, Any]()
    for name, value in row.items():
        if type(value) is Decimal:
            rounded = round_number(value)
            if rounded != value and row.get(name + VARIANT) is None:
                numbers |= {name: rounded, name + VARIANT: value}
        elif type(value) is str and name.endswith(VARIANT):
            column = name.removesuffix(VARIANT)
            with suppress(InvalidOperation):
                if (exact := Decimal(value)).is_finite():
                    numbers[name] = exact
                    if row.get(column) is None:
                        numbers[column] = round_number(exact)
    return {**row, **numbers} if numbers else row


def _key(row: Row, key: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[part] for part in key)


def _shorten(value: Any) -> str:
    text = "null" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
