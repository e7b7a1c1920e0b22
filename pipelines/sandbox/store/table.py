"""One collection in memory: each record as JSON bytes, ready to be joined into a page."""

import json
import re
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import orjson

from .shapes import Key, Parent, Record

_LONG_NUMBER = re.compile(rb"[0-9]{17}")
_STAMPS = (b'"DATE_UPDATED_UTC":"', b'"DATE_CREATED_UTC":"')


def dump(record: Record) -> bytes:
    """JSON bytes of `record`; falls back to `json` for what orjson refuses (integers past 64 bits, lone surrogates)."""
    try:
        # The buffer of orjson is larger than its content; the copy takes a quarter of the memory.
        return bytes(memoryview(orjson.dumps(record)))
    except (TypeError, orjson.JSONEncodeError):
        return json.dumps(record, separators=(",", ":")).encode()


def parse(raw: bytes) -> Record:
    """The record in `raw`, with exact integers of any length."""
    if _LONG_NUMBER.search(raw) is None:
        try:
            return orjson.loads(raw)  # type: ignore[no-any-return]
        except orjson.JSONDecodeError:  # a lone surrogate, which orjson refuses
            pass
    return json.loads(raw)  # type: ignore[no-any-return]


def stamp_of(raw: bytes) -> str:
    """The value for the date filter: DATE_UPDATED_UTC, else DATE_CREATED_UTC, else "", which never matches."""
    for mark in _STAMPS:
        start = raw.find(mark)
        if start >= 0:
            start += len(mark)
            return raw[start : raw.index(b'"', start)].decode()
    return ""


class Table:
    """Records by key, in ascending key order. An id is never used again, even after a deletion.

    Attributes:
        parents: the record that each child row belongs to.
    """

    def __init__(self, rows: Mapping[Key, bytes] | None = None, parents: Mapping[Key, Parent] | None = None) -> None:
        self.raw: dict[Key, bytes] = dict(rows or {})
        self.parents: dict[Key, Parent] = dict(parents or {})
        self._children: dict[Parent, list[Key]] = {}
        for key, parent in self.parents.items():
            self._children.setdefault(parent, []).append(key)
        self.keys: list[Any] = sorted(self.raw, key=_order)
        self._last = max((key for key in self.keys if isinstance(key, int)), default=0)
        self._selected: dict[Hashable, list[Key]] = {}

    def next_id(self) -> int:
        self._last += 1
        return self._last

    def children(self, parent: Parent) -> list[Key]:
        """The keys of the rows that belong to a record, oldest first."""
        return self._children.get(parent, [])

    def put(self, key: Key, raw: bytes, parent: Parent | None = None) -> None:
        if parent:
            children = self._children.setdefault(parent, [])
            if self.parents.get(key) == parent:
                children.remove(key)
            children.append(key)
            self.parents[key] = parent
        if key not in self.raw:
            insort(self.keys, key, key=_order)
            if isinstance(key, int):
                self._last = max(self._last, key)
        self.raw[key] = raw
        self._selected.clear()

    def remove(self, key: Key) -> None:
        del self.raw[key]
        if parent := self.parents.pop(key, None):
            self._children[parent].remove(key)
        del self.keys[bisect_left(self.keys, _order(key), key=_order)]
        self._selected.clear()

    def select(self, token: Hashable, keys: Sequence[Key], tests: Sequence[Callable[[bytes], bool]]) -> list[Key]:
        """Those of `keys` whose records pass all tests; cached by `token` until a record changes."""
        if token not in self._selected:
            self._selected[token] = [key for key in keys if all(test(self.raw[key]) for test in tests)]
        return self._selected[token]


def _order(key: Key) -> tuple[bool, Key]:
    return isinstance(key, str), key
