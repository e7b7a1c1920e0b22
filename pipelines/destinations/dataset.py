"""The tables of a dataset, read and changed by SQL through dlt's client."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import dlt
from dlt.common.utils import chunks

from sources.insightly.entities import ENTITIES, Entity, custom_object
from sources.insightly.rows.naming import (
    DELETED_AT,
    LIST_IDX,
    VALID_FROM,
    VALID_TO,
    VARIANT,
    child_tables,
    history_table,
)

from .pipeline_state import custom_objects, source_state
from .read_only import read_only, require_select
from .system_tables import DELETIONS, HISTORIES, table_exists

BATCH, FETCH_ROWS = 500, 10_000
"""Rows or ids of one statement, and rows fetched at a time: a row's tuple takes more memory than the id in it."""
Row = dict[str, Any]


class Dataset:
    """The tables of one dataset, over one connection that opens at the first statement.

    Args:
        pipeline: a pipeline that has the destination's schema.
    """

    def __init__(self, pipeline: dlt.Pipeline) -> None:
        self._pipeline = pipeline
        self._open = ExitStack()
        self._existing: set[str] = set()

    def __enter__(self) -> "Dataset":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def has_schema(self) -> bool:
        """False before the first load."""
        return self._pipeline.default_schema_name is not None

    @property
    def has_account(self) -> bool:
        """True if the destination stores whose records it has."""
        return "account" in source_state(self._pipeline)

    def table_exists(self, table: str) -> bool:
        """True if the table exists. A yes is cached, because dlt reads its schema file every time."""
        if table not in self._existing and table_exists(self._pipeline, table):
            self._existing.add(table)
        return table in self._existing

    def has_column(self, table: str, name: str) -> bool:
        """True if the table exists and has the column."""
        return self.table_exists(table) and "data_type" in self._columns(table).get(name, {})

    def is_text(self, table: str, name: str) -> bool:
        """True if the column exists and has texts."""
        return self.has_column(table, name) and self._columns(table)[name]["data_type"] == "text"

    @cached_property
    def normalize(self) -> Callable[[str], str]:
        """An API field -> the name of its column."""
        return self._pipeline.default_schema.naming.normalize_path

    def column(self, name: str) -> str:
        """The column of an API field, quoted for SQL."""
        return str(self._client.escape_column_name(self.normalize(name)))

    def table_name(self, table: str) -> str:
        """A table's qualified name, quoted for SQL."""
        return str(self._client.make_qualified_table_name(table))

    def live_ids(self, entity: Entity) -> Sequence[int]:
        """The ids of the records not marked deleted: each once, ascending, in 8 bytes; none without a table."""
        ids = array("q")
        if not self.table_exists(entity.name):
            return ids
        sql = f"select distinct {self._key(entity)} from {self.table_name(entity.name)} where {self._live} order by 1"
        with self._client.execute_query(sql) as cursor:
            while rows := cursor.fetchmany(FETCH_ROWS):
                ids.extend(int(id_) for (id_,) in rows)
        return ids

    def row_counts(self, tables: Iterable[str]) -> dict[str, tuple[int, int]]:
        """The live and the deleted rows of each table that exists, in one query."""
        # Once for all tables: dlt hashes the schema at each access.
        schema = self._pipeline.default_schema.tables if self.has_schema else {}
        parts = []
        for name in filter(schema.__contains__, tables):
            mark = schema[name]["columns"].get(self.normalize(DELETED_AT), {})
            marked = f"count({self.column(DELETED_AT)})" if "data_type" in mark else "0"
            parts.append(f"select '{name}' as entity, count(*) as n, {marked} as marked from {self.table_name(name)}")
        if not parts:
            return {}
        rows = self.query(" union all ".join(parts))
        return {row["entity"]: (int(row["n"] - row["marked"]), int(row["marked"])) for row in rows}

    def rows_by_id(self, entity: Entity, table: str, ids: Sequence[int]) -> list[Row]:
        """The rows of some records, deleted ones included, in the entity's table or a child table; [] without one."""
        literals = ", ".join(str(int(id_)) for id_ in ids) or "null"
        return self.rows(table, f"where {self._key(entity)} in ({literals})")

    def values_by_id(self, entity: Entity, columns: Sequence[str], ids: Sequence[Any]) -> dict[Any, Row]:
        """The values of some columns of records, deleted ones included: id -> column -> value.

        Skips columns that do not exist.
        """
        columns, key, values = [name for name in columns if self.has_column(entity.name, name)], entity.key[0], {}
        names = ", ".join(map(self.column, (key, *columns)))
        for batch in chunks(ids if columns else (), BATCH):
            literals = ", ".join(str(int(id_)) for id_ in batch)
            where = f"where {self._key(entity)} in ({literals})"
            for row in self.query(f"select {names} from {self.table_name(entity.name)} {where}"):
                values[row.pop(self.normalize(key))] = row
        return values

    def rows(self, table: str, where: str = "") -> list[Row]:
        """The rows of a table, those that a WHERE clause selects or all; [] without a table."""
        if not self.table_exists(table):
            return []
        return self.query(f"select * from {self.table_name(table)} {where}")

    def query(self, sql: str, *values: Any) -> list[Row]:
        """The rows of a query; `%s` in it stands for a value.

        Column names are in lower case where the destination's own are in upper case.
        """
        upper = self._client.capabilities.casefold_identifier is str.upper
        with self._client.execute_query(sql, *values) as cursor:
            names = [column[0].lower() if upper else column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def query_read_only(self, sql: str) -> list[Row]:
        """The rows of a query that a user wrote: one SELECT, which cannot write.

        Raises:
            NotASelect: it is anything else.
        """
        require_select(sql, self._client.capabilities.sqlglot_dialect)
        with self._read_only():
            return self.query(sql)

    def execute(self, table: str, sql: str, *values: Any) -> list[Any]:
        """Runs and commits one statement, `{}` in it being the table and `%s` a value. Returns its rows, if any."""
        # BigQuery cannot infer the type of a parameter that is null.
        sql = sql.format(self.table_name(table)) % tuple("null" if value is None else "%s" for value in values)
        return list(self._client.execute_sql(sql, *(value for value in values if value is not None)) or ())

    def append(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows with the same keys to an existing system table, in one statement."""
        columns, values = ", ".join(map(self.column, rows[0])), [value for row in rows for value in row.values()]
        row = f"({', '.join(['%s'] * len(rows[0]))})"
        self.execute(table, f"insert into {{}} ({columns}) values {', '.join([row] * len(rows))}", *values)

    @contextmanager
    def transaction(self) -> Iterator[Callable[..., list[Any]]]:
        """A transaction; it yields a function that runs a statement and returns its rows, if any."""
        with self._client.begin_transaction() as transaction:
            try:
                yield lambda sql, *values: list(self._client.execute_sql(sql, *values) or ())
            except KeyboardInterrupt:
                transaction.rollback_transaction()  # dlt rolls back after an Exception only
                raise

    def version_timestamp(self, history: str) -> datetime:
        """The time for new versions: now, or the latest time in the history if that is later (clocks are set back)."""
        columns = ", ".join(f"max({self.column(bound)})" for bound in (VALID_FROM, VALID_TO))
        ((from_, to),) = self._client.execute_sql(f"select {columns} from {self.table_name(history)}")
        latest: datetime = max(filter(None, (datetime.now(UTC), from_, to)))
        return latest

    def mark_histories_stale(self, names: Iterable[str]) -> None:
        """Records, before rows of some entities are loaded, that their histories do not have these rows yet."""
        if self.table_exists(HISTORIES):
            literals = ", ".join(f"'{name}'" for name in names)
            self.execute(HISTORIES, f"update {{}} set followed_at = null where entity in ({literals})")

    def mark_deleted(self, entity: Entity, reasons: Mapping[int, str], remove: bool, versions: bool = False) -> None:
        """Marks records deleted, or removes them and their child rows, in one transaction with the table `deletions`.

        Args:
            entity: the records' entity.
            reasons: id -> why it is deleted.
            remove: delete the rows instead of setting `_deleted_at`.
            versions: end the open versions in the entity's history.
        """
        history = history_table(entity)
        versions = versions and self.table_exists(history)
        now = self.version_timestamp(history) if versions else datetime.now(UTC)
        ledger, run = self.table_name(DELETIONS), self._client.execute_sql
        # One statement for any number of ids: those that this transaction writes into the ledger.
        selected = f"{self._key(entity)} in (select record_id from {ledger} where entity = %s and found_at = %s)"
        rows = [{"entity": entity.name, "record_id": id_, "found_at": now, "reason": reasons[id_]} for id_ in reasons]
        with self._client.begin_transaction():
            for batch in chunks(rows, BATCH):
                self.append(DELETIONS, batch)
            if versions:
                to = self.column(VALID_TO)
                end = f"update {self.table_name(history)} set {to} = %s where {to} is null and {selected}"
                run(end, now, entity.name, now)
            if remove:
                for table in filter(self.table_exists, (*child_tables(entity), entity.name)):
                    run(f"delete from {self.table_name(table)} where {selected}", entity.name, now)
            else:
                mark = f"update {self.table_name(entity.name)} set {self.column(DELETED_AT)} = %s where {selected}"
                run(mark, now, entity.name, now)

    def clear_columns(self, columns: Mapping[str, Iterable[str]]) -> None:
        """Sets columns of tables (table -> columns) and their `__v_text` columns to null, in one transaction.

        Skips columns that do not exist.
        """
        with self._client.begin_transaction():
            for table, names in columns.items():
                existing = [name for name in self._with_variants(names) if self.has_column(table, name)]
                if existing:
                    assignments = ", ".join(f"{self.column(name)} = null" for name in existing)
                    # Some databases refuse an UPDATE of all rows without a condition.
                    self._client.execute_sql(f"update {self.table_name(table)} set {assignments} where 1 = 1")

    def repeated_keys(self, entity: Entity) -> list[tuple[str, Row, int]]:
        """The keys that more than one row has in the entity's table or a child table: table, key, number of rows."""
        found = list[tuple[str, Row, int]]()
        for table, key in self._keys(entity):
            for row in self.query(f"select {key}, count(*) as n {self._repeated(table, key)}"):
                count = row.pop("n")
                found.append((table, row, count))
        return found

    def count_repeated_keys(self, entities: Iterable[Entity]) -> dict[str, int]:
        """How many keys more than one row has, in the entity's table and its child tables, if any; in one query."""
        repeated = [
            f"select '{entity.name}' as entity {self._repeated(table, key)}"
            for entity in entities
            for table, key in self._keys(entity)
        ]
        if not repeated:
            return {}
        sql = f"select entity, count(*) as n from ({' union all '.join(repeated)}) q group by entity"
        return {row["entity"]: int(row["n"]) for row in self.query(sql)}

    def _keys(self, entity: Entity) -> Iterator[tuple[str, str]]:
        """The entity's table and child tables, each with its key for SQL."""
        for table in filter(self.table_exists, (entity.name, *child_tables(entity))):
            yield table, ", ".join(map(self.column, (*entity.key, *([LIST_IDX] if table != entity.name else []))))

    def _repeated(self, table: str, key: str) -> str:
        return f"from {self.table_name(table)} group by {key} having count(*) > 1"

    def orphans(self, entity: Entity) -> dict[str, int]:
        """How many rows without a parent row each child table has, if any."""
        tables = filter(self.table_exists, child_tables(entity))
        counts = {
            table: self.query(f"select count(*) as n {self._without_parent(entity, table)}")[0]["n"] for table in tables
        }
        return {table: count for table, count in counts.items() if count}

    def remove_orphans(self, entity: Entity) -> int:
        """Removes child rows that have no parent row, in one transaction; returns how many."""
        key, run, removed = self._key(entity), self._client.execute_sql, 0
        with self._client.begin_transaction():
            for table in filter(self.table_exists, child_tables(entity)):
                counts = run(f"select c.{key}, count(*) {self._without_parent(entity, table)} group by c.{key}")
                ids = [int(id_) for id_, _ in counts]
                removed += sum(count for _, count in counts)
                for batch in chunks(ids, BATCH):
                    run(f"delete from {self.table_name(table)} where {key} in ({', '.join(map(str, batch))})")
        return removed

    def _without_parent(self, entity: Entity, table: str) -> str:
        """The FROM clause of the rows `c` of a child table that have no parent row."""
        key = self._key(entity)
        parents = f"left join {self.table_name(entity.name)} p on c.{key} = p.{key} where p.{key} is null"
        return f"from {self.table_name(table)} c {parents}"

    def entities(self) -> dict[str, Entity]:
        """All entities that can have a table here, custom objects included."""
        objects = {table: custom_object(name, table) for table, name in custom_objects(self._pipeline).items()}
        return {**ENTITIES, **objects}

    def record_restored(self) -> None:
        """Sets `restored_at` in the table `deletions` for deleted records that a later load brought back."""
        if not self.table_exists(DELETIONS):
            return
        ledger, entities = self.table_name(DELETIONS), self.entities()
        open_ = self._client.execute_sql(f"select distinct entity from {ledger} where restored_at is null")
        for entity in (entities[name] for (name,) in open_ if name in entities and self.table_exists(name)):
            live = f"select {self._key(entity)} from {self.table_name(entity.name)}"
            live += f" where {self._live}" if entity.swept else ""
            sql = f"update {ledger} set restored_at = %s where entity = %s and restored_at is null"
            self._client.execute_sql(f"{sql} and record_id in ({live})", datetime.now(UTC), entity.name)

    @cached_property
    def _client(self) -> Any:
        client: Any = self._pipeline.sql_client()
        return self._open.enter_context(client)

    def _read_only(self) -> AbstractContextManager[None]:
        return read_only(self._client)

    def _columns(self, table: str) -> Mapping[str, Any]:
        return self._pipeline.default_schema.tables[table]["columns"]

    def _with_variants(self, columns: Iterable[str]) -> Iterator[str]:
        for name in columns:
            yield from (name, self.normalize(name + VARIANT))

    def _key(self, entity: Entity) -> str:
        return self.column(entity.key[0])

    @property
    def _live(self) -> str:
        return f"{self.column(DELETED_AT)} is null"
