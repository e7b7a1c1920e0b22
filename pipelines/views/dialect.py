"""Queries as statements for a destination, written by sqlglot: no SQL is put together from strings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import ErrorLevel, exp
from sqlglot.errors import UnsupportedError

from .marts import DIALECT, Unusable, tables_of

TESTED = ("bigquery", "clickhouse", "databricks", "duckdb", "postgres", "redshift", "snowflake")
"""The dialects in which the bundled marts are tested."""
TRANSACTIONAL = ("duckdb", "postgres", "redshift")
"""Dialects in which views are created in transactions."""
COMMENT_ON_COLUMNS = ("duckdb", "postgres")
COMMENT = (*COMMENT_ON_COLUMNS, "snowflake")
"""The dialects with COMMENT ON for the columns of views, and for views."""
KEEPS_COLUMNS = ("postgres", "redshift")
"""Dialects that replace a view only with one of the same columns."""
SORTED_ARRAY = {"clickhouse": ("arraySort", "groupArray"), "databricks": ("SORT_ARRAY", "COLLECT_LIST")}
"""Dialects whose arrays are sorted after they are aggregated, with the functions for both."""


@dataclass(frozen=True)
class ViewWriter:
    """Writes statements over the tables of one dataset and the views of another.

    Args:
        dialect: sqlglot's name of it.
        normalize: a name -> the name as the destination stores it.
        table: the name of a table -> its full path.
        view: the name of a view -> its full path.
    """

    dialect: str
    normalize: Callable[[str], str]
    table: Callable[[str], Sequence[str]]
    view: Callable[[str], Sequence[str]]

    def create(self, name: str, query: exp.Query) -> str:
        """The statement that creates or replaces a view.

        Raises:
            Unusable: the dialect cannot express the query.
        """
        query = self._resolve_tables(query)
        return self._sql(exp.Create(this=_path(self.view(name)), kind="VIEW", replace=True, expression=query))

    def create_values(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[str | bool]]) -> str:
        """The statement that creates or replaces a view of constant rows; there must be one."""
        first, *rest = [
            exp.select(*(exp.convert(value).as_(column) for column, value in zip(columns, row, strict=True)))
            for row in rows
        ]
        return self.create(name, exp.union(first, *rest, distinct=False) if rest else first)

    def select(self, query: exp.Query) -> str:
        """The query itself, over the tables of the destination."""
        return self._sql(self._resolve_tables(query))

    def expression(self, expression: exp.Expr) -> str:
        """An expression over columns, such as a condition."""
        query: Any = self._quote_names(exp.select(expression))
        return self._sql(query.selects[0])

    def read(self, name: str, columns: Sequence[str]) -> str:
        """The query for columns of a view."""
        return self._sql(self._quote_names(exp.select(*columns).from_(_path(self.view(name)))))

    def count(self, name: str) -> str:
        """The query for the number of rows of a view."""
        return self._sql(exp.select(exp.Count(this=exp.Star())).from_(_path(self.view(name))))

    def drop(self, name: str) -> str:
        """The statement that drops a view."""
        statement: Any = sqlglot.parse_one("drop view if exists v")
        for view in list(statement.find_all(exp.Table)):
            view.replace(_path(self.view(name)))
        return self._sql(statement)

    def comments(self, name: str, texts: Mapping[str, str]) -> list[str]:
        """The statements that say what a view is, by the text under "", and what its columns are."""
        view, text = self.view(name), exp.Literal.string(texts.get("", ""))
        statements = list[exp.Expression]()
        if self.dialect == "bigquery" and texts.get(""):
            return [f"alter view {self._sql(_path(view))} set options (description = {self._sql(text)})"]
        if self.dialect in COMMENT and texts.get(""):
            statements.append(exp.Comment(this=_path(view), kind="VIEW", expression=text))
        for column, text_ in texts.items() if self.dialect in COMMENT_ON_COLUMNS else ():
            if column and text_:
                path = exp.column(self.normalize(column), *reversed(view), quoted=True)
                statements.append(exp.Comment(this=path, kind="COLUMN", expression=exp.Literal.string(text_)))
        return list(map(self._sql, statements))

    def _resolve_tables(self, query: exp.Query) -> exp.Query:
        """The query with the full paths of its tables, in the dialect."""
        query = _adapt(self._quote_names(query.copy()), self.dialect)
        for table in tables_of(query):
            path = _path(self.table(table.name))
            path.set("alias", table.args.get("alias") or exp.TableAlias(this=_quoted(self.normalize(table.name))))
            table.replace(path)
        return query

    def _quote_names(self, query: exp.Query) -> exp.Query:
        """Normalizes and quotes every name: some are keywords of SQL."""
        for name in query.find_all(exp.Identifier):
            name.replace(_quoted(self.normalize(name.this)))
        return query

    def _sql(self, statement: exp.Expression | exp.Query) -> str:
        try:
            return statement.sql(self.dialect, pretty=True, comments=False, unsupported_level=ErrorLevel.RAISE)
        except UnsupportedError as error:
            raise Unusable(f"it cannot be written in the SQL of {self.dialect}: {error}") from None


def writer_of(client: Any, dataset: str) -> ViewWriter:
    """The writer for dlt's SQL client: over the tables of its dataset, and the views of `dataset`."""
    capabilities, path = client.capabilities, client.make_qualified_table_name_path
    return ViewWriter(
        capabilities.sqlglot_dialect,
        capabilities.casefold_identifier,
        lambda name: path(name, quote=False),
        lambda name: path(name, quote=False, dataset_name=dataset),
    )


def _quoted(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)


def _path(parts: Sequence[str]) -> exp.Table:
    """The table or view at (catalog, schema, name), or the last of these."""
    return exp.Table(**dict(zip(("this", "db", "catalog"), map(_quoted, reversed(parts)), strict=False)))


def _adapt(query: exp.Query, dialect: str) -> exp.Query:
    """Changes what sqlglot would write with another meaning in this dialect, or so that it does not run."""
    for zoned in query.find_all(exp.AtTimeZone):
        if dialect == "databricks":  # It casts a timestamp to a date in the time zone of the session.
            zoned.replace(exp.func("TO_UTC_TIMESTAMP", zoned.this, exp.func("CURRENT_TIMEZONE")))
        elif dialect == "clickhouse":
            zoned.replace(exp.func("toTimeZone", zoned.this, zoned.args["zone"]))
    for array in list(query.find_all(exp.ArrayAgg)):
        _adapt_array(array, dialect)
    if dialect == "bigquery":  # Its weeks begin on Sunday.
        for truncated in query.find_all(exp.DateTrunc, exp.TimestampTrunc):
            if truncated.text("unit").upper() == "WEEK":
                truncated.set("unit", exp.Var(this="WEEK(MONDAY)"))
    return query


def _adapt_array(array: exp.ArrayAgg, dialect: str) -> None:
    """Writes an ordered array as the dialect orders one: as text on Redshift, which has no arrays."""
    order = array.this
    if not isinstance(order, exp.Order):
        return
    if dialect == "bigquery":  # Its arrays have no nulls.
        for ordered in order.expressions:
            ordered.set("nulls_first", not ordered.args.get("desc"))
    elif dialect in SORTED_ARRAY:
        value, (sort, aggregate) = order.this, SORTED_ARRAY[dialect]
        if [(each.this, bool(each.args.get("desc"))) for each in order.expressions] != [(value, False)]:
            raise Unusable(f"{dialect} sorts an array by its values alone; write: order by {value.sql(DIALECT)}")
        array.replace(exp.func(sort, exp.func(aggregate, value)))
    elif dialect == "redshift":
        text = exp.Anonymous(this="LISTAGG", expressions=[order.this, exp.Literal.string(", ")])
        array.replace(exp.WithinGroup(this=text, expression=exp.Order(expressions=order.expressions)))
