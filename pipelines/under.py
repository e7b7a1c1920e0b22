"""Rows that lie under other records, at the destination: whose record is gone, and whether they are the API's."""

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import Gone, NotAvailable
from sources.insightly.paging.prefetch import read_list
from sources.insightly.paging.probe import Differences
from sources.insightly.resources.fetch import lookahead, pages_at, parent_of, total_of
from sources.insightly.resources.sublists import Sublist, read_sublist, sublists
from sources.insightly.result import Outcome
from sources.insightly.rows.naming import DELETED_AT
from sources.insightly.rows.shaper import Shaper
from sources.insightly.state.checkpoint import Place

from . import deletions
from .compare import group_difference
from .dataset import BATCH, Dataset, Row
from .runner import Runner

ROWS = 5
"""Neighbours in a list of parents that a sample takes together."""


class Held:
    """The rows held of an entity under the records of one of its entities of parents."""

    def __init__(self, dataset: Dataset, entity: Entity, parent: str) -> None:
        self._dataset, self._entity = dataset, entity
        *kind, self._key = entity.parent_key
        self._text = entity.parent_key[self._key] == "string"
        self._of = f"{dataset.column(kind[0])} = '{parent}' and " if kind else ""
        self._id, self._mark = dataset.column(self._key), dataset.column(DELETED_AT)

    def parents(self) -> dict[int, bool]:
        """The records that rows are held of; True where some of these are live."""
        live = f"max(case when {self._mark} is null then 1 else 0 end)"
        sql = f"select {self._id}, {live} from {{}} where {self._of}1 = 1 group by {self._id}"
        return {int(id_): bool(alive) for id_, alive in self._dataset.execute(self._entity.name, sql)}

    def rows(self, ids: Collection[int]) -> Mapping[int, list[Row]]:
        """The live rows of some records."""
        found = defaultdict[int, list[Row]](list)
        for clause in self._clauses(ids):
            for row in self._dataset.rows_where(self._entity.name, f"where {clause} and {self._mark} is null"):
                found[int(row[self._dataset.fold(self._key)])].append(row)
        return found

    def take_away(self, ids: Collection[int], remove: bool) -> int:
        """Marks the rows of records deleted, or removes them; returns how many there were."""
        count = sum(map(len, self.rows(ids).values()))
        for clause in self._clauses(ids):
            if remove:
                self._dataset.execute(self._entity.name, f"delete from {{}} where {clause}")
            else:
                sql = f"update {{}} set {self._mark} = %s where {clause} and {self._mark} is null"
                self._dataset.execute(self._entity.name, sql, datetime.now(UTC))
        return count

    def give_back(self, ids: Collection[int]) -> None:
        """Takes the mark from the rows of records."""
        for clause in self._clauses(ids):
            self._dataset.execute(self._entity.name, f"update {{}} set {self._mark} = null where {clause}")

    def _clauses(self, ids: Collection[int]) -> Iterable[str]:
        told = [f"'{int(id_)}'" if self._text else str(int(id_)) for id_ in ids]
        for start in range(0, len(told), BATCH):
            yield f"{self._of}{self._id} in ({', '.join(told[start : start + BATCH])})"


def sweep_under(runner: Runner, entity: Entity, outcome: Outcome, force: bool) -> None:
    """Marks, or removes, the rows of records that are gone, by a look at every id that their lists have.

    Raises:
        Refused: more records are gone than is plausible; nothing of that entity of parents was marked.
        NotAvailable: no list of parents may be read.
    """
    parts, refused = runner.states()[entity.name]["under"], list[NotAvailable]()
    for name, part in parts.items():
        held = Held(runner.dataset, entity, name)
        known = held.parents() if "start_date" in part else {}
        if not known:
            continue
        asked = parent_of(entity, name)
        try:
            steps = read_list(lookahead(runner.session, asked, part["start_date"], brief=True), asked.key[0])
            listed = {row[asked.key[0]] for step in steps for row in step.rows}
        except NotAvailable as error:
            refused.append(error)
            outcome.notes.append(f"what lies under {name} is not swept: {error}")
            continue
        outcome.rows += len(listed)
        live = [id_ for id_, alive in known.items() if alive]
        found, settled = Differences(len(live), absent=sorted(set(live) - listed)), deletions.Settled()
        gone = deletions.confirm(runner, asked, found, force, settled)
        outcome.deleted += held.take_away(list(gone), runner.session.settings.deletions == "remove")
        outcome.notes += settled.notes
        if back := [id_ for id_, alive in known.items() if not alive and id_ in listed]:
            held.give_back(back)
            outcome.notes.append(f"the rows of {len(back):,} {name} that are listed again live again")
        if settled.stop is not None:
            raise settled.stop
    if refused and len(refused) == len(parts):
        raise refused[0]


class Comparison:
    """Rows held under the records of one entity of parents, against those that the API tells.

    Attributes:
        listed: how many records there are.
        compared: how many of them were asked.
        newer: how many of these differ because they changed after they were read.
        differences: what differs, in words.
    """

    def __init__(self, runner: Runner, entity: Entity, parent: str, part: Mapping[str, Any], shaper: Shaper) -> None:
        self.runner, self.session, self.entity, self.parent = runner, runner.session, entity, ENTITIES[parent]
        self.part, self.shaper = part, shaper
        self.held, self.asked = Held(runner.dataset, entity, parent), parent_of(entity, parent)
        self.key = self.asked.key[0]
        self.listed = self.compared = self.newer = 0
        self.differences: list[str] = []
        self._different: dict[int, str] = {}

    def run(self, most: int | None) -> None:
        """Asks `most` random records of the list, and as many that rows are held of; None: every record.

        Raises:
            Stop and the other errors of the client.
        """
        if most is None:
            self._every()
        else:
            self._sample(most)
        newer = self._newer() if self._different else lambda _: False
        for id_, text in self._different.items():
            if newer(id_):
                self.newer += 1
            else:
                self.differences.append(f"{self.parent.name} {id_}: {text}")

    def _every(self) -> None:
        met, live = set[int](), [id_ for id_, alive in self.held.parents().items() if alive]
        batch: list[Sublist] = []
        for taken in sublists(self.session, self.entity, self.parent.name, Place(self._since, None, 0, None)):
            met.add(taken.sublist.id)
            batch.append(taken.sublist)
            if len(batch) == BATCH:
                self._compare(batch)
                batch = []
        self._compare(batch)
        self.listed = len(met)
        self._different |= {id_: f"is not listed: {self._sweep}" for id_ in live if id_ not in met}

    def _sample(self, most: int) -> None:
        self.listed = total_of(self.session, self.asked, self._since)
        offsets = range(0, self.listed, ROWS)
        some = random.sample(offsets, min(most // ROWS, len(offsets)))
        pages = pages_at(self.session, self.asked, self._since, ROWS, brief=True)(some) if some else []
        ids = {row[self.key] for page in pages for row in page.rows}
        with_rows = [id_ for id_, alive in self.held.parents().items() if alive and id_ not in ids]
        ids |= set(random.sample(with_rows, min(most, len(with_rows))))

        def ask(id_: int) -> Sublist:
            return read_sublist(self.session, self.entity, self.parent.name, id_)

        self._compare(list(self.session.pool.map(ask, sorted(ids))))

    def _compare(self, answers: Sequence[Sublist]) -> None:
        held = self.held.rows([answer.id for answer in answers])
        for answer in answers:
            if answer.refused is not None:
                if held[answer.id] and isinstance(answer.refused, Gone):
                    self._different[answer.id] = f"is gone: {self._sweep}"
                continue
            self.compared += 1
            told = [(self.entity.parent(self.parent, answer.id), answer.rows)]
            (table,) = self.shaper.shape_groups(told)
            text = group_difference(table, held[answer.id], self.runner.dataset.fold)
            if text is not None:
                self._different[answer.id] = f"{text}: insightly sync {self.entity.name} --full repairs it"
        self.session.on_progress()

    def _newer(self) -> Callable[[int], bool]:
        """Whether the next sync would read a record anyway."""
        if self.parent.incremental:
            fetch = lookahead(self.session, self.asked, self.part.get("watermark"), brief=True)
            changed = {row[self.key] for step in read_list(fetch, self.key) for row in step.rows}
            return changed.__contains__
        last = self.part.get("place", {}).get("last_id")
        return lambda id_: last is None or id_ > last

    @property
    def _since(self) -> str | None:
        since: str | None = self.part["start_date"]
        return since

    @property
    def _sweep(self) -> str:
        return f"insightly sweep {self.entity.name} takes its rows away"
