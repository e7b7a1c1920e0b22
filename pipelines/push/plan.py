"""What a push is about to do, and how many calls that takes at most. Pure logic."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sources.insightly.api.rate_limit import MARGIN
from sources.insightly.entities import ENTITIES, RECORD_TYPES, Entity

from .validate import Row

SHOWN = 20


@dataclass
class Plan:
    """What will be done with the rows: `rows` are all, `settled` were pushed by an earlier run of the same push.

    `calls` are those of the push at most, re-reading included: an update of a record that is so already needs fewer.
    """

    push_id: str
    op: str
    rows: int
    invalid: int
    settled: int
    actions: dict[str, int] = field(default_factory=dict)
    clears: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0
    problems: list[dict[str, Any]] = field(default_factory=list)
    earlier: dict[str, Any] | None = None
    """A push of other rows that has not come to its end; its rows, where they are here again, are created once more."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan(
    push_id: str,
    entity: Entity,
    op: str,
    rows: Sequence[Row],
    open_: Sequence[Row],
    rate: float,
    *,
    guarded: bool,
    bound: bool,
    unread: int,
) -> Plan:
    """The plan of a push.

    Args:
        push_id: names the push.
        entity, op: what is pushed, and how.
        rows: all rows, those with problems included.
        open_: the rows still to be carried out.
        rate: calls a second.
        guarded: whether records are looked at before they are deleted, because of --if-unchanged-since.
        bound: whether the destination tells already whose records it holds.
        unread: rows that an earlier run carried out, and did not read again.
    """
    bad = [row for row in rows if row.problems]
    told = Plan(push_id, op, len(rows), len(bad), len(rows) - len(bad) - len(open_))
    told.problems = [{"row": row.number, "problem": "; ".join(row.problems)} for row in bad]
    for row in open_:
        action = _action(op, row)
        told.actions[action] = told.actions.get(action, 0) + 1
        for name in (name for name, value in {**row.fields, **row.custom}.items() if value is None and op != "create"):
            told.clears[name] = told.clears.get(name, 0) + 1
    told.calls = _tag_calls(op, open_) if entity.name == "tags" else sum(_calls(op, row, guarded) for row in open_)
    told.calls += unread
    if open_ or unread:
        defined = entity.custom_fields and (op != "delete" or any(row.custom for row in rows))
        clock = "create" in told.actions and entity.name != "tags"
        told.calls += sum((defined, clock, not bound))
    told.seconds = round(told.calls * MARGIN / rate, 1)
    return told


def _action(op: str, row: Row) -> str:
    if op != "upsert":
        return op
    return "update" if row.key is not None else "create" if row.match is None else "update or create"


def _calls(op: str, row: Row, guarded: bool) -> int:
    """A search or a look, the write, and the reading afterwards."""
    look = row.key is None if op == "delete" else op == "update" or row.key is not None or row.match is not None
    return 2 + int(look) + int(op == "delete" and guarded)


def _tag_calls(op: str, rows: Sequence[Row]) -> int:
    records = {row.parent for row in rows}
    # Tags before and after a set of them is sent; each record, the definitions of its kind, and the lists of tag names.
    writes = 3 * len(records) if op == "update" else len(rows)
    defined = {record[0] for record in records if record is not None and ENTITIES[record[0]].custom_fields}
    return writes + len(records) + len(defined) + len(RECORD_TYPES) if rows else 0
