"""What a valid history is, independent of the code that writes it."""

from collections.abc import Callable
from datetime import UTC, datetime

from sources.insightly import ENTITIES
from tests.support.expected import Row, normalize

FROM, TO = "_dlt_valid_from", "_dlt_valid_to"
Read = Callable[[str], list[Row]]
"""Runs a query in the destination."""
UNCOUNTED = {
    *("date_updated_utc", "last_activity_date_utc", "next_activity_date_utc"),
    *("page_view_count", "last_page_view_date_utc", "view_count"),
}


def versions(read: Read, entity: str, key: int | None = None) -> list[Row]:
    """The versions of the records of an entity, or of one record, by record and time."""
    column = normalize(ENTITIES[entity].key[0])
    where = "" if key is None else f"where {column} = {key}"
    return read(f'select * from insightly."{entity}_history" {where} order by {column}, {FROM}, {TO}')


def business(row: Row) -> Row:
    """The values of a row whose change makes a new version."""
    return {
        name: value
        for name, value in row.items()
        if value is not None and name not in UNCOUNTED and name not in (FROM, TO, "_deleted_at")
    }


def assert_a_history(read: Read, entity: str) -> None:
    """Asserts that no versions of a record overlap, and that each differs from the one before."""
    column = normalize(ENTITIES[entity].key[0])
    ended: dict[int, Row] = {}
    for row in versions(read, entity):
        assert row[FROM] <= (row[TO] or datetime.max.replace(tzinfo=UTC)), row
        before = ended.get(row[column])
        if before is not None:
            assert before[TO] is not None, ("a version after an open one", before, row)
            assert before[TO] <= row[FROM], ("versions overlap", before, row)
            assert before[TO] < row[FROM] or business(before) != business(row), ("nothing changed", before, row)
        ended[row[column]] = row


def assert_level(read: Read, entity: str) -> None:
    """Asserts that the history is valid and its open versions are the live records."""
    assert_a_history(read, entity)
    column = normalize(ENTITIES[entity].key[0])
    live = read(f'select * from insightly."{entity}" where _deleted_at is null')
    open_ = [row for row in versions(read, entity) if row[TO] is None]
    assert {row[column]: business(row) for row in open_} == {row[column]: business(row) for row in live}
