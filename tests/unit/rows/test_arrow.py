"""Every JSON value is in its column, or as text in the variant; none is lost or changed."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.insightly.errors import DataError
from sources.insightly.fields import FieldType
from sources.insightly.rows.arrow import columns_of, infer_type, to_column, to_table
from sources.insightly.rows.naming import VARIANT


@pytest.mark.parametrize(
    ("kind", "value", "stored", "expected"),
    [
        ("integer", 2**63 - 1, 2**63 - 1, None),
        ("integer", 2**64, None, str(2**64)),
        ("integer", 7.0, 7, None),
        ("integer", 1.5, None, "1.5"),
        ("integer", True, None, "true"),
        ("integer", "7", None, "7"),
        ("boolean", False, False, None),
        ("boolean", "yes", None, "yes"),
        ("boolean", 1, None, "1"),
        ("number", 0.1, Decimal("0.1"), None),
        ("number", 123456789012345, Decimal(123456789012345), None),
        ("number", 99999999999.99, Decimal("99999999999.99"), None),
        ("number", Decimal("0.123456789"), Decimal("0.123456789"), None),
        ("number", 0.1234567885, Decimal("0.123456789"), "0.1234567885"),
        ("number", Decimal("-0.1234567885"), Decimal("-0.123456789"), "-0.1234567885"),
        ("number", 1e-10, Decimal(0), "1e-10"),
        ("number", 10**23 - 1, Decimal(10**23 - 1), None),
        ("number", 10**23, None, "1" + 23 * "0"),
        ("number", Decimal("9" * 23 + ".9999999995"), None, "9" * 23 + ".9999999995"),
        ("number", 1e300, None, "1e+300"),
        ("number", "12.50", Decimal("12.50"), None),
        ("number", "n/a", None, "n/a"),
        ("string", 12, "12", None),
        ("string", 1.5, "1.5", None),
        ("string", True, "true", None),
        ("string", "", None, None),
        ("string", "a\x00b", "ab", None),
        ("string", "\x00", None, None),
        ("string", {"a": [1]}, '{"a": [1]}', None),
        ("string", "Ünï ' \" \n 😀", "Ünï ' \" \n 😀", None),
        ("datetime", "2025-04-19 00:49:32", datetime(2025, 4, 19, 0, 49, 32, tzinfo=UTC), None),
        ("datetime", "2025-04-19T00:49:32Z", datetime(2025, 4, 19, 0, 49, 32, tzinfo=UTC), None),
        ("datetime", "2025-04-19 00:49:32.5", datetime(2025, 4, 19, 0, 49, 32, 500_000, tzinfo=UTC), None),
        ("datetime", "9999-12-31 23:59:59", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), None),
        ("datetime", "0001-01-02 00:00:00", datetime(1, 1, 2, tzinfo=UTC), None),
        ("datetime", "0001-01-01 00:00:00", None, None),
        ("datetime", "0000-00-00 00:00:00", None, None),
        ("datetime", "", None, None),
        ("datetime", "soon", None, "soon"),
        ("datetime", "2025-02-30 00:00:00", None, "2025-02-30 00:00:00"),
        ("datetime", 5, None, "5"),
        ("date", "2025-04-19 00:00:00", date(2025, 4, 19), None),
        ("date", "2025-04-19", date(2025, 4, 19), None),
        ("date", "2025-04-19 13:00:00", date(2025, 4, 19), "2025-04-19 13:00:00"),
        ("date", "0001-01-01 00:00:00", None, None),
    ],
)
def test_value_is_in_its_column_or_in_the_variant(
    kind: FieldType, value: Any, stored: Any, expected: str | None
) -> None:
    for values in ([value], [value, None], [None, value, value]):
        column, variant = to_column(values, kind)
        index = values.index(value)
        assert column[index].as_py() == stored
        assert (None if variant is None else variant[index].as_py()) == expected


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans() | st.text())
    | st.lists(st.floats(-1e15, 1e15) | st.floats(-10, 10), min_size=1, max_size=50)
    | st.lists(st.decimals(-(10**9), 10**9, places=4).map(float), min_size=1, max_size=50)
)
def test_number_column_loses_nothing_and_rounds_to_nine_decimals(values: list[Any]) -> None:
    column, variant = to_column(values, "number")
    for index, value in enumerate(values):
        stored = column[index].as_py()
        if stored is not None:
            exact = Decimal(repr(value) if isinstance(value, float) else value)
            kept = None if variant is None else variant[index].as_py()
            assert exact == (stored if kept is None else Decimal(kept))
            assert abs(stored - exact) <= Decimal("5e-10")
        elif value is not None and value not in ("", "\x00"):
            assert variant is not None
            assert str(value).replace("\x00", "") == "" or variant[index].as_py() is not None


@given(st.lists(st.none() | st.text(alphabet=st.characters(exclude_categories=["Cs"]))))
def test_text_column_drops_only_nuls_and_empty_texts(values: list[str | None]) -> None:
    column, variant = to_column(values, "string")
    assert variant is None
    assert column.to_pylist() == [None if value is None else value.replace("\x00", "") or None for value in values]


@given(
    st.lists(
        st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 31)).map(
            lambda m: m.replace(microsecond=0)
        )
    )
)
def test_datetimes_of_all_years_are_kept(values: list[datetime]) -> None:
    column, variant = to_column([value.isoformat(sep=" ") for value in values], "datetime")
    assert variant is None
    assert column.to_pylist() == [value.replace(tzinfo=UTC) for value in values]


def test_invalid_value_does_not_disturb_other_columns() -> None:
    rows = [{"ID": 1, "N": 1, "S": "a"}, {"ID": 2, "N": "x", "S": "b", "UNKNOWN": 1}]
    table, variants = to_table(columns_of(rows), 2, {"ID": "integer", "N": "integer", "S": "string"}, ["ID"])
    assert table.to_pylist() == [
        {"ID": 1, "N": 1, "N" + VARIANT: None, "S": "a"},
        {"ID": 2, "N": None, "N" + VARIANT: "x", "S": "b"},
    ]
    assert variants == {"N": 1}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], {}),
        ([{}, {}], {}),
        ([{"A": 1, "B": 2}, {"A": 3, "B": None}], {"A": [1, 3], "B": [2, None]}),
        ([{"A": 1, "B": 2}, {"B": 4, "A": 3}], {"A": [1, 3], "B": [2, 4]}),
        ([{"A": 1}, {"B": 2}], {"A": [1, None], "B": [None, 2]}),
    ],
)
def test_columns_of_rows_with_equal_and_other_keys(rows: list[dict[str, Any]], expected: dict[str, list[Any]]) -> None:
    assert columns_of(rows) == expected


def test_key_of_the_wrong_type_is_an_error() -> None:
    with pytest.raises(DataError, match="key ID"):
        to_table({"ID": ["x"]}, 1, {"ID": "integer"}, ["ID"])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, ""], None),
        ([1, None], "integer"),
        ([1, 2.5], "number"),
        ([True], "boolean"),
        ([True, 1], "string"),
        (["2025-01-01 00:00:00"], "datetime"),
        (["2025-01-01 00:00:00", "later"], "string"),
        ([{"a": 1}, []], "json"),
    ],
)
def test_infer_type_of_an_undeclared_column(values: list[Any], kind: str | None) -> None:
    assert infer_type(values) == kind
