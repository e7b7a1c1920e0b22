"""The views of one dataset: created, replaced and dropped, and listed in a view of their own."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation

from .dialect import KEEPS_COLUMNS, TRANSACTIONAL, ViewWriter

ABOUT_LIST = "Views that this program made in this dataset, a row for each."


@dataclass(frozen=True)
class View:
    """A view to create.

    Attributes:
        create: the statement; without one the view stays as it is.
        facts: what the list says about it.
        comments: what it is under "", and what its columns are; only called for a view that is created or replaced.
        described_by: what `comments` depends on beside the statement.
    """

    create: str | None
    facts: tuple[str | bool, ...] = ()
    comments: Callable[[], Mapping[str, str]] = dict
    described_by: str = ""

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.create}{self.described_by}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Entry:
    """A row of the list of views: its facts, and the digest of the statement that created it ("" if none did)."""

    facts: tuple[str | bool, ...] = ()
    digest: str = ""


@dataclass
class Changes:
    """The views that were replaced, were dropped, or failed, with the database's error."""

    replaced: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class Registry:
    """The views that this program created in one dataset.

    Only these are replaced and dropped; the views of others are never touched. They are listed in a view, because a
    table needs rights that views do not. A view whose statement has not changed is not replaced: on Postgres that
    would wait for everybody who is reading the view, and so would the sync.

    Args:
        client: dlt's SQL client, connected.
        writer: writes the statements for the dataset.
        name: of the view that lists the others.
        columns: of that view, without the last one, `digest`: the name of a view, and its facts.
    """

    client: Any
    writer: ViewWriter
    name: str
    columns: tuple[str, ...]

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The views in the list."""
        try:
            rows = self.client.execute_sql(self.writer.read(self.name, (*self.columns, "digest")))
        except DatabaseUndefinedRelation:
            return {}
        return {str(name): Entry(tuple(facts), str(digest)) for name, *facts, digest in rows or ()}

    def refresh(self, views: Mapping[str, View], exists: Callable[[str], bool], keep: Collection[str] = ()) -> Changes:
        """Creates, replaces and drops views.

        Args:
            views: by name.
            exists: whether there is a view of this name, called only for a view with an unchanged statement.
            keep: listed views that stay although they are not among `views`.

        Raises:
            DatabaseException: the list cannot be written.
        """
        before, changes = self.entries, Changes()
        entries = {name: replace(before.get(name, Entry()), facts=view.facts) for name, view in views.items()}
        # The list is written before the views and after them, so that a run that is killed forgets none.
        if entries.keys() - before.keys():
            self._write_list(entries | before)
        for name, view in views.items():
            if view.create is None:
                continue
            try:
                if entries[name].digest != view.digest or not exists(name):
                    self._replace(name, view.create, self.writer.comments(name, view.comments()))
                    entries[name] = Entry(view.facts, view.digest)
                    changes.replaced.append(name)
            except DatabaseException as error:
                changes.failed[name] = one_line(error)
        for name in sorted(before.keys() - views.keys()):
            try:
                if name in keep:
                    entries[name] = before[name]
                else:
                    self._execute(self.writer.drop(name))
                    changes.dropped.append(name)
            except DatabaseException as error:
                changes.failed[name] = one_line(error)
                entries[name] = before[name]
        if entries != before:
            self._write_list(entries)
        self.entries = entries
        return changes

    def _replace(self, name: str, create: str, comments: Sequence[str] = ()) -> None:
        try:
            self._execute_together([create, *comments])
        except DatabaseException:
            if self.writer.dialect not in KEEPS_COLUMNS:
                raise
            self._execute_together([self.writer.drop(name), create, *comments])

    def _execute_together(self, statements: Sequence[str]) -> None:
        """Executes statements in one transaction, where the database has such for views."""
        together = len(statements) > 1 and self.writer.dialect in TRANSACTIONAL
        with self.client.begin_transaction() if together else nullcontext():
            for statement in statements:
                self._execute(statement)

    def _write_list(self, entries: Mapping[str, Entry]) -> None:
        if entries:
            rows = [(name, *entry.facts, entry.digest) for name, entry in sorted(entries.items())]
            create = self.writer.create_values(self.name, (*self.columns, "digest"), rows)
            self._execute_together([create, *self.writer.comments(self.name, {"": ABOUT_LIST})])

    def _execute(self, statement: str) -> None:
        self.client.execute_sql(statement)


def one_line(error: Exception) -> str:
    """The message of a database in one line."""
    return " ".join(str(error).split())
