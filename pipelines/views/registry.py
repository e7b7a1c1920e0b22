"""The views of one dataset: made, replaced and dropped, by the register that they keep of themselves."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation

from .dialect import KEEPS_COLUMNS, ViewWriter
from .marts import Planned, Unusable

MADE, SKIPPED, FAULTY = "made", "skipped", "failed"

Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A row of the view of all views, but for the mart's name; the digest is that of the statement that made it.

    A view that would come out as it is stays: on Postgres its replacement, and with it the sync, waits for whoever
    reads it.
    """

    own: bool
    answers: str
    digest: str = ""


COLUMNS = ("mart", *Entry.__dataclass_fields__)


@dataclass
class Views:
    """The views in one dataset; `client` is dlt's, connected."""

    client: Any
    dataset: str

    def make(self, plans: Sequence[Planned], with_own: bool) -> dict[str, Row]:
        """Makes, replaces and drops views.

        Args:
            plans: what to make.
            with_own: whether the user's folder is among them; without, the views that it gave stay as they are.

        Returns:
            What became of each.
        """
        with self.client.with_alternative_dataset_name(self.dataset):
            if not self.client.has_dataset():
                self.client.create_dataset()
        before = self._registered()
        mine = {name for name, entry in before.items() if entry.own and not with_own}
        marts = {each.mart.name: each for each in plans if each.mart.name not in mine}
        # What is wrong now may have been right before: its view stays.
        wanted = {n: Entry(each.mart.own, each.mart.answers) for n, each in marts.items() if each.query or each.faulty}
        gone = set(before.keys() - wanted.keys() - mine)
        digests = {name: entry.digest for name, entry in before.items()}
        # Written down before as well as after, so that a run that is killed forgets no view.
        if wanted.keys() - before.keys():
            self._register(wanted | before)
        rows = {name: self._make(each, digests) for name, each in marts.items()}
        for name in sorted(gone):
            try:
                self.client.execute_sql(self._writer.drop(name))
            except DatabaseException as error:
                rows[name] = _row(FAULTY, words(error), before[name].answers)
                gone.remove(name)
        now = {n: replace(e, digest=digests.get(n, "")) for n, e in (before | wanted).items() if n not in gone}
        if now != before:
            self._register(now)
        return rows

    @property
    def _writer(self) -> ViewWriter:
        return writer_of(self.client, self.dataset)

    def _make(self, planned: Planned, digests: dict[str, str]) -> Row:
        """Makes one view, and notes the digest of its statement."""
        name, state, reason, rows = planned.mart.name, (FAULTY if planned.faulty else SKIPPED), planned.reason, None
        if planned.query is not None:
            try:
                create = self._writer.create(planned)
                digest = hashlib.sha256(create.encode()).hexdigest()[:16]
                if digests.get(name) != digest or (rows := self._count(name)) is None:
                    self._replace(name, create)
                    digests[name] = digest
                    rows = self._count(name)
                state = MADE
            except (DatabaseException, Unusable) as error:
                state, reason = FAULTY, words(error)
        view = ".".join(self._writer.view(name)) if state == MADE else None
        return _row(state, reason, planned.mart.answers, view, rows, planned.needs, planned.without)

    def _replace(self, name: str, create: str) -> None:
        try:
            self.client.execute_sql(create)
        except DatabaseException:
            if self._writer.dialect not in KEEPS_COLUMNS:
                raise
            with self.client.begin_transaction():
                self.client.execute_sql(self._writer.drop(name))
                self.client.execute_sql(create)

    def _count(self, name: str) -> int | None:
        """How many rows a view has, None where there is none of that name."""
        try:
            return int(self.client.execute_sql(self._writer.count(name))[0][0])
        except DatabaseUndefinedRelation:
            return None

    def _registered(self) -> dict[str, Entry]:
        try:
            rows = self.client.execute_sql(self._writer.registered(*COLUMNS))
        except DatabaseUndefinedRelation:
            return {}
        return {name: Entry(bool(own), *told) for name, own, *told in rows}

    def _register(self, entries: dict[str, Entry]) -> None:
        if entries:
            rows = [(name, *astuple(entry)) for name, entry in entries.items()]
            self.client.execute_sql(self._writer.register(COLUMNS, rows))


def _row(
    state: str,
    reason: str | None,
    answers: str,
    view: str | None = None,
    rows: int | None = None,
    needs: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Row:
    told = {"state": state, "reason": reason, "answers": answers, "view": view, "rows": rows}
    return {**told, "needs": list(needs), "without": list(without)}


def writer_of(client: Any, dataset: str) -> ViewWriter:
    """Where views are made over the tables of a connected client of dlt's: in a dataset of their own."""
    caps, path = client.capabilities, client.make_qualified_table_name_path
    return ViewWriter(
        caps.sqlglot_dialect,
        caps.casefold_identifier,
        lambda name: path(name, quote=False),
        lambda name: path(name, quote=False, dataset_name=dataset),
    )


def words(error: Exception) -> str:
    """What a database says of an error, in one line."""
    return " ".join(str(error).split())
