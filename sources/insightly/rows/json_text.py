"""A JSON value as text."""

import json
from decimal import Decimal
from typing import Any


class Mended(str):
    """A text with half surrogate pairs, which no UTF-8 text can hold: here they are U+FFFD, in `told` JSON escapes."""

    told: str


def as_text(value: Any) -> str | None:
    """A JSON value as text: strings as they are, anything else as JSON; "" and what is only NULs are None."""
    if isinstance(value, str):
        return value.replace("\x00", "") or None
    return _dump(value)


def _dump(value: Any) -> str:
    # The json module would write a Decimal as a string, or round it; and a NUL must go before it is an escape, for
    # the same six characters may be a text of their own.
    if isinstance(value, Mended):
        return value.told
    if isinstance(value, str):
        return json.dumps(value.replace("\x00", ""), ensure_ascii=False)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_dump, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_dump(name)}: {_dump(item)}' for name, item in value.items())}}}"
    return json.dumps(value)
