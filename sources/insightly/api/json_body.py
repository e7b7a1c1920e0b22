"""JSON bodies as Python values, without rounding a number."""

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import orjson

from ..rows.json_text import RepairedText

MOST_DIGITS = 1_000
_DIGITS = bytes(ord("0") if chr(code) in "0123456789." else ord(" ") for code in range(256))
_SAMPLE = b"0" * 4
_LONG_NUMBER = re.compile(rb"(?:^|[\s:,\[])-?[0-9](?:[0-9.]{16}|[0-9.]{15}[eE])")


def parse(body: bytes, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value of a JSON body. The last value of a repeated key wins.

    Numbers are `int` or `float`. On a page that may have a number beyond 15 significant digits or 64 bits, every
    fraction is a `Decimal`, because orjson would round it. A text with lone surrogates is a `RepairedText`, so that one
    broken emoji does not keep a page from loading.

    Args:
        body: the text of one JSON value in UTF-8.
        parse_constant: makes a value of NaN, Infinity and -Infinity, which are not JSON; by default they are an error.

    Raises:
        ValueError: the body is not JSON, or beyond what Python can represent.
    """
    if not _may_round(body):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    try:
        value = json.loads(
            body, parse_float=_parse_decimal, parse_int=_parse_int, parse_constant=parse_constant or _reject
        )
        return _repair(value) if b"\\u" in body or not _is_utf8(body) else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def error_message(body: bytes) -> str:
    """The message of an error body (api.md 1.2): its JSON `Message`, or its text without tags, or ""."""
    try:
        value = parse(body)
    except ValueError:
        return re.sub(r"<[^>]*>", " ", body[:10_000].decode(errors="replace"))
    message = value.get("Message") if isinstance(value, dict) else value if isinstance(value, str) else None
    return message if isinstance(message, str) else ""


def _may_round(body: bytes) -> bool:
    # A number that orjson would round has 16 bytes of digits and point in a row, so four in a row of every fourth byte.
    # Searching every fourth byte first costs a fortieth of what the pattern alone costs.
    sample = body[::4].translate(_DIGITS)
    at = sample.find(_SAMPLE)
    while at >= 0:
        if _LONG_NUMBER.search(body, max(4 * at - 6, 0), 4 * at + 24):
            return True
        at = sample.find(_SAMPLE, at + 1)
    return False


def _parse_decimal(numeral: str) -> Decimal | str:
    try:
        number = Decimal(numeral)
        # Arrow 26 takes hours to convert such a number to an integer; as text it is a variant of its column.
        return number if abs(number.adjusted()) <= MOST_DIGITS else str(number)
    except InvalidOperation:
        raise ValueError(f"{numeral[:40]} is out of range") from None


def _parse_int(numeral: str) -> int | Decimal:
    try:
        return int(numeral)
    except ValueError:  # more digits than Python converts to an int
        return Decimal(numeral)


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _repair(value: Any) -> Any:
    """The value with U+FFFD in place of lone surrogates."""
    if isinstance(value, str):
        text = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text if text == value else RepairedText(text, json.dumps(value.replace("\x00", "")))
    if isinstance(value, list):
        return [_repair(item) for item in value]
    if isinstance(value, dict):
        repaired = {_repair(name): _repair(item) for name, item in value.items()}
        if len(repaired) < len(value):
            raise ValueError("two keys of an object differ only in lone surrogates")
        return repaired
    return value
