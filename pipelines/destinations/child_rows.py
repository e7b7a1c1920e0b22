"""Rows of an entity that is read per parent record, such as the comments of notes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from dlt.common.utils import chunks

from sources.insightly.entities import Entity
from sources.insightly.rows.naming import DELETED_AT

from .dataset import BATCH, Dataset, Row


class ChildRows:
    """The rows of `entity` in the destination whose parent is a record of the entity `parent`."""

    def __init__(self, dataset: Dataset, entity: Entity, parent: str) -> None:
        self._dataset, self._entity = dataset, entity
        *type_column, self._key = entity.parent_key
        self._key_is_text = entity.parent_key[self._key] == "string"
        self._of_parent = f"{dataset.column(type_column[0])} = '{parent}' and " if type_column else ""
        self._parent_id, self._deleted_at = dataset.column(self._key), dataset.column(DELETED_AT)

    def parents(self) -> dict[int, bool]:
        """The parent ids that have rows: id -> True if one of the rows is live."""
        live = f"max(case when {self._deleted_at} is null then 1 else 0 end)"
        sql = f"select {self._parent_id}, {live} from {{}} where {self._of_parent}1 = 1 group by {self._parent_id}"
        return {int(id_): bool(is_live) for id_, is_live in self._dataset.execute(self._entity.name, sql)}

    def live_rows(self, ids: Collection[int]) -> Mapping[int, list[Row]]:
        """The live rows of some parents: parent id -> rows."""
        rows = defaultdict[int, list[Row]](list)
        for condition in self._conditions(ids):
            for row in self._dataset.rows(self._entity.name, f"where {condition} and {self._deleted_at} is null"):
                rows[int(row[self._dataset.normalize(self._key)])].append(row)
        return rows

    def mark_deleted(self, ids: Collection[int], remove: bool) -> int:
        """Marks the rows of some parents deleted, or removes them; returns how many live rows they had."""
        count = sum(map(len, self.live_rows(ids).values()))
        for condition in self._conditions(ids):
            if remove:
                self._dataset.execute(self._entity.name, f"delete from {{}} where {condition}")
            else:
                sql = f"update {{}} set {self._deleted_at} = %s where {condition} and {self._deleted_at} is null"
                self._dataset.execute(self._entity.name, sql, datetime.now(UTC))
        return count

    def undelete(self, ids: Collection[int]) -> None:
        """Clears the deletion mark of the rows of some parents."""
        for condition in self._conditions(ids):
            self._dataset.execute(self._entity.name, f"update {{}} set {self._deleted_at} = null where {condition}")

    def _conditions(self, ids: Collection[int]) -> Iterable[str]:
        """SQL conditions that select the rows of some parents, a batch of ids each."""
        literals = [f"'{int(id_)}'" if self._key_is_text else str(int(id_)) for id_ in ids]
        for batch in chunks(literals, BATCH):
            yield f"{self._of_parent}{self._parent_id} in ({', '.join(batch)})"
