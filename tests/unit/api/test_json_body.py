"""JSON bodies become Python values without a rounded number or a lost page."""

from decimal import Decimal

import pytest

from sources.insightly.api.json_body import error_message, parse

NUMBERS = [
    (b"0.1", 0.1),
    (b"1234567890.12345", 1234567890.12345),
    (b"1234567890.123456789", Decimal("1234567890.123456789")),
    (b"-0.12345678901234567", Decimal("-0.12345678901234567")),
    (b"1234567890123456e3", Decimal("1234567890123456e3")),
    (b"9223372036854775807", 2**63 - 1),
    (b"18446744073709551616", 2**64),
    (b"-123456789012345678901234567890", -123456789012345678901234567890),
    (b"1e400", Decimal("1e400")),
]


SHAPES = [b"%s", b"[%s]", b'[{"A":%s}]', b'{"A": %s}', b"[\n%s\n]", b"[[ %s]]", b'{"A":[%s,0]}']


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_parse_rounds_no_number(shape, text, number):
    value = parse(shape % text)
    while isinstance(value, list | dict):
        value = value["A"] if isinstance(value, dict) else value[0]
    assert value == number
    assert type(value) is type(number)


def test_parse_repairs_lone_surrogates():
    assert parse(rb'[{"A":"x\ud83d","\udc00":"\ud83d\ude00"}]') == [{"A": "x�", "�": "😀"}]


def test_parse_keeps_the_last_of_a_repeated_key():
    assert parse(b'{"A":1,"A":2}') == parse(b'{"A":1.12345678901234567,"A":2}') == {"A": 2}


def test_error_message_is_empty_without_a_message():
    assert error_message(b"[1]") == error_message(b"{}") == error_message(b"") == ""
