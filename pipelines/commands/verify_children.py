"""Compares the rows that belong to a record in the destination with those that the API lists."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.destinations.child_rows import ChildRows
from pipelines.destinations.dataset import BATCH
from pipelines.engine.runner import Runner
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import NotFound
from sources.insightly.paging.prefetch import read_list
from sources.insightly.resources.fetch import page_reader, pages_at, parent_of, total_of
from sources.insightly.resources.sublists import Sublist, read_sublist, sublists
from sources.insightly.rows.shaper import RowShaper
from sources.insightly.state.checkpoint import Checkpoint

from .verify_rows import group_difference

ROWS = 5
"""Neighbours in a list of parents that a sample takes together."""


class Comparison:
    """Rows held under the records of one entity of parents, against those that the API tells.

    Attributes:
        listed: how many records there are.
        compared: how many of them were asked.
        newer: how many of these differ because they changed after they were read.
        differences: what differs, in words.
    """

    def __init__(self, runner: Runner, entity: Entity, parent: str, part: Mapping[str, Any], shaper: RowShaper) -> None:
        self.runner, self.context, self.entity, self.parent = runner, runner.context, entity, ENTITIES[parent]
        self.part, self.shaper = part, shaper
        self.held, self.asked = ChildRows(runner.dataset, entity, parent), parent_of(entity, parent)
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
        for taken in sublists(self.context, self.entity, self.parent.name, Checkpoint(self._since, None, 0, None)):
            met.add(taken.sublist.id)
            batch.append(taken.sublist)
            if len(batch) == BATCH:
                self._compare(batch)
                batch = []
        self._compare(batch)
        self.listed = len(met)
        self._different |= {id_: f"is not listed: {self._sweep}" for id_ in live if id_ not in met}

    def _sample(self, most: int) -> None:
        self.listed = total_of(self.context, self.asked, self._since)
        offsets = range(0, self.listed, ROWS)
        some = random.sample(offsets, min(most // ROWS, len(offsets)))
        pages = pages_at(self.context, self.asked, self._since, ROWS, brief=True)(some) if some else []
        ids = {row[self.key] for page in pages for row in page.rows}
        with_rows = [id_ for id_, alive in self.held.parents().items() if alive and id_ not in ids]
        ids |= set(random.sample(with_rows, min(most, len(with_rows))))

        def ask(id_: int) -> Sublist:
            return read_sublist(self.context, self.entity, self.parent.name, id_)

        self._compare(list(self.context.pool.map(ask, sorted(ids))))

    def _compare(self, answers: Sequence[Sublist]) -> None:
        held = self.held.live_rows([answer.id for answer in answers])
        for answer in answers:
            if answer.refused is not None:
                if held[answer.id] and isinstance(answer.refused, NotFound):
                    self._different[answer.id] = f"is gone: {self._sweep}"
                continue
            self.compared += 1
            told = [(self.entity.parent_values(self.parent, answer.id), answer.rows)]
            (table,) = self.shaper.shape_groups(told)
            text = group_difference(table, held[answer.id], self.runner.dataset.normalize)
            if text is not None:
                self._different[answer.id] = f"{text}: insightly sync {self.entity.name} --full repairs it"
        self.context.on_progress()

    def _newer(self) -> Callable[[int], bool]:
        """Whether the next sync would read a record anyway."""
        if self.parent.read == "incremental":
            fetch = page_reader(self.context, self.asked, self.part.get("watermark"), brief=True)
            changed = {row[self.key] for step in read_list(fetch, self.key) for row in step.rows}
            return changed.__contains__
        last = self.part.get("checkpoint", {}).get("last_id")
        return lambda id_: last is None or id_ > last

    @property
    def _since(self) -> str | None:
        since: str | None = self.part["start_date"]
        return since

    @property
    def _sweep(self) -> str:
        return f"insightly sweep {self.entity.name} takes its rows away"
