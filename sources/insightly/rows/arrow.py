"""JSON values -> typed Arrow columns. A value that does not fit its column is kept beside it as text, never dropped.

The common page is converted by Arrow in one call; a column with a surprise in it is read value by value.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..entities import FieldType
from ..errors import DataError, redact
from .json_text import Mended, as_text
from .naming import VARIANT

PRECISION, SCALE = 38, 15
DECIMAL = pa.decimal128(PRECISION, SCALE)
"""15 significant digits are exact from 0.1 up, with 23 digits before the point, and a product of two still fits."""

ARROW: Mapping[FieldType, pa.DataType] = {
    "integer": pa.int64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "number": DECIMAL,
    "datetime": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "json": pa.string(),
}
LAST_DIGIT = Decimal(1).scaleb(-SCALE)
WIDE = Context(prec=2 * PRECISION)
_WIRE: Mapping[FieldType, pa.DataType] = {
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "number": pa.float64(),
}
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[ T]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6})([0-9]*))?(?:Z|([+-])([01][0-9]|2[0-3]):?([0-5][0-9]))?)?"
)
_NO_DATE = ("0001-01-01", "0000-00-00")
_NUMERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_GUARD = pa.scalar(-62135596800000000, pa.timestamp("us"))
_DAY_AFTER_GUARD = pa.scalar(-62135510400000000, pa.timestamp("us"))
_TAKEN_UNASKED: Mapping[FieldType, frozenset[type]] = {
    "integer": frozenset([int, type(None)]),
    "number": frozenset([int, float, type(None)]),
}
"""Arrow would cut 1.5 to the integer 1, and take true for the number 1.0."""


class _Misfit(Exception):
    """The value does not fit; `rest` is what of it does."""

    def __init__(self, rest: Any = None) -> None:
        self.rest = rest


def to_table(
    rows: Sequence[Mapping[str, Any]], types: Mapping[str, FieldType], required: Sequence[str] = ()
) -> tuple[pa.Table, dict[str, int]]:
    """Rows as one Arrow table with a column for each of `types`.

    Args:
        rows: decoded JSON objects; keys not in `types` are left out.
        types: the columns, by API field name.
        required: columns that are never null (keys).

    Returns:
        The table, and how many values of which columns had to be kept as text in a `__v_text` column.

    Raises:
        DataError: a key is null or not of its type.
    """
    struct = pa.struct([(name, _WIRE.get(kind, pa.string())) for name, kind in types.items()])
    try:
        wire = pa.array(rows, type=struct).flatten()
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError):
        wire = [None] * len(types)
    columns: dict[str, pa.Array] = {}
    variants: dict[str, int] = {}
    for (name, kind), values in zip(types.items(), wire, strict=True):
        if values is None or kind in _TAKEN_UNASKED or _mentions(values, b"\xef\xbf\xbd"):
            told = [row.get(name) for row in rows]
            values = told if values is None or not _plain(told, kind) else values
        column, rest = to_column(values, kind)
        columns[name] = column
        if rest is not None:
            columns[name + VARIANT] = rest
            variants[name] = len(rest) - rest.null_count
    for name in required:
        if columns[name].null_count:
            value = rows[columns[name].is_null().index(True).as_py()].get(name)
            raise DataError(f"key {name} is null or not of type {types[name]} in a record of the API: {redact(value)}")
    fields = [pa.field(name, array.type, nullable=name not in required) for name, array in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields)), variants


def to_column(values: Sequence[Any] | pa.Array, kind: FieldType) -> tuple[pa.Array, pa.Array | None]:
    """One column, and the text of the values that do not fit it (None where all do)."""
    try:
        if not isinstance(values, pa.Array) and not _plain(values, kind):
            raise TypeError("Arrow would change a value without a word")
        wire = values if isinstance(values, pa.Array) else pa.array(values, type=_WIRE.get(kind, pa.string()))
        return _convert(wire, kind), None
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError):
        return _fit_each(values.to_pylist() if isinstance(values, pa.Array) else values, kind)


def infer(values: Sequence[Any]) -> FieldType | None:
    """The type of a column that nothing declares, from the values seen; None when there is none to go by."""
    seen = [value for value in values if value is not None and value != ""]
    if not seen:
        return None
    if all(isinstance(value, bool) for value in seen):
        return "boolean"
    if all(isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) for value in seen):
        return "integer" if all(isinstance(value, int) for value in seen) else "number"
    if all(isinstance(value, (dict, list)) for value in seen):
        return "json"
    if all(isinstance(value, str) and len(value) >= 19 and _MOMENT.fullmatch(value) for value in seen):
        return "datetime"
    return "string"


def _plain(values: Sequence[Any], kind: FieldType) -> bool:
    types = set(map(type, values))
    return Mended not in types and (kind not in _TAKEN_UNASKED or types <= _TAKEN_UNASKED[kind])


def _mentions(wire: pa.Array, text: bytes) -> bool:
    """Whether some value of a column of texts may hold `text`; a look at all of them at once."""
    data = wire.buffers()[-1] if pa.types.is_string(wire.type) else None
    return data is not None and text in data.to_pybytes()


def _convert(wire: pa.Array, kind: FieldType) -> pa.Array:
    if kind in ("integer", "boolean"):
        return wire
    if kind == "number":
        size = pc.abs(wire)
        far = pc.or_(pc.greater(size, 1e15), pc.and_(pc.less(size, 1e-9), pc.not_equal(size, 0.0)))
        if pc.any(far).as_py():
            raise TypeError("Arrow misreads texts such as 1e-38 and 3e24 as decimals")
        return wire.cast(pa.string()).cast(DECIMAL)
    if wire.null_count == len(wire):
        return pa.nulls(len(wire), ARROW[kind])
    if kind in ("string", "json") and _mentions(wire, b"\x00"):
        wire = pc.replace_substring(wire, "\x00", "")
    text = pc.if_else(pc.equal(wire, ""), None, wire)
    if kind in ("string", "json"):
        return text
    moments = text.cast(pa.timestamp("us"))
    if pc.any(pc.less(moments, _GUARD)).as_py():
        raise TypeError("a year that Python does not know")
    # `0001-01-01` stands for "no date"; `0000-00-00` does not parse and is met value by value.
    moments = pc.if_else(pc.less(moments, _DAY_AFTER_GUARD), None, moments)
    if kind == "datetime":
        return moments.cast(ARROW["datetime"])
    days = moments.cast(pa.date32())
    if pc.any(pc.not_equal(days.cast(pa.timestamp("us")), moments)).as_py():
        raise TypeError("a calendar date with a time of day")
    return days


def _fit_each(values: Sequence[Any], kind: FieldType) -> tuple[pa.Array, pa.Array | None]:
    fitting: list[Any] = []
    rest: list[str | None] = []
    any_misfit = False
    for value in values:
        try:
            fitting.append(None if value is None or value == "" else _fit(value, kind))
            rest.append(None)
        except _Misfit as misfit:
            any_misfit = True
            fitting.append(misfit.rest)
            rest.append(value.told if isinstance(value, Mended) else as_text(value))
    column = pa.array(fitting, type=ARROW[kind])
    return column, pa.array(rest, type=pa.string()) if any_misfit else None


def _fit(value: Any, kind: FieldType) -> Any:
    if kind in ("string", "json"):
        if isinstance(value, Mended):
            raise _Misfit(as_text(value))
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
        return _fit_decimal(value)
    elif isinstance(value, str):
        return _fit_moment(value, kind)
    raise _Misfit


def _fit_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not (
        isinstance(value, (int, float, Decimal)) or (isinstance(value, str) and _NUMERAL.fullmatch(value))
    ):
        raise _Misfit
    exact = Decimal(repr(value) if isinstance(value, float) else value)
    if not exact.is_finite():
        raise _Misfit
    before = exact.adjusted() + 1
    # Arrow would round what lies behind its last digit, and refuses a long row of zeros there.
    if before > PRECISION - SCALE or (fitting := exact.quantize(LAST_DIGIT, context=WIDE)) != exact:
        raise _Misfit
    return fitting


def _fit_moment(told: str, kind: FieldType) -> datetime | date | None:
    text = told.strip()
    parts = _MOMENT.fullmatch(text)
    if parts is None:
        raise _Misfit
    if text.startswith(_NO_DATE):
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in parts.groups()[:6])
    ahead = timedelta(hours=int(parts[10] or 0), minutes=int(parts[11] or 0)) * (-1 if parts[9] == "-" else 1)
    try:
        moment = datetime(year, month, day, hour, minute, second, int((parts[7] or "0").ljust(6, "0")), UTC)
        utc = moment - ahead
    except (ValueError, OverflowError):
        raise _Misfit from None
    finer = bool((parts[8] or "").strip("0"))
    if kind == "datetime":
        if finer:
            raise _Misfit(utc)
        return utc
    # What a calendar date cannot hold is a time of day, or a place on earth.
    if ahead or finer or moment.time() != time.min:
        raise _Misfit(moment.date())
    return moment.date()
