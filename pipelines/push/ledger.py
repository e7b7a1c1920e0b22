"""The ledger of pushes in the table `_push_log`: the intent of each write before it is sent, and its result.

Each statement commits by itself, so a killed process loses none.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from dlt.common.utils import chunks

from pipelines.destinations.dataset import BATCH, Dataset
from pipelines.destinations.system_tables import PUSHES

PENDING, WAITING, DONE, FAILED, UNKNOWN = "pending", "waiting", "done", "failed", "unknown"
"""Sent, no response yet; not carried out, to be tried again; carried out; refused; the result cannot be found out."""
FINAL = (DONE, UNKNOWN)
MISSING = "missing"
"""The action of a delete of a record that Insightly does not have."""
WRITES = ("create", "update", "delete", MISSING)
"""The actions after which the destination's row may differ from the record."""


@dataclass
class LedgerEntry:
    """The ledger's entry of one row."""

    number: int
    action: str
    status: str
    intent_at: datetime | None = None
    record_id: int | None = None
    error: str | None = None
    loaded: bool = False
    finished_at: datetime | None = None


class Ledger:
    """The entries of one push.

    Args:
        dataset: the destination; it has the table.
        push_id: identifies the push.
        entity, op: the entity and the operation of the push.

    Attributes:
        entries: row number -> entry of the latest attempt.
        earlier: the last push of other rows for this entity and operation, if it is unfinished: its id, the rows that
            are done, and those that are not.
    """

    def __init__(self, dataset: Dataset, push_id: str, entity: str, op: str) -> None:
        self._dataset, self._push_id, self.entity, self._op = dataset, push_id, entity, op
        self.attempt = 1
        self.entries: dict[int, LedgerEntry] = {}
        self._read()
        self.earlier = self._unfinished_push()

    def is_final(self, number: int) -> bool:
        """True if the row needs no more calls."""
        return number in self.entries and self.entries[number].status in FINAL

    def is_pending(self, number: int) -> bool:
        """True if the row was sent and its result is not recorded."""
        return number in self.entries and self.entries[number].status == PENDING

    def is_finished(self, numbers: Iterable[int]) -> bool:
        """True if each of the rows is final, and read back if it was written."""
        return all(self.is_final(number) and self.entries[number].loaded for number in numbers)

    def finished_at(self) -> datetime:
        """When the last row of a finished push got its result."""
        return max(entry.finished_at for entry in self.entries.values() if entry.finished_at is not None)

    def start_attempt(self) -> None:
        """Starts the push again. The entries of earlier attempts stay in the table."""
        self.attempt += 1
        self.entries = {}

    def record_intent(self, number: int, action: str, at: datetime, record_id: int | None = None) -> None:
        """Writes the action before it is sent."""
        self._write(LedgerEntry(number, action, PENDING, at, record_id))

    def record_result(
        self, number: int, action: str, status: str, record_id: int | None, error: str | None = None
    ) -> None:
        """Writes the result of a row."""
        before = self.entries.get(number)
        intent_at = before.intent_at if before else None
        loaded = status == UNKNOWN or (status == DONE and action == "none")
        self._write(LedgerEntry(number, action, status, intent_at, record_id, error, loaded, datetime.now(UTC)))

    def record_error(self, number: int, error: str) -> None:
        """Writes why the status of a row stays as it is."""
        self._write(replace(self.entries[number], error=error))

    def not_loaded(self, *actions: str) -> dict[int, int]:
        """Row number -> record id of the rows that were written and not read back since."""
        return {
            entry.number: entry.record_id
            for entry in self.entries.values()
            if entry.status == DONE and not entry.loaded and entry.record_id is not None and entry.action in actions
        }

    def record_loaded(self, numbers: Iterable[int]) -> None:
        """Records that the destination has the records of these rows as the API has them."""
        for batch in chunks(sorted(numbers), BATCH):
            condition = f"{self._this_attempt} and row_number in ({', '.join(map(str, batch))})"
            self._execute(f"update {{}} set loaded_at = %s where {condition}", datetime.now(UTC))
            for number in batch:
                self.entries[number].loaded = True

    def created_ids(self) -> set[int]:
        """The ids of the entity's records that any push created."""
        sql = "select record_id from {} where entity = %s and action = 'create' and status = 'done'"
        return {int(id_) for (id_,) in self._execute(sql, self.entity) if id_ is not None}

    def _unfinished_push(self) -> tuple[str, int, int] | None:
        sql = """select push_id, sum(case when status = 'done' then 1 else 0 end),
            sum(case when status in ('pending', 'waiting', 'failed') then 1 else 0 end)
            from {} where entity = %s and op = %s group by push_id, attempt order by max(intent_at) desc"""
        for push_id, done, open_ in self._execute(sql, self.entity, self._op)[:1]:
            if push_id != self._push_id and open_:
                return str(push_id), int(done), int(open_)
        return None

    def _read(self) -> None:
        columns = "attempt, row_number, action, status, intent_at, record_id, error, loaded_at, finished_at"
        for row in self._execute(f"select {columns} from {{}} where push_id = %s order by attempt", self._push_id):
            attempt, number, action, status, intent_at, record_id, error, loaded_at, finished_at = row
            if attempt > self.attempt:
                self.attempt, self.entries = attempt, {}
            self.entries[number] = LedgerEntry(
                number, action, status, _utc(intent_at), record_id, error, loaded_at is not None, _utc(finished_at)
            )

    def _write(self, entry: LedgerEntry) -> None:
        values = {
            "action": entry.action,
            "status": entry.status,
            "intent_at": entry.intent_at,
            "finished_at": entry.finished_at,
            "record_id": entry.record_id,
            "error": entry.error,
            "loaded_at": datetime.now(UTC) if entry.loaded else None,
        }
        if entry.number in self.entries:
            assignments = ", ".join(f"{name} = %s" for name in values)
            sql = f"update {{}} set {assignments} where {self._this_attempt} and row_number = %s"
            self._execute(sql, *values.values(), entry.number)
        else:
            push = {"push_id": self._push_id, "entity": self.entity, "op": self._op}
            row = {**push, "attempt": self.attempt, "row_number": entry.number, **values}
            self._dataset.append(PUSHES, [row])
        self.entries[entry.number] = entry

    @property
    def _this_attempt(self) -> str:
        return f"push_id = '{self._push_id}' and attempt = {self.attempt}"

    def _execute(self, sql: str, *values: Any) -> list[Any]:
        return self._dataset.execute(PUSHES, sql, *values)


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time and time.astimezone(UTC)
