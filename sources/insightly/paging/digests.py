"""Digests of blocks of a list that every run reads in full: a block that has not changed need not be written again.

A block ends at a record because of that record's id alone. So a record that is created or deleted changes only the
block it is in, wherever the pages of the list start. Pure logic.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from ..errors import DataError
from .walk import Id, Key, Row, identify

BLOCK_LENGTH = 250
"""Average number of records per block: one changed record causes so many to be written."""
DIGEST_LENGTH = 12
"""Characters that the state keeps per block."""


class Blocks:
    """The digests of a list's blocks, those of the last complete read and those read now.

    Args:
        state: where they are kept between runs; `record` writes those read now.
        key: what identifies a record.
        resumed: whether the current read started in an earlier round.
        is_live: whether a record is live in the destination.
    """

    def __init__(self, state: MutableMapping[str, Any], key: Key, resumed: bool, is_live: Callable[[Id], bool]) -> None:
        stored: Mapping[str, list[str]] = state.get("blocks", {})
        self._state, self._key, self._is_live = state, key, is_live
        self._known = frozenset(stored.get("known", ()))
        self._read = list(stored.get("read", ())) if resumed else []
        self._last: list[str] = []

    def changed(self, rows: Sequence[Row], mask: Callable[[Sequence[Row]], Sequence[Row]]) -> list[Row]:
        """The rows of blocks that have changed, or that have a record which is not live in the destination.

        Args:
            rows: some rows of the list, in its order.
            mask: hashes and drops columns; the digest is that of its result.
        """
        changed, self._last = list[Row](), []
        for block in self._split(rows):
            self._last.append(digest(mask(block))[:DIGEST_LENGTH])
            if self._last[-1] not in self._known or not all(self._is_live(identify(row, self._key)) for row in block):
                changed += block
        return changed

    def record(self) -> None:
        """Records in the state that the blocks of the last call of `changed` are loaded."""
        self._read += self._last
        self._state["blocks"] = {"known": sorted(self._known), "read": self._read}

    def end(self) -> None:
        """Records in the state that the list was read to its end."""
        self._state["blocks"] = {"known": sorted(set(self._read))}

    def _split(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        block = list[Row]()
        for row in rows:
            block.append(row)
            if ends_block(row, self._key):
                yield block
                block = []
        if block:
            yield block


def forget(state: MutableMapping[str, Any]) -> None:
    """Drops the digests, so that the next read writes every block."""
    state.pop("blocks", None)


def digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """A digest that differs where rows do.

    Raises:
        DataError: a value is nested too deeply.
    """
    try:
        return hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()
    except RecursionError:
        raise DataError("a value is nested too deeply to be compared") from None


def ends_block(row: Row, key: Key) -> bool:
    """Whether a block ends with this row."""
    hashed = hashlib.blake2b(str(identify(row, key)).encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big") % BLOCK_LENGTH == 0
