"""Queries that users write: one SELECT each, in a transaction that can write nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

READ_ONLY = ("duckdb", "postgres")
"""Dialects with read-only transactions."""
WRITES = (exp.DDL, exp.DML, exp.Into, exp.Command)
"""What a SELECT can contain that writes, such as a DELETE in its WITH clause. A SELECT itself is none of them."""


class NotASelect(ValueError):
    """The text is not one SELECT; the message says what it is."""


def require_select(sql: str, dialect: str | None) -> None:
    """Checks that a text is one SELECT and nothing else.

    Raises:
        NotASelect
    """
    try:
        statements = [
            each for each in sqlglot.parse(sql, dialect=dialect) if each and not isinstance(each, exp.Semicolon)
        ]
    except SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        where = "line {line}, column {col}: {description}".format(**details[0]) if details[0] else str(error)
        raise NotASelect(f"it is not one SELECT ({where})") from None
    if len(statements) != 1:
        raise NotASelect(f"it has {len(statements)} statements; write one SELECT")
    (statement,) = statements
    if not isinstance(statement, exp.Query):
        raise NotASelect(f"it is a {statement.key.upper()}; write one SELECT")
    if write := statement.find(*WRITES):
        raise NotASelect(f"it contains a {write.key.upper()}; write one SELECT, which changes nothing")


@contextmanager
def read_only(client: Any) -> Iterator[None]:
    """A transaction of a dlt SQL client in which the database refuses every write, if it has such transactions."""
    if client.capabilities.sqlglot_dialect not in READ_ONLY:
        yield
        return
    client.execute_sql("begin transaction read only")
    try:
        yield
    finally:
        with suppress(Exception):  # an error in the transaction may have ended it
            client.execute_sql("rollback")
