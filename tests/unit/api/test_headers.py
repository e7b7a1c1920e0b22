"""The headers of a response in every form that a server may send."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.api.headers import parse_count, parse_http_date, parse_retry_after

NOW = datetime(2025, 1, 31, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        (" 1.5 ", 1.5),
        ("0", None),
        ("-3", None),
        ("", None),
        (None, None),
        ("soon", None),
        ("١", None),
        ("9" * 400, None),
        ("Fri, 31 Jan 2025 10:00:30 GMT", 30.0),
        ("Fri, 31 Jan 2025 09:00:00 GMT", None),
        ("Fri, 31 Jan 2025 25:00:30 GMT", None),
    ],
)
def test_retry_after_is_parsed_in_every_form(text, seconds):
    assert parse_retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "year"),
    [
        *((f"Fri, 31 Jan {year} 10:00:00 GMT", None) for year in ("0999", "1989", "99999")),
        ("Fri, 31 Jan 1990 10:00:00 GMT", 1990),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 9999),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
    ],
)
def test_http_date_is_as_old_as_http(text, year):
    date = parse_http_date(text)
    assert (date and date.year) == year


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), (" 12 ", 12), ("-1", None), ("-0", None), ("1.5", None), ("١", None), ("", None), (None, None)],
)
def test_count_is_not_negative(text, count):
    assert parse_count(text) == count


@given(st.text())
def test_no_header_breaks_the_parsers(text):
    seconds = parse_retry_after(text, None)
    assert seconds is None or seconds > 0
    date = parse_http_date(text)
    assert date is None or date.tzinfo is UTC
