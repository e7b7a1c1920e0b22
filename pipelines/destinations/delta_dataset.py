"""What a lake holds: read as any dataset is, and marked by commits of Delta's, one a table."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from sources.insightly.entities import Entity
from sources.insightly.rows.arrow import VARIANT
from sources.insightly.rows.naming import DELETED_AT, child_table

from .dataset import Dataset
from .delta import LakeClient, quoted
from .system_tables import COLUMNS, DELETIONS


class LakeDataset(Dataset):
    """A dataset without transactions over several tables: what is repeated after a kill changes nothing more."""

    def mark(self, entity: Entity, gone: Mapping[int, str], remove: bool, versions: bool = False) -> None:
        """Marks records deleted, or removes them and their child rows; the ledger is written first."""
        assert not versions, "histories are kept by SQL alone"
        moment, key, ids = datetime.now(UTC), self.normalize(entity.key[0]), list(gone)
        known = {row["record_id"] for row in self.all(DELETIONS) if _is_open(row, entity)}
        rows = [
            {"entity": entity.name, "record_id": id_, "found_at": moment, "reason": reason}
            for id_, reason in gone.items()
            if id_ not in known
        ]
        if rows:
            self._lake.write(DELETIONS, pa.Table.from_pylist(rows, schema=pa.schema(list(COLUMNS[DELETIONS].items()))))
        if remove:
            for table in [*(child_table(entity, array) for array in entity.arrays), entity.name]:
                self._delete(table, key, ids)
        else:
            merge = self._merge(entity.name, {key: ids, DELETED_AT: [moment] * len(ids)}, key)
            merge.when_matched_update({DELETED_AT: f"source.{DELETED_AT}"}).execute()

    def empty(self, columns: Mapping[str, Iterable[str]]) -> None:
        """Empties columns of tables, with what did not fit them."""
        for table, names in columns.items():
            held = self._lake.delta(table) if self.holds(table) else None
            told = {each for name in names for each in (name, self.normalize(name + VARIANT))}
            if held is not None and (ours := told & set(held.schema().to_arrow().names)):
                held.update(updates=dict.fromkeys(map(quoted, ours), "null"))

    def remove_orphans(self, entity: Entity) -> int:
        """Removes child rows whose record is not held, live or not; returns how many there were."""
        key, removed = self._key(entity), 0
        for table in filter(self.holds, (child_table(entity, array) for array in entity.arrays)):
            parents = f"select {key} from {self.name(entity.name)}"
            found = self.query(f"select {key} as id from {self.name(table)} where {key} not in ({parents})")
            removed += len(found)
            self._delete(table, self.normalize(entity.key[0]), sorted({row["id"] for row in found}))
        return removed

    def restore(self) -> None:
        """Writes into the ledger which deleted records live again, since they were loaded anew."""
        open_ = [row for row in self.all(DELETIONS) if row["restored_at"] is None]
        known = self.entities()
        for name in {row["entity"] for row in open_ if row["entity"] in known}:
            ids = sorted({row["record_id"] for row in open_ if row["entity"] == name} & self._present(known[name]))
            if ids:
                told = {"record_id": ids, "restored_at": [datetime.now(UTC)] * len(ids)}
                merge = self._merge(
                    DELETIONS, told, "record_id", f"target.entity = '{name}' and target.restored_at is null"
                )
                merge.when_matched_update({"restored_at": "source.restored_at"}).execute()

    @property
    def _lake(self) -> LakeClient:
        client: Any = self._client
        lake: LakeClient = client.remote_client
        return lake

    def _present(self, entity: Entity) -> set[int]:
        """The ids of the records that are there, and not marked."""
        if not self.holds(entity.name):
            return set()
        live = f"where {self._live}" if entity.swept else ""
        return {
            row["id"] for row in self.query(f"select {self._key(entity)} as id from {self.name(entity.name)} {live}")
        }

    def _delete(self, table: str, key: str, ids: Sequence[int]) -> None:
        if ids and self.holds(table) and self._lake.delta(table) is not None:
            self._merge(table, {key: ids}, key).when_matched_delete().execute()

    def _merge(self, table: str, told: Mapping[str, Sequence[Any]], key: str, also: str = "true") -> Any:
        """A merge of some values, by the key among them, into the table's rows that `also` holds for."""
        types = self._lake.columns(table)
        source = pa.table({name: pa.array(values, types.field(name).type) for name, values in told.items()})
        matched = f"target.{quoted(key)} = source.{quoted(key)} and {also}"
        return self._lake.delta(table).merge(source, matched, source_alias="source", target_alias="target")


def _is_open(row: Mapping[str, Any], entity: Entity) -> bool:
    return bool(row["entity"] == entity.name and row["restored_at"] is None)
