"""Marts: questions kept as SQL files in one dialect, and what of them can be asked of the tables there are.

A mart reads tables of the sync, other marts, and `current_<table>`: a table without its deleted records. The queries of
the marts it reads are written into its own, so that each view stands alone: Postgres replaces none that others read.
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
"""What marts are written in."""
CURRENT, DELETED_AT = "current_", "_deleted_at"
HISTORY = "_history"

Tables = Mapping[str, Mapping[str, str]]
"""Table -> column -> type, in the dialect of the marts."""


class Unusable(Exception):
    """Why a mart cannot be made here."""


class Faulty(Unusable):
    """Why a mart cannot be made anywhere."""


@dataclass(frozen=True)
class Mart:
    """One view: what it `answers`, its query, and the `optional` tables, which are empty where they are missing.

    A file that is no mart has a `fault` in place of a query. `own` are those of a folder of the user's, and those that
    are `generated` have no file.
    """

    name: str
    answers: str
    query: exp.Query | None = None
    optional: frozenset[str] = frozenset()
    own: bool = False
    generated: bool = False
    fault: str = ""

    @classmethod
    def parse(cls, name: str, text: str, own: bool = False) -> "Mart":
        """The mart of a file: comment lines that say what it answers, then one SELECT."""
        head = re.match(r"(\s*--[^\n]*\n?)*", text)
        lines = [line.strip().removeprefix("--").strip() for line in head[0].splitlines()] if head else []
        optional = [line.partition(":")[2] for line in lines if line.startswith("Optional:")]
        answers = " ".join(line for line in lines if line and not line.startswith("Optional:"))
        try:
            query, fault = _query(name, text), ""
        except Faulty as raised:
            query, fault = None, str(raised)
        return cls(name, answers, query, frozenset(re.findall(r"\w+", " ".join(optional))), own, fault=fault)


@dataclass(frozen=True)
class Planned:
    """What comes of a mart: a `query` over tables that are there, or the `reason` why there is none.

    `faulty` is one that could be made nowhere. `needs` are the tables that it reads, `without` those of them that are
    missing and taken for empty.
    """

    mart: Mart
    query: exp.Query | None = None
    reason: str | None = None
    faulty: bool = False
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def load(folder: Path, own: bool = False) -> list[Mart]:
    """The marts of a folder, by name."""
    return [Mart.parse(path.stem, path.read_text(encoding="utf-8"), own) for path in sorted(folder.glob("*.sql"))]


def current(tables: Tables) -> list[Mart]:
    """For each table whose deleted records are marked, a mart without them and without the columns of dlt."""
    return [
        Mart(
            CURRENT + table,
            f"Which {table.replace('_', ' ')} exist, without deleted ones? One row per record.",
            _live(table, *(name for name in columns if name != DELETED_AT and not name.startswith("_dlt_"))),
            generated=True,
        )
        for table, columns in tables.items()
        if DELETED_AT in columns
    ]


def plan(marts: Iterable[Mart], tables: Tables, known: Tables) -> list[Planned]:
    """What can be made of marts.

    Args:
        marts: those of the files; one named like a generated one takes its place.
        tables: what the destination holds.
        known: what it might hold, to stand in for optional tables that are missing.

    Returns:
        One for each table that has deleted records to leave out, then one for each of `marts`.
    """
    shown = {mart.name: mart for mart in (*current(tables), *marts)}
    return [_plan(mart, shown, tables, known) for mart in shown.values()]


def tables_of(query: exp.Query) -> Iterator[exp.Table]:
    """The tables that a query reads, without its own CTEs and without those that name their schema."""
    found = (source for scope in traverse_scope(query) for source in scope.sources.values())
    tables = (source for source in found if isinstance(source, exp.Table) and not source.db)
    yield from {id(table): table for table in tables if isinstance(table.this, exp.Identifier)}.values()


def _query(name: str, text: str) -> exp.Query:
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise Faulty("its file is not named in small letters, digits and underscores, as sales_by_region.sql")
    try:
        statements = [statement for statement in sqlglot.parse(text, read=DIALECT) if statement is not None]
    except SqlglotError as error:
        raise Faulty(f"it is no {DIALECT} SQL: {_plain(error)}") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise Faulty("it is not one SELECT")
    return statements[0]


def _plan(mart: Mart, among: Mapping[str, Mart], tables: Tables, known: Tables) -> Planned:
    needs: list[str] = []
    try:
        query, optional = _expanded(mart, among, {*tables, *known})
        read = list(tables_of(query))
        needs = sorted({table.name for table in read})
        missing = [name for name in needs if name not in tables]
        lacking = [name for name in missing if name not in optional or name not in known]
        if lacking or (missing and missing == needs):
            raise Unusable(f"needs {', '.join(map(_told, lacking or missing))}")
        for table in read:
            if table.name in missing:
                _put(table, _nothing(known[table.name]))
        _assert_columns(query, {name: tables[name] for name in needs if name not in missing})
    except Unusable as reason:
        return Planned(mart, None, str(reason), isinstance(reason, Faulty), tuple(needs))
    return Planned(mart, query, needs=tuple(needs), without=tuple(missing))


def _expanded(
    mart: Mart, among: Mapping[str, Mart], held: Container[str], within: tuple[str, ...] = ()
) -> tuple[exp.Query, set[str]]:
    """The query with those of other marts written into it, and the tables that may be missing in any of them."""
    if mart.query is None:
        raise Unusable(f"reads {mart.name}: {mart.fault}") if within else Faulty(mart.fault)
    query, optional, within = mart.query.copy(), set(mart.optional), (*within, mart.name)
    for table in () if mart.generated else tables_of(query):
        name, live = table.name, table.name.removeprefix(CURRENT)
        # A mart may be called like the table that it reads.
        if name in among and name != mart.name and not among[name].generated:
            if name in within:
                raise Faulty(f"reads itself: {' -> '.join((*within, name))}")
            inner, more = _expanded(among[name], among, held, within)
            _put(table, inner)
            optional |= more
        elif name != live and name not in held and live in held:
            _put(table, _live(live, "*"))
    return query, optional


def _live(table: str, *columns: str) -> exp.Query:
    shown = [exp.Star() if name == "*" else exp.column(name) for name in columns]
    return exp.select(*shown).from_(exp.to_table(table)).where(exp.column(DELETED_AT).is_(exp.null()))


def _put(table: exp.Table, query: exp.Query) -> None:
    alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name))
    table.replace(exp.Subquery(this=query, alias=alias))


def _nothing(columns: Mapping[str, str]) -> exp.Query:
    """No row, with the columns of a table. BigQuery takes no WHERE without a FROM."""
    typed = [exp.cast(exp.null(), kind, dialect=DIALECT).as_(name) for name, kind in columns.items()]
    return exp.select(*typed).limit(0)


def _assert_columns(query: exp.Query, tables: Tables) -> None:
    try:
        qualify(query.copy(), schema=dict(tables), dialect=DIALECT)
    except OptimizeError as error:
        raise Unusable(f"this account's tables do not have what it reads: {_plain(error)}") from None


def _told(table: str) -> str:
    entity = table.removesuffix(HISTORY)
    if table not in ENTITIES and table.endswith(HISTORY) and entity in ENTITIES:
        return f'{table} (kept with sources.insightly.history = ["{entity}"])'
    return f"{table} (never loaded)"


def _plain(error: Exception) -> str:
    return re.sub(r"\x1b\[\d+m", "", str(error)).split("\n")[0].strip()
