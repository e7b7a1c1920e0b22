"""A JSON value as text."""

import json
import re
from decimal import Decimal
from typing import Any

NUMERAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
"""A number that a user writes. Python itself also reads `3.3E+08`, `1_234` and the digits of other scripts."""


class RepairedText(str):
    """A text with U+FFFD in place of lone surrogates, which UTF-8 cannot encode; `original` is the text as JSON."""

    original: str

    def __new__(cls, text: str, original: str) -> "RepairedText":
        self = super().__new__(cls, text)
        self.original = original
        return self


def objects_of(value: object) -> list[dict[str, Any]]:
    """The objects in a JSON array; none if the value is not an array."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str | None:
    """A JSON value as text: a string as it is, anything else as JSON. None for "" and for a string of only NULs."""
    if isinstance(value, str):
        return value.replace("\x00", "") or None
    return _dump(value)


def _dump(value: Any) -> str:
    # The json module would write a Decimal as a string, or round it. A NUL must go before it is escaped, because its
    # escape may also be a text of its own.
    if isinstance(value, RepairedText):
        return value.original
    if isinstance(value, str):
        return json.dumps(value.replace("\x00", ""), ensure_ascii=False)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_dump, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_dump(name)}: {_dump(item)}' for name, item in value.items())}}}"
    return json.dumps(value)
