"""Times of the API, which can be any text, and times that this program wrote."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.entities import DATE_UPDATED, custom_object
from sources.insightly.rows.arrow import to_column
from sources.insightly.state.request import SearchFilter
from sources.insightly.state.times import API_DATETIME, iso, parse, parse_api
from sources.insightly.state.watermark import record_dates

NO_TIMES = (
    *(None, "", " ", 5, {}, "0000-00-00 00:00:00", "0001-01-01 00:00:00", "2026-02-30 10:00:00", "24/12/2025 10:00"),
    *("20251224", "2025-W52-3", "2025-12-24T", "\u0662\u0660\u0662\u0665-12-24", "9999-12-31T23:00:00-05:00", "soon"),
)


@pytest.mark.parametrize("value", NO_TIMES)
def test_value_that_is_not_a_time_is_none(value: object) -> None:
    assert parse_api(value) is None
    assert not SearchFilter("A", "2025-12-24 00:00:00", "datetime").matches({"A": value})


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2025-12-24 10:00:00", datetime(2025, 12, 24, 10, tzinfo=UTC)),
        ("2025-12-24T10:00:00.250Z", datetime(2025, 12, 24, 10, 0, 0, 250_000, tzinfo=UTC)),
        (" 2025-12-24T10:00:00+02:00", datetime(2025, 12, 24, 8, tzinfo=UTC)),
        ("2025-12-24", datetime(2025, 12, 24, tzinfo=UTC)),
    ],
)
def test_times_of_the_api_are_read_in_utc(text: str, time: datetime) -> None:
    assert parse_api(text) == time


@given(
    st.text("0123456789-:T Z+./", max_size=25) | st.from_regex(API_DATETIME, fullmatch=True) | st.sampled_from(NO_TIMES)
)
def test_a_time_and_its_column_are_read_alike(value: object) -> None:
    column, _ = to_column([value], "datetime")
    assert column.to_pylist() == [parse_api(value)]


@pytest.mark.parametrize("value", ["", "0000-00-00 00:00:00", "24/12/2025 10:00"])
def test_date_that_is_no_time_is_no_cursor(value: str) -> None:
    state: dict[str, object] = {}
    record_dates(
        custom_object("visits", "Visit__c"), state, [{DATE_UPDATED: "2025-12-24 10:00:00"}, {DATE_UPDATED: value}]
    )
    assert state["dated"] is False


@pytest.mark.parametrize("year", [1, 999, 2026, 9999])
def test_time_that_was_written_is_read_back(year: int) -> None:
    time = datetime(year, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse(iso(time)) == time
    assert len(iso(time)) == 20
