"""Marts and staging models as dbt's SQL: `ref()` and `source()` in place of tables. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from ..dialect import ViewWriter
from ..marts import CURRENT, Mart, MartPlan, is_live, record_columns, tables_of
from .sources import SourceTable


@dataclass(frozen=True)
class Names:
    """The names of a package's models, which no other package of a dbt project should have.

    Attributes:
        package: of the package and its source.
        shorten: a name -> one that the database accepts.
    """

    package: str
    shorten: Callable[[str], str]

    def staging(self, table: str) -> str:
        return self.shorten(f"stg_{self.package}__{table}")

    def mart(self, name: str) -> str:
        return self.shorten(f"{self.package}__{name}")


@dataclass(frozen=True)
class ModelWriter:
    """Writes the SQL of models.

    Attributes:
        writer: of the destination's dialect.
        names: of the models.
        sources: the tables of the destination, by name.
        plans: the marts over these tables, by name.
    """

    writer: ViewWriter
    names: Names
    sources: Mapping[str, SourceTable]
    plans: Mapping[str, MartPlan]

    def staging(self, table: SourceTable) -> str:
        """The live rows of a table: those that are not deleted, and whose records are not."""
        query = exp.select(*map(exp.column, record_columns(table.columns))).from_(self.source(table.name, table.name))
        parent = self.sources.get(table.parent or "")
        if table.marks_deletions:
            query = query.where(is_live())
        elif parent is not None and parent.marks_deletions:
            same = (exp.column(key, parent.name).eq(exp.column(key, table.name)) for key in parent.key)
            records = exp.select(exp.Literal.number(1)).from_(self.source(parent.name, parent.name))
            query = query.where(exp.Exists(this=records.where(*same, is_live(parent.name))))
        return self.writer.select(query)

    def mart(self, planned: MartPlan) -> str:
        """A mart over the staging models, the other marts, and the sources.

        Raises:
            Unusable: the dialect cannot express the query.
        """
        assert planned.query is not None
        assert planned.shallow is not None
        self.writer.select(planned.query)  # with the marts that it reads, which have no models if this fails
        query = planned.shallow.copy()
        if not all(self._is_usable(table.name, planned.mart) for table in tables_of(query)):
            query = planned.query.copy()
        for table in tables_of(query):
            table.replace(self._call_for(table, planned.mart, query))
        for literal in query.find_all(exp.Literal):
            if literal.is_string:
                literal.replace(exp.Literal.string(escape_jinja(literal.this)))
        return self.writer.select(query)

    def _is_usable(self, name: str, reader: Mart) -> bool:
        """False for a mart all of whose tables are missing, which are optional: it has no model."""
        return not self._is_mart(name, reader) or self.plans[name].query is not None

    def _is_mart(self, name: str, reader: Mart) -> bool:
        return name in self.plans and name != reader.name and not self.plans[name].mart.generated

    def _call_for(self, table: exp.Table, reader: Mart, query: exp.Query) -> exp.Table:
        """What stands for a table in a package: a model, or the source itself."""
        name, alias = table.name, table.alias_or_name
        if self._is_mart(name, reader):
            return _call("ref", self.names.mart(name), alias=alias)
        if name not in self.sources:
            return _call("ref", self.names.staging(name.removeprefix(CURRENT)), alias=alias)
        if self._is_staged_as_it_is(name, query):
            return _call("ref", self.names.staging(name), alias=alias)
        return self.source(name, alias)

    def _is_staged_as_it_is(self, table: str, query: exp.Query) -> bool:
        """Whether the staging model of a table has all of its rows, and the columns that a query reads."""
        source = self.sources[table]
        hidden = {column for column in source.columns if column not in record_columns(source.columns)}
        reads_hidden = any(column.name in hidden for column in query.find_all(exp.Column))
        return source.staged and source.parent is None and not source.marks_deletions and not reads_hidden

    def source(self, table: str, alias: str) -> exp.Table:
        """A table of the destination, as a model reads it."""
        return _call("source", self.names.package, table, alias=alias)


def escape_jinja(text: str) -> str:
    """A text that dbt's Jinja renders as it is."""
    return re.sub(r"\{(?=[{%#])", '{{ "{" }}', text)


def _call(function: str, *arguments: str, alias: str) -> exp.Table:
    """A call of dbt's in place of a table."""
    call = f"{{{{ {function}({', '.join(map(repr, arguments))}) }}}}"
    return exp.Table(this=exp.Var(this=call), alias=exp.TableAlias(this=exp.to_identifier(alias)))
