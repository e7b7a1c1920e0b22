"""JSON values as typed Arrow columns. A value that is invalid for its column is kept as text in the column's variant.

Arrow converts a usual page in one call. A column with an unusual value is converted value by value.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import chain
from types import NoneType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError, redact
from ..fields import FieldType
from ..state.times import API_DATETIME, NO_DATE, split_api_datetime
from .json_text import RepairedText, as_text
from .naming import VARIANT, Normalize

PRECISION, SCALE = 38, 9
DECIMAL = pa.decimal128(PRECISION, SCALE)
"""dlt's and BigQuery's own width: a product of three still fits. More decimals are rounded, half away from zero, as
SQL rounds."""
MAX_DIGITS_BEFORE_POINT = 23
"""What fits the columns of earlier versions as well, which are DECIMAL(38, 15)."""
LAST_DIGIT = Decimal(1).scaleb(-SCALE)
WIDE = Context(prec=2 * PRECISION)

ARROW: Mapping[FieldType, pa.DataType] = {
    "integer": pa.int64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "number": DECIMAL,
    "datetime": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "json": pa.string(),
}
_WIRE: Mapping[FieldType, pa.DataType] = {"integer": pa.int64(), "boolean": pa.bool_(), "number": pa.float64()}
"""How Arrow reads the values of a column, where that is not text."""
_PYTHON: Mapping[FieldType, frozenset[type]] = {
    "integer": frozenset([int]),
    "boolean": frozenset([bool]),
    "number": frozenset([int, float]),
}
"""The Python types of these values, where that is not text. Arrow would truncate 1.5 to 1, and read true as 1.0."""
_NUMERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_YEAR_1 = pa.scalar(-62135596800000000, pa.timestamp("us"))
_YEAR_1_DAY_2 = pa.scalar(-62135510400000000, pa.timestamp("us"))


class _InvalidValue(Exception):
    """The value is invalid for its column; `valid_part` goes into the column all the same."""

    def __init__(self, valid_part: Any = None) -> None:
        self.valid_part = valid_part


def columns_of(rows: Sequence[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    """The values of each key that any of the rows has; None where a row does not have it."""
    orders = set(map(tuple, rows))
    if len(orders) == 1:  # the usual case, and faster than looking up each value
        (keys,) = orders
        values = list(chain.from_iterable(map(dict.values, rows)))
        return {key: values[index :: len(keys)] for index, key in enumerate(keys)}
    return {key: [row.get(key) for row in rows] for key in chain.from_iterable(orders)}


def to_table(
    values: Mapping[str, Sequence[Any]], rows: int, types: Mapping[str, FieldType], required: Sequence[str] = ()
) -> tuple[pa.Table, dict[str, int]]:
    """Values as one Arrow table with a column for each of `types`.

    Args:
        values: decoded JSON values by API field name; those of names that are not in `types` are left out.
        rows: the number of rows.
        types: the columns, by API field name.
        required: columns that are never null (keys).

    Returns:
        The table, and for each column with a variant how many values the variant has.

    Raises:
        DataError: a key is null or not of its type.
    """
    nulls = [None] * rows
    columns: dict[str, pa.Array] = {}
    variants: dict[str, int] = {}
    for name, kind in types.items():
        columns[name], variant = to_column(values.get(name, nulls), kind)
        if variant is not None:
            columns[name + VARIANT] = variant
            variants[name] = len(variant) - variant.null_count
    for name in required:
        if columns[name].null_count:
            value = values.get(name, nulls)[columns[name].is_null().index(True).as_py()]
            raise DataError(f"key {name} is null or not of type {types[name]} in a record of the API: {redact(value)}")
    fields = [pa.field(name, array.type, nullable=name not in required) for name, array in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields)), variants


def to_column(values: Sequence[Any], kind: FieldType) -> tuple[pa.Array, pa.Array | None]:
    """One column, and its variant with the text of invalid values (None if all are valid)."""
    types = set(map(type, values)) - {NoneType}
    if not types:
        return pa.nulls(len(values), ARROW[kind]), None
    if types <= _PYTHON.get(kind, {str}):
        with suppress(pa.ArrowException, TypeError, OverflowError, UnicodeError):
            return _convert(pa.array(values, _WIRE.get(kind, pa.string())), kind), None
    return _convert_each(values, kind)


def infer_type(values: Sequence[Any]) -> FieldType | None:
    """The type of a column without a declared type, from its values; None if all are null or empty."""
    present = [value for value in values if value is not None and value != ""]
    if not present:
        return None
    if all(isinstance(value, bool) for value in present):
        return "boolean"
    if all(isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) for value in present):
        return "integer" if all(isinstance(value, int) for value in present) else "number"
    if all(isinstance(value, (dict, list)) for value in present):
        return "json"
    if all(isinstance(value, str) and len(value) >= 19 and API_DATETIME.fullmatch(value) for value in present):
        return "datetime"
    return "string"


def rename_variants(table: pa.Table, normalize: Normalize) -> pa.Table:
    """The table with variants named after their columns.

    dlt normalizes a final `_` of a name to `x`, and a `_` before a suffix differently.
    """
    names = table.column_names
    for index, name in enumerate(names):
        base = name.removesuffix(VARIANT)
        if base != name and base in names and normalize(name) != normalize(base) + VARIANT:
            names[index] = normalize(base) + VARIANT
    return table.rename_columns(names)


def _convert(wire: pa.Array, kind: FieldType) -> pa.Array:
    if kind in ("integer", "boolean"):
        return wire
    if kind == "number":
        size = pc.abs(wire)
        extreme = pc.or_(pc.greater(size, 1e15), pc.and_(pc.less(size, 1e-9), pc.not_equal(size, 0.0)))
        if pc.any(extreme).as_py():
            raise TypeError("Arrow misreads texts such as 1e-38 and 3e24 as decimals")
        return wire.cast(pa.string()).cast(DECIMAL)
    if kind in ("string", "json") and b"\x00" in wire.buffers()[-1].to_pybytes():  # the buffer of all texts
        wire = pc.replace_substring(wire, "\x00", "")
    text = pc.if_else(pc.equal(wire, ""), None, wire)
    if kind in ("string", "json"):
        return text
    timestamps = text.cast(pa.timestamp("us"))
    if pc.any(pc.less(timestamps, _YEAR_1)).as_py():
        raise TypeError("a year that Python does not have")
    # `0001-01-01` means "no date". `0000-00-00` does too; Arrow cannot parse it, so it is converted value by value.
    timestamps = pc.if_else(pc.less(timestamps, _YEAR_1_DAY_2), None, timestamps)
    if kind == "datetime":
        return timestamps.cast(ARROW["datetime"])
    days = timestamps.cast(pa.date32())
    if pc.any(pc.not_equal(days.cast(pa.timestamp("us")), timestamps)).as_py():
        raise TypeError("a date with a time of day")
    return days


def _convert_each(values: Sequence[Any], kind: FieldType) -> tuple[pa.Array, pa.Array | None]:
    column: list[Any] = []
    variant: list[str | None] = []
    any_invalid = False
    for value in values:
        try:
            column.append(None if value is None or value == "" else _convert_value(value, kind))
            variant.append(None)
        except _InvalidValue as invalid:
            column.append(invalid.valid_part)
            variant.append(value.original if isinstance(value, RepairedText) else as_text(value))
            any_invalid = True
    return pa.array(column, type=ARROW[kind]), pa.array(variant, type=pa.string()) if any_invalid else None


def _convert_value(value: Any, kind: FieldType) -> Any:
    if kind in ("string", "json"):
        if isinstance(value, RepairedText):
            raise _InvalidValue(as_text(value))
        return as_text(value)
    if kind == "boolean":
        if isinstance(value, bool):
            return value
    elif kind == "integer":
        if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
            return value
        if isinstance(value, (float, Decimal)) and -(2**53) < value < 2**53 and int(value) == value:
            return int(value)
    elif kind == "number":
        return _convert_decimal(value)
    elif isinstance(value, str):
        return _convert_datetime(value.strip(), kind)
    raise _InvalidValue


def _convert_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not (
        isinstance(value, (int, float, Decimal)) or (isinstance(value, str) and _NUMERAL.fullmatch(value))
    ):
        raise _InvalidValue
    exact = Decimal(repr(value) if isinstance(value, float) else value)
    if not exact.is_finite():
        raise _InvalidValue
    rounded = round_number(exact)
    if rounded != exact:
        raise _InvalidValue(rounded)
    return rounded


def round_number(exact: Decimal) -> Decimal | None:
    """What the column of a number holds; None if the number is too large for it."""
    if exact.adjusted() >= MAX_DIGITS_BEFORE_POINT:
        return None
    rounded = exact.quantize(LAST_DIGIT, ROUND_HALF_UP, WIDE)
    return rounded if rounded.adjusted() < MAX_DIGITS_BEFORE_POINT else None


def _convert_datetime(text: str, kind: FieldType) -> datetime | date | None:
    if text.startswith(NO_DATE) and API_DATETIME.fullmatch(text):
        return None
    try:
        local, offset, below_microsecond = split_api_datetime(text)
        utc = local - offset
    except (ValueError, OverflowError):
        raise _InvalidValue from None
    if kind == "datetime":
        if below_microsecond:
            raise _InvalidValue(utc)
        return utc
    # A date has neither a time of day nor a time zone.
    if offset or below_microsecond or local.time() != time.min:
        raise _InvalidValue(local.date())
    return local.date()
