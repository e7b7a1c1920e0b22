"""JSON bodies to Python values without rounding a number."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import orjson

from ..rows.json_text import Mended

MOST_DIGITS = 1_000
_DIGITS = bytes(ord("0") if chr(code) in "0123456789." else ord(" ") for code in range(256))
_SAMPLE = b"0" * 4
_LONG_NUMBER = re.compile(rb"(?:^|[\s:,\[])-?[0-9](?:[0-9.]{16}|[0-9.]{15}[eE])")


def parse(body: bytes) -> Any:
    """The value that `body` holds; of a key that comes twice the last value wins.

    Numbers are `int` or `float`; on a page that may hold a number past 15 significant digits or 64 bits every
    fraction is a `Decimal`, since orjson would round it. A text with half surrogate pairs is `Mended`, so that one
    broken emoji does not keep a page from loading.

    Raises:
        ValueError: not JSON (NaN and Infinity are not), or nothing that Python can hold.
    """
    if not _may_round(body):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    try:
        value = json.loads(body, parse_float=_exact, parse_int=_integer, parse_constant=_refuse)
        return _whole(value) if b"\\u" in body or not _is_utf8(body) else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def error_message(body: bytes) -> str:
    """What an error body says: its JSON `Message`, else its text without tags, "" if it says nothing (API.md 1.2)."""
    try:
        value = parse(body)
    except ValueError:
        return re.sub(r"<[^>]*>", " ", body[:10_000].decode(errors="replace"))
    message = value.get("Message") if isinstance(value, dict) else value if isinstance(value, str) else None
    return message if isinstance(message, str) else ""


def _may_round(body: bytes) -> bool:
    # A number that loses digits has 16 bytes of digits and point in a row, hence four among every fourth byte. Finding
    # those first, the first of them at most three bytes into the row, costs a fortieth of what the pattern alone does.
    sample = body[::4].translate(_DIGITS)
    at = sample.find(_SAMPLE)
    while at >= 0:
        if _LONG_NUMBER.search(body, max(4 * at - 6, 0), 4 * at + 24):
            return True
        at = sample.find(_SAMPLE, at + 1)
    return False


def _exact(numeral: str) -> Decimal | str:
    try:
        number = Decimal(numeral)
        # Arrow 26 works for hours on turning such a number into an integer: as a text it fits no number's column.
        return number if abs(number.adjusted()) <= MOST_DIGITS else str(number)
    except InvalidOperation:
        raise ValueError(f"{numeral[:40]} is beyond all numbers") from None


def _integer(numeral: str) -> int | Decimal:
    try:
        return int(numeral)
    except ValueError:  # past the digits that Python turns into an int
        return Decimal(numeral)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        text = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if text == value:
            return text
        mended = Mended(text)
        mended.told = json.dumps(value.replace("\x00", ""))
        return mended
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        made = {_whole(name): _whole(item) for name, item in value.items()}
        if len(made) < len(value):
            raise ValueError("two keys of one object differ in half surrogate pairs alone")
        return made
    return value
