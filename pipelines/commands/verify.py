"""The proof: every id that the API lists against every id held, and records field by field."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pipelines.destinations.target import Target
from pipelines.engine import deletions
from pipelines.engine.report import FAILED, Report
from pipelines.engine.run_log import latest
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import Record, choose
from sources.insightly.entities import DATE_UPDATED, RECORDS, Entity
from sources.insightly.paging.prefetch import read_list
from sources.insightly.resources.discovery import find, refresh_catalog
from sources.insightly.resources.enrich import define, fill_tags
from sources.insightly.resources.fetch import page_reader, pages_at, top_of
from sources.insightly.resources.hints import make_shaper
from sources.insightly.resources.reference import GROUPS, read_groups
from sources.insightly.result import EntityResult
from sources.insightly.rows.shaper import RowShaper
from sources.insightly.state.times import parse

from .sweep import not_verifiable
from .verify_children import Comparison
from .verify_rows import differences

PAGES, QUICK_PAGES, ROWS = 10, 1, 20
"""Pages, and rows on each, that are compared field by field, unless all are."""
ASKED, QUICK_ASKED = 20, 5
"""Records of each entity of parents under which rows are compared, and as many again that have rows here."""
SHOWN = 20


@dataclass
class Findings:
    """What the comparison of one entity found; `newer` records changed after the last sync and prove nothing.

    `sampled` where not even every id was compared.
    """

    ids: int = 0
    compared: int = 0
    newer: int = 0
    count: int = 0
    sampled: bool = False
    differences: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.count += 1
        if len(self.differences) < SHOWN:
            self.differences.append(text)


def verify(
    settings: InsightlySettings,
    target: Target,
    names: Sequence[str] = (),
    *,
    full: bool = False,
    quick: bool = False,
    watch: Watch | None = None,
) -> Report:
    """Compares the destination with the API and changes neither.

    Args:
        settings: validated settings.
        target: what to verify.
        names: entities or presets; none for the setting `entities`.
        full: compare every record field by field, not a random sample.
        quick: look for differing ids with few pages, and compare the records of one, which proves less.
        watch: called with the context whenever there is progress.

    Returns:
        A report with exit code 4 where something differs.

    Raises:
        ConfigurationError, NothingSynced, Busy: nothing was read.
    """
    chosen = choose(settings, names)
    found = defaultdict[str, Findings](Findings)
    target.require_exists()
    with opened("verify", settings, target, None, watch) as runner:
        runner.require_synced()

        def work() -> None:
            context, runs = runner.context, latest(runner.pipeline)
            find(context, chosen)
            if RECORDS in chosen:
                refresh_catalog(context)
            for name in context.with_objects(chosen):
                if context.result(name).open:
                    _Verification(runner, context.entity(name), found[name], full, quick).run(runs.get((name, "sync")))

        error = runner.attempt(work)
        return runner.report(chosen, names, error, lambda report: _conclude(report, found, quick))


def _conclude(report: Report, found: dict[str, Findings], quick: bool) -> None:
    for name, entity in report.entities.items():
        told = found[name]
        entity.facts = {
            "ids": told.ids,
            "compared": told.compared,
            "newer": told.newer,
            "differences": told.count,
            "examples": told.differences,
        }
        if not (quick or told.sampled):
            entity.facts["proved"] = entity.state == "ok" and not told.count
    different = [f"{name} ({told.count:,})" for name, told in found.items() if told.count]
    if different:
        report.status, report.exit_code = FAILED, 4
        report.reason = f"the destination differs from the API: {', '.join(different)}"


class _Verification:
    """The verification of one entity."""

    def __init__(self, runner: Runner, entity: Entity, found: Findings, full: bool, quick: bool) -> None:
        self.runner, self.entity, self.found, self.full, self.quick = runner, entity, found, full, quick
        self.context, self.dataset = runner.context, runner.dataset
        self.watermark = runner.watermark(entity)

    def run(self, synced: Mapping[str, Any] | None) -> None:
        """Compares; `synced` is the row of the entity's last sync in `_sync_runs`, None where there was none."""
        with self.context.reading(self.entity.name) as result:
            result.watermark = result.watermark_before = self.watermark
            since = self.runner.states().get(self.entity.name, {}).get("start_date")
            if (lacking := not_verifiable(self.runner, self.entity)) is not None:
                result.state, result.reason = "failed", lacking
                if synced is None and not self.dataset.table_exists(self.entity.name):
                    result.reason = "never synced: run insightly sync"
                elif synced is not None and synced["state"] == "skipped":
                    result.state, result.reason = "skipped", f"the last sync skipped it: {synced['reason']}"
                return
            if self.entity.read == "per_parent":
                self._under(result)
                result.rows, result.state = self.found.ids, "ok"
                return
            if not self.entity.swept:
                self._whole(result)
                result.rows, result.state = self.found.ids, "ok"
                return
            for id_, next_ in pairwise(self.dataset.live_ids(self.entity)):
                if id_ == next_:
                    self.found.add(f"{self.entity.key[0]} {id_} is held twice")
            if self.full:
                self._every_record(since, result)
            else:
                self._ids_and_sample(since, result)
            result.rows = self.found.ids
            result.state = "ok"

    def _ids_and_sample(self, since: str | None, result: EntityResult) -> None:
        found = deletions.differences(self.runner, self.entity, since, thorough=not self.quick)
        self.found.ids = found.listed
        self._tell(found.missing_ids, found.unknown)
        live = set(self.dataset.live_ids(self.entity))
        # Some short pages from anywhere cost fewer calls than as many single records, and one page may hold them all.
        total, top = len(live), top_of(self.context)
        rows = top if total <= top else min(top, ROWS)
        offsets = range(0, max(total - rows, 1), rows)
        some = random.sample(offsets, min(QUICK_PAGES if self.quick else PAGES, len(offsets)))
        for page in pages_at(self.context, self.entity, since, rows)(some):
            self._compare([row for row in page.rows if row[self.entity.key[0]] in live], result)

    def _every_record(self, since: str | None, result: EntityResult) -> None:
        known, key = self.dataset.live_ids(self.entity), self.entity.key[0]
        live, listed, unknown = set(known), set[Any](), list[Record]()
        for step in read_list(page_reader(self.context, self.entity, since), key):
            listed.update(row[key] for row in step.rows)
            self.found.ids += len(step.rows)
            self._compare([row for row in step.rows if row[key] in live], result)
            unknown += [row for row in step.rows if row[key] not in live]
            self.context.on_progress()
        self._tell([id_ for id_ in known if id_ not in listed], unknown)

    def _tell(self, missing_ids: Sequence[int], unknown: Sequence[Record]) -> None:
        key = self.entity.key[0]
        for id_ in missing_ids:
            self.found.add(f"{key} {id_} is live here and not listed at the API: insightly sweep marks it")
        for row in unknown:
            self._judge(row, f"{key} {row[key]} is listed at the API and not live here: insightly sweep reads it")

    def _compare(self, records: list[Record], result: EntityResult) -> None:
        if not records:
            return
        shaper = self._shaper()
        define(self.entity, self.context, shaper)
        records = fill_tags(self.entity, self.context, records, result)
        key = self.entity.key[0]
        by_id = {(record[key],): record for record in records}
        for table in shaper.shape(records):
            array = table.table.removeprefix(f"{self.entity.name}__").upper()
            told = [id_[0] for id_, record in by_id.items() if table.table == self.entity.name or array in record]
            held = self.dataset.rows_by_id(self.entity, table.table, told)
            for id_, text in differences(table, held, self.dataset.normalize).items():
                self._judge(by_id[id_], text)
        self.found.compared += len(records)

    def _whole(self, result: EntityResult) -> None:
        """What each sync reads whole, compared whole."""
        group, normalize = GROUPS.get(self.entity.name, ()), self.dataset.normalize
        shaper, held = self._shaper(group), dict[str, list[dict[str, Any]]]()
        for name, rows in read_groups(self.entity, self.context, result):
            self.found.ids += len(rows)
            self.found.compared += len(rows)
            for table in shaper.shape_groups([(dict.fromkeys(group, name), rows)]) if group else shaper.shape(rows):
                ours = held.setdefault(table.table, self.dataset.all_rows(table.table))
                mine = [row for row in ours if all(row[normalize(part)] == name for part in group)]
                for text in differences(table, mine, normalize).values():
                    self.found.add(f"{text}: insightly sync repairs it")

    def _under(self, result: EntityResult) -> None:
        """Rows that lie under other records: those of a sample of records, or of all."""
        shaper, self.found.sampled = self._shaper(tuple(self.entity.parent_key)), not self.full
        for name, part in self.runner.states()[self.entity.name]["under"].items():
            if "start_date" not in part:
                result.notes.append(f"what lies under {name} is not compared: it was never read")
                continue
            comparison = Comparison(self.runner, self.entity, name, part, shaper)
            comparison.run(None if self.full else QUICK_ASKED if self.quick else ASKED)
            self.found.ids += comparison.listed
            self.found.compared += comparison.compared
            self.found.newer += comparison.newer
            for text in comparison.differences:
                self.found.add(text)
            told = f"{comparison.compared:,} of {comparison.listed:,} {name} were asked"
            result.notes.append(told if self.full else f"{told}: --full asks all")

    def _judge(self, record: Record, text: str) -> None:
        """A difference, unless the record changed after the last sync."""
        stamp = record.get(DATE_UPDATED)
        if self.watermark and isinstance(stamp, str) and parse(stamp) > parse(self.watermark):
            self.found.newer += 1
        else:
            self.found.add(text)

    def _shaper(self, group: Sequence[str] = ()) -> RowShaper:
        shapers, name = self.context.shapers, self.entity.name
        if name not in shapers:
            shapers[name] = make_shaper(self.entity, self.context, self.runner.pipeline.default_schema, group)
        return shapers[name]
