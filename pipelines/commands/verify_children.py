"""Compares the rows that belong to a record in the destination with those that the API lists."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from dlt.common.utils import chunks

from pipelines.destinations.child_rows import ChildRows
from pipelines.destinations.dataset import BATCH
from pipelines.engine.runner import Runner
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.errors import NotFound
from sources.insightly.resources.fetch import page_reader, pages_at, parent_of, read_pages, total_of
from sources.insightly.resources.sublists import Sublist, Sublists, read_sublist
from sources.insightly.rows.shaper import RowShaper
from sources.insightly.state.checkpoint import Checkpoint

from .verify_rows import Findings, group_difference

ROWS = 5
"""Neighbours in a list of parents that a sample takes together."""


class ChildComparison:
    """Compares the rows of one entity that belong to records of one parent entity.

    Args:
        runner: the command's runner.
        entity: whose rows.
        parent: the name of the parent entity.
        part: the state of reading the entity's rows from these parents.
        shaper: makes rows of the API's records.
        found: gets the differences.

    Attributes:
        listed: parents that the API lists.
        compared: parents whose rows were compared.
    """

    def __init__(
        self, runner: Runner, entity: Entity, parent: str, part: Mapping[str, Any], shaper: RowShaper, found: Findings
    ) -> None:
        self.runner, self.context, self.entity, self.parent = runner, runner.context, entity, ENTITIES[parent]
        self.part, self.shaper, self.found = part, shaper, found
        self.loaded, self.parent_list = ChildRows(runner.dataset, entity, parent), parent_of(entity, parent)
        self.key, self.since = self.parent_list.key[0], part["start_date"]
        self.listed = self.compared = 0
        self.differences: dict[int, str] = {}

    def run(self, limit: int | None) -> None:
        """Compares `limit` random parents of the list and as many that have rows in the destination; None: all parents.

        Raises:
            Stop and the other errors of the client.
        """
        live = [id_ for id_, is_live in self.loaded.parents().items() if is_live]
        if limit is None:
            self._compare_all(live)
        else:
            self._compare_sample(live, limit)
        changed_later = self._changed_later() if self.differences else lambda _: False
        self.found.ids += self.listed
        self.found.compared += self.compared
        for id_, text in self.differences.items():
            if changed_later(id_):
                self.found.newer += 1
            else:
                self.found.add(f"{self.parent.name} {id_}: {text}")

    def _compare_all(self, live: Sequence[int]) -> None:
        listed, sublists = set[Any](), Sublists(self.context, self.entity, self.parent.name, Checkpoint(self.since))
        for batch in chunks((sublist for sublist, _ in sublists), BATCH):
            listed |= {sublist.id for sublist in batch}
            self._compare(batch)
        self.listed = len(listed)
        self.differences |= {id_: f"is not listed: {self._fix_by_sweep}" for id_ in live if id_ not in listed}

    def _compare_sample(self, live: Sequence[int], limit: int) -> None:
        self.listed = total_of(self.context, self.parent_list, self.since)
        offsets = range(0, self.listed, ROWS)
        chosen = random.sample(offsets, min(limit // ROWS, len(offsets)))
        pages = pages_at(self.context, self.parent_list, self.since, ROWS, brief=True)(chosen) if chosen else []
        ids = {row[self.key] for page in pages for row in page.rows}
        with_rows = [id_ for id_ in live if id_ not in ids]
        ids |= set(random.sample(with_rows, min(limit, len(with_rows))))
        read = partial(read_sublist, self.context, self.entity, self.parent.name)
        self._compare(list(self.context.pool.map(read, sorted(ids))))

    def _compare(self, sublists: Sequence[Sublist]) -> None:
        loaded = self.loaded.live_rows([sublist.id for sublist in sublists])
        for sublist in sublists:
            if sublist.refused is not None:
                if loaded[sublist.id] and isinstance(sublist.refused, NotFound):
                    self.differences[sublist.id] = f"is deleted: {self._fix_by_sweep}"
                continue
            self.compared += 1
            group = self.entity.parent_values(self.parent, sublist.id)
            (table,) = self.shaper.shape_groups([(group, sublist.rows)])
            text = group_difference(table, loaded[sublist.id], self.runner.dataset.normalize)
            if text is not None:
                self.differences[sublist.id] = f"{text}: insightly sync {self.entity.name} --full repairs it"
        self.context.on_progress()

    def _changed_later(self) -> Callable[[int], bool]:
        """Returns a function that says whether the next sync would read a parent anyway."""
        if self.parent.read == "incremental":
            reader = page_reader(self.context, self.parent_list, self.part.get("watermark"), brief=True)
            changed = {row[self.key] for rows in read_pages(reader, self.key) for row in rows}
            return changed.__contains__
        last_id = self.part.get("checkpoint", {}).get("last_id")
        return lambda id_: last_id is None or id_ > last_id

    @property
    def _fix_by_sweep(self) -> str:
        return f"insightly sweep {self.entity.name} removes its rows"
