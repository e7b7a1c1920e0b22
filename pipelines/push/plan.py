"""The plan of a push: its actions, and the most calls it takes. Pure logic."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.engine.report import by_reason
from sources.insightly.entities import ENTITIES, RECORD_TYPES, Entity
from sources.insightly.errors import listing

from .validate import Row
from .values import search_values

SHOWN = 20
"""Problems that a message or the terminal lists."""


@dataclass
class Plan:
    """What a push does with its rows.

    Attributes:
        push_id: identifies the push.
        rows, invalid: all rows, and those with problems.
        already_pushed: rows that an earlier run of the same push carried out.
        actions: action -> rows.
        clears: field -> rows that clear it.
        calls: the most calls of the push, reading the records back included. A record that has the values already
            needs fewer.
        seconds: the least time for these calls.
        changes: what happens to each open row, compared with the destination: see `preview`.
        problems: row number, line in the file (None if it has no lines), place and problem; an entry for each problem.
        earlier: an unfinished push of other rows. Records it created are created again if their rows are in this one.
    """

    push_id: str
    op: str
    rows: int
    invalid: int
    already_pushed: int
    actions: dict[str, int] = field(default_factory=dict)
    clears: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0
    changes: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    earlier: dict[str, Any] | None = None


def describe(problems: Iterable[Mapping[str, Any]]) -> list[str]:
    """Problems in words, each once, such as `row 3 and 7 more: contact_id x is not a whole number`."""
    places = by_reason((each["place"], each["problem"]) for each in problems)
    return [f"{listing(rows, 1)}: {problem}" for problem, rows in places.items()]


def summary(problems: Iterable[Mapping[str, Any]]) -> str:
    """The only problem in words, or how many there are."""
    first, *others = describe(problems)
    return f"{len(others) + 1:,} different problems" if others else first


def make_plan(
    push_id: str,
    entity: Entity,
    op: str,
    rows: Sequence[Row],
    open_rows: Sequence[Row],
    *,
    guarded: bool,
    has_account: bool,
    not_loaded: int,
) -> Plan:
    """The plan of a push, without `seconds` and `earlier`.

    Args:
        push_id: identifies the push.
        entity, op: the records' entity and the operation.
        rows: all rows, those with problems included.
        open_rows: the rows still to be carried out.
        guarded: whether records are read before they are deleted, because of --if-unchanged-since.
        has_account: whether the destination stores whose records it has; else one call reads it.
        not_loaded: rows that an earlier run carried out and did not read back.
    """
    invalid = [row for row in rows if row.problems]
    plan = Plan(push_id, op, len(rows), len(invalid), len(rows) - len(invalid) - len(open_rows))
    plan.problems = [{**row.where, "problem": problem} for row in invalid for problem in row.problems]
    plan.actions = dict(Counter(_action(op, row) for row in open_rows))
    if op != "create":
        cells = (cell for row in open_rows for cell in {**row.fields, **row.custom}.items())
        plan.clears = dict(Counter(name for name, value in cells if value is None))
    if entity.name == "tags":
        plan.calls = _tag_calls(op, open_rows)
    else:
        plan.calls = sum(_record_calls(op, row, guarded) for row in open_rows)
    plan.calls += not_loaded
    if open_rows or not_loaded:
        definitions = entity.custom_fields and (op != "delete" or any(row.custom for row in rows))
        clock = "create" in plan.actions and entity.name != "tags"
        plan.calls += sum((definitions, clock, not has_account))
    return plan


def _action(op: str, row: Row) -> str:
    if op != "upsert":
        return op
    return "update" if row.key is not None else "create" if row.match is None else "update or create"


def _record_calls(op: str, row: Row, guarded: bool) -> int:
    """The calls of one row: the write, reading the record back, and reading or searching it before."""
    if row.key is None and row.match is not None:
        find = len(search_values(row.match))
    else:
        find = int(op != "delete" and (op == "update" or row.key is not None))
    return 2 + find + int(op == "delete" and guarded)


def _tag_calls(op: str, rows: Sequence[Row]) -> int:
    """The writes (a set of tags is read before and after), each record, its definitions, and the lists of tag names."""
    if not rows:
        return 0
    records = {row.parent for row in rows}
    writes = 3 * len(records) if op == "update" else len(rows)
    defined = {record[0] for record in records if record is not None and ENTITIES[record[0]].custom_fields}
    return writes + len(records) + len(defined) + len(RECORD_TYPES)
