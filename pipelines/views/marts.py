"""Marts: questions as SQL files in one dialect -> queries over the tables of a destination. Pure logic.

A mart reads tables of the sync, other marts, and `current_<table>`, a table without its deleted records. Its query
contains the queries of the marts that it reads, so that no view depends on another: Postgres does not replace a view
that others read. `c.*` of `current_contacts as c` becomes the columns of the table, custom fields included.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from sources.insightly.entities import ENTITIES

DIALECT = "duckdb"
"""The dialect of the files."""
CURRENT, DELETED_AT = "current_", "_deleted_at"
HISTORY = "_history"

Tables = Mapping[str, Mapping[str, str]]
"""Table -> column -> type, in the dialect of the files."""


class Unusable(Exception):
    """Why a mart cannot be queried at this destination."""


class InvalidMart(Unusable):
    """Why a mart cannot be queried at any destination."""


@dataclass(frozen=True)
class Mart:
    """One view.

    `answers` is the question it answers. The `optional` tables may be missing; they are then empty. `own` marts are
    from the user's folder; `generated` ones have no file. An invalid file has an `error` in place of a query.
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

    `needs` are the tables that it reads, `without` the ones of them that are missing and taken as empty. `invalid`
    says that the mart itself is wrong.
    """

    mart: Mart
    query: exp.Query | None = None
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
            _live_rows(table, *_of_records(columns)),
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
    return [_plan(mart, by_name, tables, known) for name, mart in by_name.items() if names is None or name in names]


def tables_of(query: exp.Query) -> Iterator[exp.Table]:
    """The tables that a query reads, without its own CTEs and without those that name their schema."""
    found = (source for scope in traverse_scope(query) for source in scope.sources.values())
    tables = (source for source in found if isinstance(source, exp.Table) and not source.db)
    yield from {id(table): table for table in tables if isinstance(table.this, exp.Identifier)}.values()


def _parse_query(name: str, text: str) -> exp.Query:
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise InvalidMart("rename the file: use small letters, digits and underscores, such as sales_by_region.sql")
    try:
        statements = [statement for statement in sqlglot.parse(text, read=DIALECT) if statement is not None]
    except SqlglotError as error:
        raise InvalidMart(f"it is not {DIALECT} SQL: {_first_line(error)}") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise InvalidMart("it is not one SELECT")
    return statements[0]


def _plan(mart: Mart, marts: Mapping[str, Mart], tables: Tables, known: Tables) -> MartPlan:
    needs: list[str] = []
    try:
        query, required = _expand(mart, marts, {**known, **tables})
        read = list(tables_of(query))
        needs = sorted({table.name for table in read})
        missing = [name for name in needs if name not in tables]
        lacking = [name for name in missing if name in required or name not in known]
        if lacking or (missing and missing == needs):
            raise Unusable(f"needs {', '.join(map(_missing_table, lacking or missing))}")
        for table in read:
            if table.name in missing:
                _replace(table, _empty(known[table.name]))
        _assert_columns(query, {name: tables[name] for name in needs if name not in missing})
    except Unusable as reason:
        return MartPlan(mart, None, str(reason), isinstance(reason, InvalidMart), tuple(needs))
    return MartPlan(mart, query, needs=tuple(needs), without=tuple(missing))


def _expand(
    mart: Mart, marts: Mapping[str, Mart], tables: Tables, readers: tuple[str, ...] = ()
) -> tuple[exp.Query, set[str]]:
    """Replaces the marts that a mart reads with their queries.

    Args:
        mart: the mart.
        marts: all marts by name.
        tables: all tables.
        readers: the marts that lead to this one, which it cannot read in turn.

    Returns:
        The query, and the tables that one of the marts reads and that are not optional there.
    """
    if mart.query is None:
        raise Unusable(f"reads {mart.name}: {mart.error}") if readers else InvalidMart(mart.error)
    query, required, readers = mart.query.copy(), set[str](), (*readers, mart.name)
    for table in () if mart.generated else tables_of(query):
        name, live = table.name, table.name.removeprefix(CURRENT)
        # A mart may have the name of the table that it reads.
        if name in marts and name != mart.name and not marts[name].generated:
            if name in readers:
                raise InvalidMart(f"reads itself: {' -> '.join((*readers, name))}")
            inner, inner_required = _expand(marts[name], marts, tables, readers)
            _replace(table, inner)
            required |= inner_required
        elif name != live and name not in tables and live in tables:
            _name_columns(table, _of_records(tables[live]))
            _replace(table, _live_rows(live, "*"))
            required |= {live} - mart.optional
        else:
            required |= {name} - mart.optional
    return query, required


def _of_records(columns: Iterable[str]) -> list[str]:
    """The columns without those of this tool and of dlt."""
    return [name for name in columns if name != DELETED_AT and not name.startswith("_dlt_")]


def _name_columns(table: exp.Table, columns: Iterable[str]) -> None:
    """Replaces `alias.*` with the columns of the table that its SELECT does not have by itself."""
    select = table.find_ancestor(exp.Select)
    if select is None:
        return
    alias, own = table.alias_or_name, {*select.named_selects}
    for star in [each for each in select.selects if isinstance(each, exp.Column) and each.is_star]:
        if star.table == alias:
            star.replace([exp.column(name, alias) for name in columns if name not in own])


def _live_rows(table: str, *columns: str) -> exp.Query:
    selected = [exp.Star() if name == "*" else exp.column(name) for name in columns]
    return exp.select(*selected).from_(exp.to_table(table)).where(exp.column(DELETED_AT).is_(exp.null()))


def _replace(table: exp.Table, query: exp.Query) -> None:
    alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name))
    table.replace(exp.Subquery(this=query, alias=alias))


def _empty(columns: Mapping[str, str]) -> exp.Query:
    """No row, with the columns of a table. A limit, because BigQuery has no WHERE without a FROM."""
    typed = [exp.cast(exp.null(), kind, dialect=DIALECT).as_(name) for name, kind in columns.items()]
    return exp.select(*typed).limit(0)


def _assert_columns(query: exp.Query, tables: Tables) -> None:
    try:
        qualify(query.copy(), schema=dict(tables), dialect=DIALECT)
    except OptimizeError as error:
        raise Unusable(f"this account's tables do not have what it reads: {_first_line(error)}") from None


def _missing_table(table: str) -> str:
    entity = table.removesuffix(HISTORY)
    if table not in ENTITIES and table.endswith(HISTORY) and entity in ENTITIES:
        return f'{table} (kept with sources.insightly.history = ["{entity}"])'
    return f"{table} (never loaded)"


def _first_line(error: Exception) -> str:
    return re.sub(r"\x1b\[\d+m", "", str(error)).split("\n")[0].strip()
