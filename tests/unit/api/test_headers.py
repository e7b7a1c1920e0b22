"""The headers of a response in every form that a server may send."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.api.headers import parse_http_date, parse_retry_after

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


@given(st.text())
def test_no_header_breaks_the_parsers(text):
    seconds = parse_retry_after(text, None)
    assert seconds is None or seconds > 0
    date = parse_http_date(text)
    assert date is None or date.tzinfo is UTC
