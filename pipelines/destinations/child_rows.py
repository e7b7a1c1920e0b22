"""Rows in the destination that belong to records of another entity."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from sources.insightly.entities import Entity
from sources.insightly.rows.naming import DELETED_AT

from .dataset import BATCH, Dataset, Row


class Held:
    """The rows held of an entity under the records of one of its entities of parents."""

    def __init__(self, dataset: Dataset, entity: Entity, parent: str) -> None:
        self._dataset, self._entity = dataset, entity
        *kind, self._key = entity.parent_key
        self._text = entity.parent_key[self._key] == "string"
        self._of = f"{dataset.column(kind[0])} = '{parent}' and " if kind else ""
        self._id, self._mark = dataset.column(self._key), dataset.column(DELETED_AT)

    def parents(self) -> dict[int, bool]:
        """The records that rows are held of; True where some of these are live."""
        live = f"max(case when {self._mark} is null then 1 else 0 end)"
        sql = f"select {self._id}, {live} from {{}} where {self._of}1 = 1 group by {self._id}"
        return {int(id_): bool(alive) for id_, alive in self._dataset.execute(self._entity.name, sql)}

    def rows(self, ids: Collection[int]) -> Mapping[int, list[Row]]:
        """The live rows of some records."""
        found = defaultdict[int, list[Row]](list)
        for clause in self._clauses(ids):
            for row in self._dataset.rows_where(self._entity.name, f"where {clause} and {self._mark} is null"):
                found[int(row[self._dataset.normalize(self._key)])].append(row)
        return found

    def take_away(self, ids: Collection[int], remove: bool) -> int:
        """Marks the rows of records deleted, or removes them; returns how many there were."""
        count = sum(map(len, self.rows(ids).values()))
        for clause in self._clauses(ids):
            if remove:
                self._dataset.execute(self._entity.name, f"delete from {{}} where {clause}")
            else:
                sql = f"update {{}} set {self._mark} = %s where {clause} and {self._mark} is null"
                self._dataset.execute(self._entity.name, sql, datetime.now(UTC))
        return count

    def undelete(self, ids: Collection[int]) -> None:
        """Takes the mark from the rows of records."""
        for clause in self._clauses(ids):
            self._dataset.execute(self._entity.name, f"update {{}} set {self._mark} = null where {clause}")

    def _clauses(self, ids: Collection[int]) -> Iterable[str]:
        told = [f"'{int(id_)}'" if self._text else str(int(id_)) for id_ in ids]
        for start in range(0, len(told), BATCH):
            yield f"{self._of}{self._id} in ({', '.join(told[start : start + BATCH])})"
