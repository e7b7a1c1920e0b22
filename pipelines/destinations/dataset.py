"""What a destination holds, and the marks that a sweep sets there, in SQL through dlt's own client."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import dlt

from sources.insightly.entities import ENTITIES, Entity, custom_object
from sources.insightly.rows.arrow import VARIANT
from sources.insightly.rows.naming import DELETED_AT, VALID_FROM, VALID_TO, child_table, history_table

from .pipeline_state import custom_objects, source_state
from .system_tables import DELETIONS, HISTORIES, held

BATCH, ROWS = 500, 10_000
"""Rows of one INSERT, and rows that are fetched at a time: of each id a tuple would take more than the id."""
Row = dict[str, Any]


class Dataset:
    """The tables of one dataset, over one connection that opens when it is first needed.

    Args:
        pipeline: a pipeline whose schema is that of the destination.
    """

    def __init__(self, pipeline: dlt.Pipeline) -> None:
        self._pipeline = pipeline
        self._open = ExitStack()
        self._held: set[str] = set()

    def __enter__(self) -> "Dataset":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def holds(self, table: str) -> bool:
        """True where there is such a table; dlt reads its schema anew each time it is asked, so a yes is kept."""
        if table not in self._held and held(self._pipeline, table):
            self._held.add(table)
        return table in self._held

    @property
    def has_schema(self) -> bool:
        """False where nothing was ever loaded."""
        return self._pipeline.default_schema_name is not None

    @property
    def has_account(self) -> bool:
        """True where the destination tells whose records it holds."""
        return "account" in source_state(self._pipeline)

    def normalize(self, name: str) -> str:
        """The column that a field of the API becomes."""
        return str(self._naming.normalize_path(name))

    def live_ids(self, entity: Entity) -> list[int]:
        """The ids of the records that are not marked deleted, in ascending order; none where there is no table."""
        if not self.holds(entity.name):
            return []
        sql = f"select {self._key(entity)} from {self.name(entity.name)} where {self._live} order by 1"
        ids: list[int] = []
        with self._client.execute_query(sql) as cursor:
            while rows := cursor.fetchmany(ROWS):
                ids += (int(id_) for (id_,) in rows)
        return ids

    def rows_of(self, entity: Entity, table: str, ids: Sequence[int]) -> list[Row]:
        """The rows of some records, live or not, in the entity's own table or a child table; none without a table."""
        listed = ", ".join(str(int(id_)) for id_ in ids) or "null"
        return self.rows_where(table, f"where {self._key(entity)} in ({listed})")

    def all(self, table: str) -> list[Row]:
        """All rows of a table; none where there is no table."""
        return self.rows_where(table, "")

    def rows_where(self, table: str, where: str) -> list[Row]:
        """The rows of a table that a clause lets through; none where there is no table."""
        if not self.holds(table):
            return []
        return self.query(f"select * from {self.name(table)} {where}")

    def column(self, name: str) -> str:
        """The column that a field becomes, as SQL names it."""
        return str(self._client.escape_column_name(self.normalize(name)))

    def has_column(self, table: str, name: str) -> bool:
        """True where the table is held and has the column."""
        return self.holds(table) and "data_type" in self._pipeline.default_schema.tables[table]["columns"].get(name, {})

    def query(self, sql: str, *values: Any) -> list[Row]:
        """The rows of a query, its columns named in lower case where the destination names all in upper case.

        `%s` in it stands for the values.
        """
        upper = self._client.capabilities.casefold_identifier is str.upper
        with self._client.execute_query(sql, *values) as cursor:
            names = [column[0].lower() if upper else column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def execute(self, table: str, sql: str, *values: Any) -> list[Any]:
        """Runs one statement, which commits by itself; `{}` in it stands for the table. Returns its rows, if any."""
        # BigQuery cannot tell the type of a parameter that is null.
        sql = sql.format(self.name(table)) % tuple("null" if value is None else "%s" for value in values)
        return list(self._client.execute_sql(sql, *(value for value in values if value is not None)) or ())

    @contextmanager
    def transaction(self) -> Iterator[Callable[..., list[Any]]]:
        """One transaction; it gives what runs a statement in it and returns the rows, if any."""
        with self._client.begin_transaction():
            yield lambda sql, *values: list(self._client.execute_sql(sql, *values) or ())

    def name(self, table: str) -> str:
        """A table as SQL names it."""
        return str(self._client.make_qualified_table_name(table))

    def moment(self, history: str) -> datetime:
        """Now, or the latest bound of a version where that is later: clocks can be set back."""
        columns = ", ".join(f"max({self.column(bound)})" for bound in (VALID_FROM, VALID_TO))
        ((from_, to),) = self._client.execute_sql(f"select {columns} from {self.name(history)}")
        latest: datetime = max(filter(None, (datetime.now(UTC), from_, to)))
        return latest

    def leave_histories(self, names: Iterable[str]) -> None:
        """Notes, before rows of entities are loaded, that their histories are behind until they follow."""
        if self.holds(HISTORIES):
            told = ", ".join(f"'{name}'" for name in names)
            self.execute(HISTORIES, f"update {{}} set followed_at = null where entity in ({told})")

    def mark(self, entity: Entity, gone: Mapping[int, str], remove: bool, versions: bool = False) -> None:
        """Marks records deleted, or removes them and their child rows, in one transaction with the ledger.

        Args:
            entity: whose records.
            gone: id -> why.
            remove: whether their rows go, instead of getting `_deleted_at`.
            versions: whether the versions that are open in the entity's history end.
        """
        history = history_table(entity)
        versions = versions and self.holds(history)
        moment, facts = self.moment(history) if versions else datetime.now(UTC), list(gone.items())
        tables = [*(child_table(entity, array) for array in entity.arrays), entity.name]
        ledger, run = self.name(DELETIONS), self._client.execute_sql
        found = f"{self._key(entity)} in (select record_id from {ledger} where entity = %s and found_at = %s)"
        with self._client.begin_transaction():
            for start in range(0, len(facts), BATCH):
                part = facts[start : start + BATCH]
                rows = ", ".join("(%s, %s, %s, %s)" for _ in part)
                values = [value for id_, reason in part for value in (entity.name, id_, moment, reason)]
                run(f"insert into {ledger} (entity, record_id, found_at, reason) values {rows}", *values)
            if versions:
                to = self.column(VALID_TO)
                end = f"update {self.name(history)} set {to} = %s where {to} is null and {found}"
                run(end, moment, entity.name, moment)
            if remove:
                for table in filter(self.holds, tables):
                    run(f"delete from {self.name(table)} where {found}", entity.name, moment)
            else:
                mark = f"update {self.name(entity.name)} set {self._deleted_at} = %s where {found}"
                run(mark, moment, entity.name, moment)

    def empty(self, columns: Mapping[str, Iterable[str]]) -> None:
        """Empties columns of tables in one transaction, with what did not fit them; those not held are passed over."""
        tables = self._pipeline.default_schema.tables if columns else {}
        with self._client.begin_transaction():
            for table, names in columns.items():
                held = tables[table]["columns"] if self.holds(table) else {}
                ours = [
                    each
                    for name in names
                    for each in (name, self.normalize(name + VARIANT))
                    if "data_type" in held.get(each, {})
                ]
                if ours:
                    told = ", ".join(f"{self.column(each)} = null" for each in ours)
                    # Some databases change all rows only when a condition says so.
                    self._client.execute_sql(f"update {self.name(table)} set {told} where 1 = 1")

    def remove_orphans(self, entity: Entity) -> int:
        """Removes child rows whose record is not held, live or not, in one transaction; returns how many there were."""
        key, run, removed = self._key(entity), self._client.execute_sql, 0
        tables = [child_table(entity, array) for array in entity.arrays]
        with self._client.begin_transaction():
            for table in filter(self.holds, tables):
                without = f"left join {self.name(entity.name)} p on c.{key} = p.{key} where p.{key} is null"
                found = run(f"select c.{key}, count(*) from {self.name(table)} c {without} group by c.{key}")
                ids = [int(id_) for id_, _ in found]
                removed += sum(count for _, count in found)
                for start in range(0, len(ids), BATCH):
                    part = ", ".join(map(str, ids[start : start + BATCH]))
                    run(f"delete from {self.name(table)} where {key} in ({part})")
        return removed

    def entities(self) -> dict[str, Entity]:
        """The entities that there can be tables of, custom objects among them."""
        objects = {name: custom_object(told, name) for name, told in custom_objects(self._pipeline).items()}
        return {**ENTITIES, **objects}

    def restore(self) -> None:
        """Writes into the ledger which deleted records live again, since they were loaded anew."""
        if not self.holds(DELETIONS):
            return
        ledger = self.name(DELETIONS)
        waiting = self._client.execute_sql(f"select distinct entity from {ledger} where restored_at is null")
        known = self.entities()
        for entity in (known[name] for (name,) in waiting if name in known and self.holds(name)):
            live = f"select {self._key(entity)} from {self.name(entity.name)}"
            live += f" where {self._live}" if entity.swept else ""
            sql = f"update {ledger} set restored_at = %s where entity = %s and restored_at is null"
            self._client.execute_sql(f"{sql} and record_id in ({live})", datetime.now(UTC), entity.name)

    @cached_property
    def _naming(self) -> Any:
        return self._pipeline.default_schema.naming

    @cached_property
    def _client(self) -> Any:
        client: Any = self._pipeline.sql_client()
        return self._open.enter_context(client)

    def _key(self, entity: Entity) -> str:
        return self.column(entity.key[0])

    @property
    def _deleted_at(self) -> str:
        return self.column(DELETED_AT)

    @property
    def _live(self) -> str:
        return f"{self._deleted_at} is null"
