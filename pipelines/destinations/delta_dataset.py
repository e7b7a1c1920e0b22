"""The tables of a dataset in Delta format: read by SQL, changed by Delta commits, one a table."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from sources.insightly.entities import Entity
from sources.insightly.rows.naming import DELETED_AT, child_tables

from .dataset import Dataset
from .delta import DeltaClient, quoted
from .system_tables import DELETIONS, arrow_table


class DeltaDataset(Dataset):
    """A dataset without transactions over several tables. Each change can be repeated after a kill without harm."""

    def mark_deleted(self, entity: Entity, reasons: Mapping[int, str], remove: bool, versions: bool = False) -> None:
        """Marks records deleted, or removes them and their child rows. Writes the table `deletions` first."""
        assert not versions, "histories need an SQL database"
        now, key, ids = datetime.now(UTC), self.normalize(entity.key[0]), list(reasons)
        recorded = {row["record_id"] for row in self._open_deletions() if row["entity"] == entity.name}
        rows = [
            {"entity": entity.name, "record_id": id_, "found_at": now, "reason": reason}
            for id_, reason in reasons.items()
            if id_ not in recorded
        ]
        if rows:
            self.append(DELETIONS, rows)
        if remove:
            for table in (*child_tables(entity), entity.name):
                self._delete(table, key, ids)
        else:
            merge = self._merge(entity.name, {key: ids, DELETED_AT: [now] * len(ids)}, key)
            merge.when_matched_update({DELETED_AT: f"source.{DELETED_AT}"}).execute()

    def append(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows to a system table, in one commit."""
        self._delta_client.write(table, arrow_table(table, rows))

    def clear_columns(self, columns: Mapping[str, Iterable[str]]) -> None:
        """Sets columns of tables (table -> columns) and their `__v_text` columns to null, skipping missing ones."""
        for table, names in columns.items():
            delta = self._delta_client.delta(table) if self.table_exists(table) else None
            if delta is not None and (
                existing := set(self._with_variants(names)) & set(delta.schema().to_arrow().names)
            ):
                delta.update(updates=dict.fromkeys(map(quoted, existing), "null"))

    def remove_orphans(self, entity: Entity) -> int:
        """Removes child rows that have no parent row; returns how many."""
        key, removed = self._key(entity), 0
        for table in filter(self.table_exists, child_tables(entity)):
            parents = f"select {key} from {self.table_name(entity.name)}"
            orphans = self.query(f"select {key} as id from {self.table_name(table)} where {key} not in ({parents})")
            removed += len(orphans)
            self._delete(table, self.normalize(entity.key[0]), sorted({row["id"] for row in orphans}))
        return removed

    def record_restored(self) -> None:
        """Sets `restored_at` in the table `deletions` for deleted records that a later load brought back."""
        deletions, entities = self._open_deletions(), self.entities()
        for name in {row["entity"] for row in deletions if row["entity"] in entities}:
            deleted = {row["record_id"] for row in deletions if row["entity"] == name}
            if ids := sorted(deleted & self._present_ids(entities[name])):
                values = {"record_id": ids, "restored_at": [datetime.now(UTC)] * len(ids)}
                condition = f"target.entity = '{name}' and target.restored_at is null"
                merge = self._merge(DELETIONS, values, "record_id", condition)
                merge.when_matched_update({"restored_at": "source.restored_at"}).execute()

    def _read_only(self) -> AbstractContextManager[None]:
        return nullcontext()  # dlt creates a view for each table that a query reads

    @property
    def _delta_client(self) -> DeltaClient:
        client: DeltaClient = self._client.remote_client
        return client

    def _open_deletions(self) -> list[dict[str, Any]]:
        """The rows of the table `deletions` whose record was not restored."""
        return [row for row in self.rows(DELETIONS) if row["restored_at"] is None]

    def _present_ids(self, entity: Entity) -> set[int]:
        """The ids of the records that exist and are not marked deleted."""
        if not self.table_exists(entity.name):
            return set()
        live = f"where {self._live}" if entity.swept else ""
        rows = self.query(f"select {self._key(entity)} as id from {self.table_name(entity.name)} {live}")
        return {row["id"] for row in rows}

    def _delete(self, table: str, key: str, ids: Sequence[int]) -> None:
        if ids and self.table_exists(table) and self._delta_client.delta(table) is not None:
            self._merge(table, {key: ids}, key).when_matched_delete().execute()

    def _merge(self, table: str, values: Mapping[str, Sequence[Any]], key: str, condition: str = "true") -> Any:
        """A merge of column values into the rows with the same key that also meet a condition."""
        types = self._delta_client.columns(table)
        source = pa.table({name: pa.array(column, types.field(name).type) for name, column in values.items()})
        matched = f"target.{quoted(key)} = source.{quoted(key)} and {condition}"
        return self._delta_client.delta(table).merge(source, matched, source_alias="source", target_alias="target")
