"""One collection in memory: each record once, as the JSON bytes a full page is joined from."""

import json
import re
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import orjson

from .shapes import Key, Record

_LONG_NUMBER = re.compile(rb"[0-9]{17}")
_MARKS = (b'"DATE_UPDATED_UTC":"', b'"DATE_CREATED_UTC":"')


def dump(record: Record) -> bytes:
    """JSON bytes of `record`; what orjson refuses (integers past 64 bits, lone surrogates) takes the slow path."""
    try:
        # orjson hands out a buffer that has grown by doubling; the copy holds a quarter of its memory.
        return bytes(memoryview(orjson.dumps(record)))
    except (TypeError, orjson.JSONEncodeError):
        return json.dumps(record, separators=(",", ":")).encode()


def parse(raw: bytes) -> Record:
    """The record in `raw`, with integers of any length kept whole."""
    if _LONG_NUMBER.search(raw) is None:
        try:
            return orjson.loads(raw)  # type: ignore[no-any-return]
        except orjson.JSONDecodeError:  # a lone surrogate, which orjson refuses
            pass
    return json.loads(raw)  # type: ignore[no-any-return]


def stamp_of(raw: bytes) -> str:
    """What the date filter compares: DATE_UPDATED_UTC, else DATE_CREATED_UTC, else "" (never matches)."""
    for mark in _MARKS:
        start = raw.find(mark)
        if start >= 0:
            start += len(mark)
            return raw[start : raw.index(b'"', start)].decode()
    return ""


class Table:
    """Records by key in ascending key order. Keys are never used twice, even after a deletion."""

    def __init__(self, rows: Iterable[tuple[Key, bytes]] = ()) -> None:
        self.raw: dict[Key, bytes] = dict(rows)
        self.keys: list[Any] = sorted(self.raw, key=_order)
        self.stamps: dict[Key, str] = {key: stamp_of(raw) for key, raw in self.raw.items()}
        self._last = max((key for key in self.keys if isinstance(key, int)), default=0)
        self._selected: dict[Hashable, list[Key]] = {}

    def next_id(self) -> int:
        self._last += 1
        return self._last

    def put(self, key: Key, raw: bytes) -> None:
        if key not in self.raw:
            insort(self.keys, key, key=_order)
            if isinstance(key, int):
                self._last = max(self._last, key)
        self.raw[key] = raw
        self.stamps[key] = stamp_of(raw)
        self._selected.clear()

    def remove(self, key: Key) -> None:
        del self.raw[key], self.stamps[key]
        del self.keys[bisect_left(self.keys, _order(key), key=_order)]
        self._selected.clear()

    def select(self, token: Hashable, wanted: Callable[[Key, bytes], bool]) -> list[Key]:
        """Keys of the records that are `wanted`, ascending; remembered under `token` until a record changes."""
        if token not in self._selected:
            self._selected[token] = [key for key in self.keys if wanted(key, self.raw[key])]
        return self._selected[token]


def _order(key: Key) -> tuple[bool, Key]:
    return isinstance(key, str), key
