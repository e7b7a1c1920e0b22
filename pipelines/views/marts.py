"""Marts: questions as SQL files in one dialect -> queries over the tables of a destination. Pure logic.

A mart reads tables of the sync, other marts, and `current_<table>`, a table without its deleted records. Its query
contains the queries of the marts that it reads, so that no view depends on another: Postgres does not replace a view
that others read. `c.*` of `current_contacts as c` becomes the columns of the table, custom fields included.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope, traverse_scope

from sources.insightly.entities import ENTITIES
from sources.insightly.rows.naming import DELETED_AT, HISTORY_TABLES, IS_EMPTY

DIALECT = "duckdb"
"""The dialect of the files."""
CURRENT = "current_"

Tables = Mapping[str, Mapping[str, str]]
"""Table -> column -> type, in the dialect of the files."""


class Unusable(Exception):
    """Why a mart cannot be queried at this destination."""


class InvalidMart(Unusable):
    """Why a mart cannot be queried at any destination."""


@dataclass(frozen=True)
class Mart:
    """One view.

    `answers` is the question it answers. The `optional` tables may be missing, or lack columns that they usually have;
    they are then empty, or the columns null. `own` marts are from the user's folder; `generated` ones have no file. An
    invalid file has an `error` in place of a query.
    """

    name: str
    answers: str
    query: exp.Query | None = None
    optional: frozenset[str] = frozenset()
    own: bool = False
    generated: bool = False
    error: str = ""

    @classmethod
    def parse(cls, name: str, text: str, own: bool = False) -> "Mart":
        """Parses a file: comment lines with the question, then one SELECT."""
        head = re.match(r"(\s*--[^\n]*\n?)*", text)
        lines = [line.strip().removeprefix("--").strip() for line in head[0].splitlines()] if head else []
        optional = [line.partition(":")[2] for line in lines if line.startswith("Optional:")]
        answers = " ".join(line for line in lines if line and not line.startswith("Optional:"))
        try:
            query, message = _parse_query(name, text), ""
        except InvalidMart as error:
            query, message = None, str(error)
        return cls(name, answers, query, frozenset(re.findall(r"\w+", " ".join(optional))), own, error=message)


@dataclass(frozen=True)
class MartPlan:
    """A mart as a `query` over existing tables, or the `reason` why there is none.

    `shallow` is the same query, which reads other marts and `current_<table>` by their names. `needs` are the tables
    that it reads, `without` the ones of them that are missing and taken as empty. `invalid` says that the mart itself
    is wrong.
    """

    mart: Mart
    query: exp.Query | None = None
    shallow: exp.Query | None = None
    reason: str | None = None
    invalid: bool = False
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def load(folder: Path, own: bool = False) -> list[Mart]:
    """Parses the .sql files of a folder, sorted by name."""
    return [Mart.parse(path.stem, path.read_text(encoding="utf-8"), own) for path in sorted(folder.glob("*.sql"))]


def current(tables: Tables) -> list[Mart]:
    """Generates a mart for each table with deletion marks: its live records, without the columns of dlt."""
    return [
        Mart(
            CURRENT + table,
            f"Which {table.replace('_', ' ')} exist, without deleted ones? One row per record.",
            exp.select(*map(exp.column, record_columns(columns))).from_(exp.to_table(table)).where(is_live()),
            generated=True,
        )
        for table, columns in tables.items()
        if DELETED_AT in columns
    ]


def plan(marts: Iterable[Mart], tables: Tables, known: Tables, names: Container[str] | None = None) -> list[MartPlan]:
    """Plans marts over the tables of a destination.

    Args:
        marts: of files; one with the name of a generated mart replaces it.
        tables: the tables of the destination.
        known: the tables that it can have, which stand in for optional tables that are missing.
        names: the marts to plan; None for all.

    Returns:
        The plans of the generated marts, then those of `marts`.
    """
    by_name = {mart.name: mart for mart in (*current(tables), *marts)}
    planner = _Planner(by_name, tables, known)
    return [planner.plan(mart) for name, mart in by_name.items() if names is None or name in names]


def tables_of(query: exp.Query) -> Iterator[exp.Table]:
    """The tables that a query reads, without its own CTEs and without those that name their schema."""
    found = (source for scope in traverse_scope(query) for source in scope.sources.values())
    tables = (source for source in found if isinstance(source, exp.Table) and not source.db)
    yield from {id(table): table for table in tables if isinstance(table.this, exp.Identifier)}.values()


@lru_cache
def _parse_query(name: str, text: str) -> exp.Query:
    """The query of a file, which is copied where it is changed: to parse all marts takes longer than to run them."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise InvalidMart("rename the file: use small letters, digits and underscores, such as sales_by_region.sql")
    try:
        statements = [statement for statement in sqlglot.parse(text, read=DIALECT) if statement is not None]
    except SqlglotError as error:
        raise InvalidMart(f"it is not {DIALECT} SQL: {_first_line(error)}") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise InvalidMart("it is not one SELECT")
    return statements[0]


@dataclass(frozen=True)
class _Expanded:
    """The query of a mart over tables alone, the names of its columns, and the tables that are not optional in it.

    `shallow` is the query that reads other marts and `current_<table>` by their names.
    """

    query: exp.Query
    shallow: exp.Query
    columns: tuple[str, ...]
    required: frozenset[str]


@dataclass(frozen=True)
class _Source:
    """What stands for a table that a mart reads: a `query`, or the table itself if that is None.

    `stand_in` does so in the shallow query. `columns` are None if they are not known; `required` are the tables behind
    it that are not optional.
    """

    query: exp.Query | None
    stand_in: exp.Query | None
    columns: Mapping[str, str] | None
    required: frozenset[str]


@dataclass
class _Planner:
    marts: Mapping[str, Mart]
    tables: Tables
    known: Tables
    expanded: dict[str, _Expanded] = field(default_factory=dict)

    def plan(self, mart: Mart) -> MartPlan:
        needs: list[str] = []
        try:
            expanded = self._expand(mart)
            query = expanded.query.copy()
            read = list(tables_of(query))
            needs = sorted({table.name for table in read})
            missing = [name for name in needs if name not in self.tables]
            lacking = [name for name in missing if name in expanded.required or name not in self.known]
            rows_from = set() if mart.generated else set(_row_tables(build_scope(query)))
            if not lacking and rows_from and rows_from.issubset(missing):
                lacking = sorted(rows_from)
            if lacking:
                raise Unusable(f"needs {', '.join(map(_missing_table, lacking))}")
            for table in read:
                if table.name in missing:
                    _replace(table, _empty(self.known[table.name]))
        except Unusable as reason:
            return MartPlan(mart, None, None, str(reason), isinstance(reason, InvalidMart), tuple(needs))
        return MartPlan(mart, query, expanded.shallow, needs=tuple(needs), without=tuple(missing))

    def _expand(self, mart: Mart, readers: tuple[str, ...] = ()) -> _Expanded:
        """Replaces the marts that a mart reads with their queries; `readers` lead to it, and it cannot read them."""
        if mart.query is None:
            raise Unusable(f"reads {mart.name}: {mart.error}") if readers else InvalidMart(mart.error)
        if mart.name in self.expanded:
            return self.expanded[mart.name]
        query, readers = mart.query.copy(), (*readers, mart.name)
        tables = () if mart.generated else tuple(tables_of(query))
        sources = [self._source(table, mart, readers) for table in tables]
        names = tuple(query.named_selects)
        named = {table.name: source.columns for table, source in zip(tables, sources, strict=True)}
        columns = {name: found for name, found in named.items() if found is not None}
        if tables and len(columns) == len(named):
            names = _check_columns(query, columns)
        shallow = query.copy()
        for table, source in zip(tuple(tables_of(shallow)) if tables else (), sources, strict=True):
            if source.stand_in is not None:
                _replace(table, source.stand_in)
        for table, source in zip(tables, sources, strict=True):
            if source.query is not None:
                _replace(table, source.query.copy())
        required = frozenset[str]().union(*(source.required for source in sources))
        self.expanded[mart.name] = _Expanded(query, shallow, names, required)
        return self.expanded[mart.name]

    def _source(self, table: exp.Table, mart: Mart, readers: tuple[str, ...]) -> _Source:
        """What stands for a table that a mart reads. `alias.*` of live records becomes their columns in the mart."""
        name, live = table.name, table.name.removeprefix(CURRENT)
        # A mart may have the name of the table that it reads.
        if name in self.marts and name != mart.name and not self.marts[name].generated:
            if name in readers:
                raise InvalidMart(f"reads itself: {' -> '.join((*readers, name))}")
            inner = self._expand(self.marts[name], readers)
            return _Source(inner.query, None, dict.fromkeys(inner.columns, "VARCHAR"), inner.required)
        reads_live = name != live and self._columns(name) is None and self._columns(live) is not None
        source = live if reads_live else name
        existing, is_optional = self._columns(source), source in mart.optional
        known = self.known[source].items() if is_optional else ()
        dropped = {column: kind for column, kind in known if column not in (existing or ())}
        if reads_live and existing is not None:
            _name_columns(table, record_columns(existing))
        query = stand_in = None
        if reads_live or dropped:
            query = exp.select("*", *_nulls(dropped)).from_(exp.to_table(source))
            query = query.where(is_live()) if reads_live else query
        if source not in self.tables and source in self.known:
            stand_in = _empty(self.known[source])
        elif dropped:
            stand_in = exp.select("*", *_nulls(dropped)).from_(exp.to_table(name))
        columns = None if existing is None else {**existing, **dropped}
        return _Source(query, stand_in, columns, frozenset() if is_optional else frozenset([source]))

    def _columns(self, table: str) -> Mapping[str, str] | None:
        """The columns that a table has, or would have."""
        return self.tables.get(table, self.known.get(table))


def _row_tables(scope: Any) -> Iterator[str]:
    """The tables that give a query its rows: those of FROM, not those that are joined."""
    if scope.set_operation_scopes:
        for each in scope.set_operation_scopes:
            yield from _row_tables(each)
    elif first := scope.expression.args.get("from_"):
        source = scope.sources.get(first.this.alias_or_name)
        if isinstance(source, exp.Table):
            yield source.name
        elif source is not None:
            yield from _row_tables(source)


def record_columns(columns: Iterable[str]) -> list[str]:
    """The columns without those of this tool and of dlt."""
    return [name for name in columns if name not in (DELETED_AT, IS_EMPTY) and not name.startswith("_dlt_")]


def _name_columns(table: exp.Table, columns: Iterable[str]) -> None:
    """Replaces `alias.*` with the columns of the table that its SELECT does not have by itself."""
    select = table.find_ancestor(exp.Select)
    if select is None:
        return
    alias, own = table.alias_or_name, {*select.named_selects}
    for star in [each for each in select.selects if isinstance(each, exp.Column) and each.is_star]:
        if star.table == alias:
            star.replace([exp.column(name, alias) for name in columns if name not in own])


def is_live(table: str | None = None) -> exp.Expr:
    """The condition that a record is not deleted."""
    return exp.column(DELETED_AT, table).is_(exp.null())


def _replace(table: exp.Table, query: exp.Query) -> None:
    table.replace(query.subquery(table.alias_or_name, copy=False))


def _empty(columns: Mapping[str, str]) -> exp.Query:
    """No row, with the columns of a table. A limit, because BigQuery has no WHERE without a FROM."""
    return exp.select(*_nulls(columns)).limit(0)


def _nulls(columns: Mapping[str, str]) -> list[exp.Expr]:
    return [exp.cast(exp.null(), kind, dialect=DIALECT).as_(name) for name, kind in columns.items()]


def _check_columns(query: exp.Query, tables: Tables) -> tuple[str, ...]:
    """The columns of a query. Raises Unusable if the tables do not have what it reads."""
    try:
        return tuple(qualify(query.copy(), schema=dict(tables), dialect=DIALECT).named_selects)
    except OptimizeError as error:
        # Without the place in the query, so that marts that lack the same column say the same.
        reason = _first_line(error).partition(". Line:")[0]
        raise Unusable(f"this account's tables do not have what it reads: {reason}") from None


def _missing_table(table: str) -> str:
    if table not in ENTITIES and table in HISTORY_TABLES:
        return f'{table} (kept with sources.insightly.history = ["{HISTORY_TABLES[table].name}"])'
    return f"{table} (never loaded)"


def _first_line(error: Exception) -> str:
    return re.sub(r"\x1b\[\d+m", "", str(error)).split("\n")[0].strip()
