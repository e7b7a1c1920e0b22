"""JSON bodies to Python values without rounding a number."""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

import orjson

_DIGITS = bytes(ord("0") if chr(code) in "0123456789." else ord(" ") for code in range(256))
_SAMPLE = b"0" * 4
_LONG_NUMBER = re.compile(rb"(?:^|[\s:,\[])-?[0-9](?:[0-9.]{16}|[0-9.]{15}[eE])")


def parse(body: bytes) -> Any:
    """The value that `body` holds; of a key that comes twice the last value wins.

    Numbers are `int` or `float`; on a page that may hold a number past 15 significant digits or 64 bits every
    fraction is a `Decimal`, since orjson would round it. Half surrogate pairs, which no UTF-8 text can hold, become
    U+FFFD, so that one broken emoji does not keep a page from loading.

    Raises:
        ValueError: not JSON (NaN and Infinity are not).
    """
    if not _may_round(body):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    try:
        value = json.loads(body, parse_float=Decimal, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _whole(value) if b"\\u" in body or not _is_utf8(body) else value


def said(body: bytes) -> str:
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
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(item) for name, item in value.items()}
    return value
