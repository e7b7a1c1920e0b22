"""Queries of marts as statements for a destination, written by sqlglot: nothing is put together out of strings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import ErrorLevel, exp
from sqlglot.errors import UnsupportedError

from .marts import Planned, Unusable, tables_of

REGISTER = "_marts"
"""The view that tells of the others; a table would need rights that views do not."""
TRIED = ("bigquery", "clickhouse", "databricks", "duckdb", "postgres", "redshift", "snowflake")
"""The dialects that the marts of this repository are tested in."""
KEEPS_COLUMNS = ("postgres", "redshift")
"""Dialects in which a view is replaced only by one that has the same columns."""


@dataclass(frozen=True)
class ViewWriter:
    """Where views are made: the dialect, how it writes names, and the full paths of tables and of views."""

    dialect: str
    normalize: Callable[[str], str]
    table: Callable[[str], Sequence[str]]
    view: Callable[[str], Sequence[str]]

    def create(self, planned: Planned) -> str:
        """The statement that makes the view of a mart, or replaces it.

        Raises:
            Unusable: the dialect has no words for it.
        """
        assert planned.query is not None
        return self._create(planned.mart.name, planned.query)

    def ask(self, planned: Planned) -> str:
        """The query of a mart, without a view."""
        assert planned.query is not None
        return self._written(self._placed(planned.query))

    def drop(self, name: str) -> str:
        """The statement that drops a view."""
        statement: Any = sqlglot.parse_one("drop view if exists v")
        for view in list(statement.find_all(exp.Table)):
            view.replace(_path(self.view(name)))
        return self._written(statement)

    def count(self, name: str) -> str:
        """The query for the number of rows of a view."""
        return self._written(exp.select(exp.Count(this=exp.Star())).from_(_path(self.view(name))))

    def register(self, columns: Sequence[str], rows: Iterable[Sequence[str | bool]]) -> str:
        """The statement that makes the view of all views, or replaces it; there must be a row."""
        first, *rest = [
            exp.select(*(exp.convert(value).as_(name) for name, value in zip(columns, row, strict=True)))
            for row in rows
        ]
        return self._create(REGISTER, exp.union(first, *rest, distinct=False) if rest else first)

    def registered(self, *columns: str) -> str:
        """The query for columns of the view of all views."""
        query = exp.select(*columns).from_(_path(self.view(REGISTER)))
        return self._written(self._named(query))

    def _create(self, name: str, query: exp.Query) -> str:
        view, query = _path(self.view(name)), self._placed(query)
        return self._written(exp.Create(this=view, kind="VIEW", replace=True, expression=query))

    def _placed(self, query: exp.Query) -> exp.Query:
        """The query over the destination's tables, in its dialect."""
        query = _meant(self._named(query.copy()), self.dialect)
        for table in tables_of(query):
            path = _path(self.table(table.name))
            path.set("alias", table.args.get("alias") or exp.TableAlias(this=_quoted(self.normalize(table.name))))
            table.replace(path)
        return query

    def _named(self, query: exp.Query) -> exp.Query:
        """Every name as the destination keeps it, and quoted: some are words of SQL."""
        for name in query.find_all(exp.Identifier):
            name.replace(_quoted(self.normalize(name.this)))
        return query

    def _written(self, statement: exp.Expression | exp.Query) -> str:
        try:
            return statement.sql(self.dialect, pretty=True, comments=False, unsupported_level=ErrorLevel.RAISE)
        except UnsupportedError as error:
            raise Unusable(f"it cannot be said in the SQL of {self.dialect}: {error}") from None


def _quoted(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)


def _path(parts: Sequence[str]) -> exp.Table:
    """The table or view at catalog, schema and name, or at the last of these."""
    return exp.Table(**dict(zip(("this", "db", "catalog"), map(_quoted, reversed(parts)), strict=False)))


def _meant(query: exp.Query, dialect: str) -> exp.Query:
    """What sqlglot would write so that it runs and means something else, or does not run."""
    for zoned in query.find_all(exp.AtTimeZone):
        if dialect == "databricks":  # A time stamp has the session's zone there, whatever is cast to a date.
            zoned.replace(exp.func("TO_UTC_TIMESTAMP", zoned.this, exp.func("CURRENT_TIMEZONE")))
        elif dialect == "clickhouse":
            zoned.replace(exp.func("toTimeZone", zoned.this, zoned.args["zone"]))
    if dialect == "bigquery":  # Its weeks begin on Sunday.
        for truncated in query.find_all(exp.DateTrunc, exp.TimestampTrunc):
            if truncated.text("unit").upper() == "WEEK":
                truncated.set("unit", exp.Var(this="WEEK(MONDAY)"))
    return query
