"""A list that is read whole by each run, in blocks: one that is as it was need not be written again. Pure logic.

A block ends at a record by that record's id alone, so what is created or deleted changes the block it lies in and no
other, wherever the pages of the list begin.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from ..errors import InsightlyError
from .walk import Id, Key, Row, Step, identify, joined

LENGTH = 250
"""Records of a block on average: one changed record has so many written, and the state has `LETTERS` for a block."""
LETTERS = 12


class Blocks:
    """The digests of a list's blocks, as they were when it was last read to its end and as they are met now.

    Args:
        state: where they are kept between runs; what is met now is written there by `note`.
        key: what tells records apart.
        resumed: whether the reading under way began in an earlier round.
        is_live: whether the destination holds a record as live.
    """

    def __init__(self, state: MutableMapping[str, Any], key: Key, resumed: bool, is_live: Callable[[Id], bool]) -> None:
        kept: Mapping[str, list[str]] = state.get("blocks", {})
        self._state, self._key, self._is_live = state, key, is_live
        self._known = frozenset(kept.get("whole", ()))
        self._met = list(kept.get("met", ())) if resumed else []
        self._last: list[str] = []

    def changed(self, rows: Sequence[Row], mask: Callable[[Sequence[Row]], Sequence[Row]]) -> list[Row]:
        """The rows of blocks that are not as they were, or of which a record is not held as live.

        Args:
            rows: some rows of the list, in its order.
            mask: what is done to rows before anything is written down of them.
        """
        found, self._last = list[Row](), []
        for block in _split(rows, self._key):
            self._last.append(digest(mask(block))[:LETTERS])
            if self._last[-1] not in self._known or not self._all_live(block):
                found += block
        return found

    def note(self) -> None:
        """Writes into the state that the blocks `changed` was last asked about are loaded."""
        self._met += self._last
        self._state["blocks"] = {"whole": sorted(self._known), "met": self._met}

    def end(self) -> None:
        """Writes into the state that the list has been read to its end."""
        self._state["blocks"] = {"whole": sorted(set(self._met))}

    def _all_live(self, block: Sequence[Row]) -> bool:
        return all(self._is_live(identify(row, self._key)) for row in block)


def forget(state: MutableMapping[str, Any]) -> None:
    """Has every block be written when it is next met."""
    state.pop("blocks", None)


def whole_blocks(steps: Iterable[Step], key: Key, hurried: Callable[[], bool]) -> Iterator[Step]:
    """Steps that end where a block ends, but for those in no order, the last one, one before an error, and when
    `hurried`: then everything that was read is handed over, so that a run with few calls gets on."""
    held: Step | None = None
    try:
        for step in steps:
            held = step if held is None else joined(held, step)
            last = next((at for at in reversed(range(len(step.rows))) if _ends(step.rows[at], key)), None)
            if step.skip is None or step.at is None or hurried():
                whole, held = held, None
                yield whole
            elif last is not None:
                rest = step.rows[last + 1 :]
                rows, last_id = held.rows[: len(held.rows) - len(rest)], identify(step.rows[last], key)
                whole = Step(rows, held.at, step.at, last_id, held.size)
                held = Step(rest, step.at, step.skip, step.last_id) if rest else None
                yield whole if rest else Step(rows, whole.at, step.skip, step.last_id, whole.size)
    except InsightlyError:
        if held is not None:
            yield held
        raise
    if held is not None:
        yield held


def digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """What differs where rows do."""
    told = json.dumps(rows, sort_keys=True, default=str).encode()
    return hashlib.sha256(told).hexdigest()


def _split(rows: Sequence[Row], key: Key) -> Iterator[list[Row]]:
    block = list[Row]()
    for row in rows:
        block.append(row)
        if _ends(row, key):
            yield block
            block = []
    if block:
        yield block


def _ends(row: Row, key: Key) -> bool:
    told = hashlib.blake2b(str(identify(row, key)).encode(), digest_size=8).digest()
    return int.from_bytes(told, "big") % LENGTH == 0
