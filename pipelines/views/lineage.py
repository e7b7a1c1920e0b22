"""Where the columns of a mart come from. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlglot import exp
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from .marts import DIALECT, Tables

Origin = tuple[str, str]
"""A table and its column."""


def origins(query: exp.Query, tables: Tables) -> dict[str, Origin | None]:
    """The columns of a query over some tables, each with the column that it passes on unchanged, if it does."""
    root = build_scope(qualify(query.copy(), schema=dict(tables), dialect=DIALECT))
    found = dict[int, dict[str, Origin | None]]()
    for scope in [] if root is None else root.traverse():  # the scopes that another one reads come before it
        found[id(scope)] = dict(_origins(scope, found))
    return found.get(id(root), {})


def _origins(scope: Any, found: Mapping[int, Mapping[str, Origin | None]]) -> Iterator[tuple[str, Origin | None]]:
    """A union has the names of its first query, and passes a column on if all of its queries pass on the same."""
    if scope.set_operation_scopes:
        first, *others = [list(found[id(each)].items()) for each in scope.set_operation_scopes]
        for at, (name, origin) in enumerate(first):
            yield name, origin if all(each[at][1] == origin for each in others) else None
        return
    for selected in scope.expression.selects:
        column, origin = selected.unalias(), None
        if isinstance(column, exp.Column):
            source = scope.sources.get(column.table)
            if isinstance(source, Scope):
                origin = found[id(source)].get(column.name)
            elif source is not None:
                origin = (source.name, column.name)
        yield selected.alias_or_name, origin
