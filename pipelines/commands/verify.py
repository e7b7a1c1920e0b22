"""Compares the destination with the API: every id, and records field by field."""

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from typing import Any

from pipelines.destinations.pipeline_state import source_state
from pipelines.destinations.target import Target
from pipelines.engine import deletions
from pipelines.engine.report import Report
from pipelines.engine.run_log import last_runs
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import Record, choose
from sources.insightly.entities import RECORDS, Entity
from sources.insightly.errors import plural
from sources.insightly.resources.discovery import find_objects, refresh_catalog
from sources.insightly.resources.enrich import complete_and_shape
from sources.insightly.resources.fetch import page_reader, pages_at, read_pages, top_of
from sources.insightly.resources.hints import shaper_of
from sources.insightly.resources.reference import read_groups
from sources.insightly.result import EntityResult
from sources.insightly.rows.shaper import RowShaper
from sources.insightly.state.known_ids import KnownIds

from .sweep import is_newer, not_verifiable
from .verify_children import ChildComparison
from .verify_rows import Findings, Row, describe, differences, repetitions, times

logger = logging.getLogger(__name__)

PAGES, QUICK_PAGES, PAGE_ROWS = 10, 1, 20
"""Pages, and rows per page, that are compared field by field unless all records are."""
PARENTS, QUICK_PARENTS = 20, 5
"""Parents of each parent entity whose rows are compared, and as many again that have rows in the destination."""


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
        quick: find differing ids with few pages, and compare the records of one page. This proves less.
        watch: called with the context whenever there is progress.

    Returns:
        A report; its exit code is 4 if something differs.

    Raises:
        ConfigurationError, NothingSynced, Busy: nothing was read.
    """
    chosen = choose(settings, names)
    found = defaultdict[str, Findings](Findings)
    target.require_exists()
    writes = target.adapter.is_writable()
    if not writes:
        logger.info("%s is read-only: this verification is not recorded there", target)
    with opened("verify", settings, target, None, watch, writes) as runner:
        runner.require_synced()
        runner.context.chosen = chosen
        with runner.attempt():
            runner.check_account()
            context, runs = runner.context, last_runs(runner.pipeline)
            find_objects(context, chosen)
            if RECORDS in chosen:
                refresh_catalog(context)
            for name in context.catalog.with_objects(chosen):
                if context.result(name).open:
                    verification = _Verification(runner, context.catalog.entity(name), found[name], full, quick)
                    verification.run(runs.get((name, "sync")))
        return runner.report(chosen, names, lambda report: _conclude(report, found, quick))


def _conclude(report: Report, found: Mapping[str, Findings], quick: bool) -> None:
    for name, entity in report.entities.items():
        findings = found[name]
        entity.facts = {
            "ids": findings.ids,
            "compared": findings.compared,
            "newer": findings.newer,
            "differences": findings.count,
            "examples": findings.examples,
        }
        if not (quick or findings.sampled):
            entity.facts["proved"] = entity.state == "ok" and not findings.count
    different = [f"{name} ({findings.count:,})" for name, findings in found.items() if findings.count]
    if different:
        report.fail(f"the destination differs from the API: {', '.join(different)}", 4)


class _Verification:
    def __init__(self, runner: Runner, entity: Entity, found: Findings, full: bool, quick: bool) -> None:
        self.runner, self.entity, self.found, self.full, self.quick = runner, entity, found, full, quick
        self.context, self.dataset, self.key = runner.context, runner.dataset, entity.key[0]
        self.watermark = runner.watermark(entity)

    def run(self, last_sync: Mapping[str, Any] | None) -> None:
        """Compares the entity; `last_sync` is the row of its last sync in `_sync_runs`."""
        with self.context.reading(self.entity.name) as result:
            result.watermark = result.watermark_before = self.watermark
            if (reason := not_verifiable(self.runner, self.entity)) is not None:
                result.state, result.reason = "failed", reason
                if last_sync is None and not self.dataset.table_exists(self.entity.name):
                    result.reason = "never synced: run insightly sync"
                elif last_sync is not None and last_sync["state"] == "skipped":
                    result.state, result.reason = "skipped", f"the last sync skipped it: {last_sync['reason']}"
                return
            if self.entity.read == "per_parent":
                self._compare_children(result)
            elif not self.entity.swept:
                self._compare_replaced_list(result)
            else:
                self._compare_records(result)
            result.rows, result.state = self.found.ids, "ok"

    def _compare_records(self, result: EntityResult) -> None:
        live_ids = self.dataset.live_ids(self.entity)
        self._add_orphans_and_repeated()
        since = self.runner.states()[self.entity.name].get("start_date")
        compare = self._compare_every_record if self.full else self._compare_ids_and_sample
        compare(since, live_ids, result)

    def _add_orphans_and_repeated(self) -> None:
        """Adds what the destination shows by itself: rows that are there more than once, and rows without a record."""
        for table, count in self.dataset.orphans(self.entity).items():
            self.found.add(
                f"{table}: {plural(count, 'row belongs', 'rows belong')} to no record: insightly sweep removes them"
            )
        for table, key, count in self.dataset.repeated_keys(self.entity):
            self.found.add(f"{describe(table, key, key.values())} is in the table {times(count)}: {self._fix_by_full}")

    def _compare_every_record(self, since: str | None, live_ids: Sequence[int], result: EntityResult) -> None:
        live, unknown = KnownIds(live_ids), list[Record]()
        for records in read_pages(page_reader(self.context, self.entity, since), self.key, result.notes):
            live.meet(record[self.key] for record in records)
            self.found.ids += len(records)
            self._compare_fields([record for record in records if record[self.key] in live], result)
            unknown += [record for record in records if record[self.key] not in live]
            self.context.on_progress()
        self._add_ids(list(live.missing()), unknown)

    def _compare_ids_and_sample(self, since: str | None, live_ids: Sequence[int], result: EntityResult) -> None:
        ids = deletions.differences(self.runner, self.entity, since, thorough=not self.quick)
        self.found.ids = ids.listed
        self._add_ids(ids.missing_ids, ids.unknown)
        # Pages of a few rows cost fewer calls than single records, and a short list fits into one page.
        live = KnownIds(live_ids)
        total, top = len(live_ids), top_of(self.context)
        page_rows = top if total <= top else min(top, PAGE_ROWS)
        offsets = range(0, max(total - page_rows, 1), page_rows)
        chosen = random.sample(offsets, min(QUICK_PAGES if self.quick else PAGES, len(offsets)))
        for page in pages_at(self.context, self.entity, since, page_rows)(chosen):
            self._compare_fields([record for record in page.rows if record[self.key] in live], result)

    def _add_ids(self, missing_ids: Sequence[int], unknown: Sequence[Record]) -> None:
        for id_ in missing_ids:
            self.found.add(f"{self.key} {id_} is live in the destination but not in the API: insightly sweep marks it")
        for record in unknown:
            id_ = record[self.key]
            text = f"{self.key} {id_} is in the API but not live in the destination: insightly sweep reads it"
            self._add_unless_newer(record, text)

    def _compare_fields(self, records: list[Record], result: EntityResult) -> None:
        if not records:
            return
        schema = self.runner.pipeline.default_schema
        records, tables = complete_and_shape(self.entity, self.context, records, result, schema=schema)
        by_key = {(record[self.key],): record for record in records}
        for table in tables:
            array = table.table.removeprefix(f"{self.entity.name}__").upper()
            ids = [id_ for (id_,), record in by_key.items() if table.table == self.entity.name or array in record]
            loaded = self.dataset.rows_by_id(self.entity, table.table, ids)
            for key, text in differences(table, loaded, self.dataset.normalize).items():
                self._add_unless_newer(by_key[key], text)
        self.found.compared += len(records)

    def _add_unless_newer(self, record: Record, text: str) -> None:
        """Adds a difference; a record that changed after the last sync only counts as newer."""
        if is_newer(record, self.watermark):
            self.found.newer += 1
        else:
            self.found.add(text)

    def _compare_replaced_list(self, result: EntityResult) -> None:
        """Compares all rows of a list that each sync replaces."""
        shaper, loaded = self._shaper(), dict[str, Sequence[Row]]()
        group, normalize = shaper.group, self.dataset.normalize
        known = self._loaded_groups()
        for name, rows in read_groups(self.entity, self.context, result, known):
            self.found.ids += len(rows)
            self.found.compared += len(rows)
            for table in shaper.shape_groups([(dict.fromkeys(group, name), rows)]) if group else shaper.shape(rows):
                if table.table not in loaded:
                    loaded[table.table] = self.dataset.rows(table.table)
                in_group = [row for row in loaded[table.table] if all(row[normalize(part)] == name for part in group)]
                texts = [*differences(table, in_group, normalize).values(), *repetitions(table, in_group, normalize)]
                for text in texts:
                    self.found.add(f"{text}: {self._fix_by_full}")
        for table_name, loaded_rows in loaded.items():
            groups = Counter(str(row[normalize(part)]) for row in loaded_rows for part in group)
            for name in groups.keys() - known:
                self.found.add(f"{table_name}: {plural(groups[name], 'row')} of {name}, which no sync has read")

    def _loaded_groups(self) -> Set[str]:
        """The groups of a replaced list that syncs have read."""
        if self.entity.name == "custom_fields":
            return frozenset(source_state(self.runner.pipeline).get("definitions", ()))
        return frozenset(self.runner.states().get(self.entity.name, {}).get("contents", ()))

    def _compare_children(self, result: EntityResult) -> None:
        shaper, self.found.sampled = self._shaper(), not self.full
        for parent, part in self.runner.states()[self.entity.name]["parents"].items():
            if "start_date" not in part:
                result.notes.append(f"rows of {parent} are not compared: they were never read")
                continue
            comparison = ChildComparison(self.runner, self.entity, parent, part, shaper, self.found)
            comparison.run(None if self.full else QUICK_PARENTS if self.quick else PARENTS)
            note = f"rows of {comparison.compared:,} of {comparison.listed:,} {parent} were compared"
            result.notes.append(note if self.full else f"{note}; --full compares all")

    @property
    def _fix_by_full(self) -> str:
        return f"insightly sync {self.entity.name} --full repairs it"

    def _shaper(self) -> RowShaper:
        return shaper_of(self.entity, self.context, self.runner.pipeline.default_schema)
