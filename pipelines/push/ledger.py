"""The ledger of pushes: what was about to be sent, and what came of it, in the destination's table `_push_log`.

Each statement commits by itself, so it outlives whatever happens to this process.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.system_tables import PUSHES

PENDING, WAITING, DONE, FAILED, UNKNOWN = "pending", "waiting", "done", "failed", "unknown"
"""Sent, its answer not known; not carried out, to be tried again; carried out; refused; nobody can tell."""
FINAL = (DONE, UNKNOWN)
SOME = 500


@dataclass
class Entry:
    """What the ledger tells of one row."""

    number: int
    action: str
    status: str
    intent_at: datetime | None = None
    record_id: int | None = None
    error: str | None = None
    loaded: bool = False


class Ledger:
    """The entries of one push.

    Args:
        dataset: the destination, which has the table.
        push_id: which push.
        entity, op: what it does.
    """

    def __init__(self, dataset: Dataset, push_id: str, entity: str, op: str) -> None:
        self._dataset, self._push, self.entity, self._op = dataset, push_id, entity, op
        self.attempt = 1
        self.entries: dict[int, Entry] = {}
        self._read()
        self.earlier = self._unfinished()

    def finished(self, numbers: Iterable[int]) -> bool:
        """True where each of the rows is settled, and read again if it was written."""
        entries = [self.entries.get(number) for number in numbers]
        return all(entry is not None and entry.status in FINAL and entry.loaded for entry in entries)

    def begin_again(self) -> None:
        """Starts the push anew; what the earlier attempts did stays in the ledger."""
        self.attempt += 1
        self.entries = {}

    def intend(self, number: int, action: str, at: datetime, record_id: int | None = None) -> None:
        """Writes what is about to be sent, before it is."""
        self._write(Entry(number, action, PENDING, at, record_id), None)

    def settle(self, number: int, action: str, status: str, record_id: int | None, error: str | None = None) -> None:
        """Writes what came of a row."""
        before = self.entries.get(number)
        at = before.intent_at if before else None
        loaded = status == UNKNOWN or (status == DONE and action == "none")
        self._write(Entry(number, action, status, at, record_id, error, loaded), datetime.now(UTC))

    def leave(self, number: int, error: str) -> None:
        """Writes why a row stays as it is."""
        self._write(replace(self.entries[number], error=error), None)

    def to_load(self, *actions: str) -> dict[int, int]:
        """Row number -> record id of what was written and not read again since."""
        return {
            entry.number: entry.record_id
            for entry in self.entries.values()
            if entry.status == DONE and not entry.loaded and entry.record_id is not None and entry.action in actions
        }

    def loaded(self, numbers: Iterable[int]) -> None:
        """Notes that the destination holds the records of the rows as the API has them."""
        told = sorted(numbers)
        for start in range(0, len(told), SOME):
            part = told[start : start + SOME]
            marks = ", ".join(str(int(number)) for number in part)
            self._run(
                f"update {{}} set loaded_at = %s where {self._mine} and row_number in ({marks})", datetime.now(UTC)
            )
            for number in part:
                self.entries[number].loaded = True

    def created(self) -> set[int]:
        """The ids of all records of the entity that any push created."""
        sql = "select record_id from {} where entity = %s and action = 'create' and status = 'done'"
        return {int(id_) for (id_,) in self._run(sql, self.entity) if id_ is not None}

    def _unfinished(self) -> tuple[str, int, int] | None:
        """The push of other rows that was at the entity last, if it is not at its end: its id, rows done, rows not."""
        sql = """select push_id, sum(case when status = 'done' then 1 else 0 end),
            sum(case when status in ('pending', 'waiting', 'failed') then 1 else 0 end)
            from {} where entity = %s and op = %s group by push_id, attempt order by max(intent_at) desc"""
        for push, done, open_ in self._run(sql, self.entity, self._op)[:1]:
            if push != self._push and open_:
                return str(push), int(done), int(open_)
        return None

    def _read(self) -> None:
        columns = "attempt, row_number, action, status, intent_at, record_id, error, loaded_at"
        for row in self._run(f"select {columns} from {{}} where push_id = %s order by attempt", self._push):
            attempt, number, action, status, intent_at, record_id, error, loaded_at = row
            if attempt > self.attempt:
                self.attempt, self.entries = attempt, {}
            at = None if intent_at is None else _aware(intent_at)
            loaded = loaded_at is not None
            self.entries[number] = Entry(number, action, status, at, record_id, error, loaded)

    def _write(self, entry: Entry, finished: datetime | None) -> None:
        loaded = datetime.now(UTC) if entry.loaded else None
        values = [entry.action, entry.status, entry.intent_at, finished, entry.record_id, entry.error, loaded]
        names = ("action", "status", "intent_at", "finished_at", "record_id", "error", "loaded_at")
        if entry.number in self.entries:
            assigned = ", ".join(f"{name} = %s" for name in names)
            self._run(f"update {{}} set {assigned} where {self._mine} and row_number = %s", *values, entry.number)
        else:
            columns = ", ".join(("push_id", "entity", "op", "attempt", "row_number", *names))
            marks = ", ".join(["%s"] * 12)
            known = [self._push, self.entity, self._op, self.attempt, entry.number]
            self._run(f"insert into {{}} ({columns}) values ({marks})", *known, *values)
        self.entries[entry.number] = entry

    @property
    def _mine(self) -> str:
        return f"push_id = '{self._push}' and attempt = {self.attempt}"

    def _run(self, sql: str, *values: Any) -> list[Any]:
        return self._dataset.execute(PUSHES, sql, *values)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
