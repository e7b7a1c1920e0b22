"""The sweep: marks records that were deleted in Insightly, and reads again those that reappeared or changed tags."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from dlt.common.utils import chunks

from pipelines.destinations.target import Target
from pipelines.engine import deletions, history
from pipelines.engine.report import Report
from pipelines.engine.run_log import last_success
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import Record, choose
from sources.insightly.entities import DATE_UPDATED, ENTITIES, RECORDS, Entity
from sources.insightly.errors import NotAvailable, plural
from sources.insightly.paging.probe import Differences, grid
from sources.insightly.resources.discovery import find_objects
from sources.insightly.resources.fetch import page_reader, read_pages, tagged_with, top_of
from sources.insightly.result import EntityResult
from sources.insightly.rows.naming import child_table
from sources.insightly.state.checkpoint import walk_states
from sources.insightly.state.request import ReadRequest
from sources.insightly.state.times import earlier, parse, parse_api

from .sweep_children import sweep_children

NEVER = datetime.min.replace(tzinfo=UTC)
READ_EACH = 20
"""Up to this many records, each is read by a call, whatever reading the list would cost."""


def sweep(
    settings: InsightlySettings,
    target: Target,
    names: Sequence[str] = (),
    *,
    thorough: bool = False,
    tags: bool = False,
    force: bool = False,
    watch: Watch | None = None,
) -> Report:
    """Finds deleted records by comparing ids, among the records that syncs read.

    Args:
        settings: validated settings; `deletions` says whether rows are marked or removed.
        target: what to sweep.
        names: entities or presets; none for the setting `entities`.
        thorough: read every id, not only the pages that show a change.
        tags: also compare the records of each tag, and read again those that differ.
        force: mark any number of records.
        watch: called with the context whenever there is progress.

    Raises:
        ConfigurationError, NothingSynced, Busy: nothing was read or written.
    """
    chosen = choose(settings, names)
    target.require_exists()
    with opened("sweep", settings, target, None, watch) as runner:
        runner.require_synced()
        runner.context.chosen, catalog = chosen, runner.context.catalog
        with runner.attempt():
            runner.check_account()
            find_objects(runner.context, chosen, request=False)
            last_sweeps, requests = last_success(runner.pipeline, "sweep"), dict[str, ReadRequest]()
            with history.maintained(runner):
                for name in sorted(catalog.with_objects(chosen), key=lambda name: last_sweeps.get(name, NEVER)):
                    request = _Sweep(runner, catalog.entity(name), thorough, tags, force).run()
                    if request is not None:
                        requests[name] = request
                _read_again(runner, requests)
        return runner.report(chosen, names)


def not_verifiable(runner: Runner, entity: Entity) -> str | None:
    """Why an entity's table cannot be compared with the API; None where it can."""
    state, until_done = runner.states().get(entity.name, {}), "run insightly sync until it is done"
    if entity.read == "per_parent":
        until_done = f"run insightly sync {entity.name} until it is done"
    complete = "ended" in state if entity.read == "per_parent" else "start_date" in state or not entity.swept
    if not runner.dataset.table_exists(entity.name) or not complete:
        return f"not loaded completely yet: {until_done}"
    if entity.swept and state.get("mask", "") != runner.context.settings.privacy.mask(entity).fingerprint:
        return f"loaded before sources.insightly.hash or drop changed: {until_done}"
    parts = (part for part in walk_states(state) if "again" in part and "start_date" in part)
    if any(earlier(part["again"]["since"], part["start_date"]) for part in parts):
        return f"being loaded from an earlier start_date: {until_done}"
    return None


class _Sweep:
    def __init__(self, runner: Runner, entity: Entity, thorough: bool, tags: bool, force: bool) -> None:
        self.runner, self.entity = runner, entity
        self.context = runner.context
        self.thorough, self.tags, self.force = thorough, tags, force

    def run(self) -> ReadRequest | None:
        """Sweeps the entity; returns which of its records are to be read again, if any."""
        with self.context.reading(self.entity.name) as result:
            if self.entity.name == RECORDS:
                result.state, result.reason = "ok", "each custom object has a sweep of its own"
                return None
            result.watermark = result.watermark_before = self.runner.watermark(self.entity)
            if (reason := not_verifiable(self.runner, self.entity)) is not None:
                result.state, result.reason = "skipped", reason
                return None
            request = None
            if self.entity.read == "per_parent":
                sweep_children(self.runner, self.entity, result, self.force)
            elif self.entity.swept:
                request = self._compare(result)
            elif self.force:
                request = replace(self.context.request, force=True)
            else:
                result.reason = "each sync writes the whole list: nothing is left to sweep"
            result.state = "ok"
            return request
        return None

    def _compare(self, result: EntityResult) -> ReadRequest | None:
        since = self.runner.states()[self.entity.name]["start_date"]
        found = deletions.differences(self.runner, self.entity, since, self.thorough)
        confirmed = deletions.confirm_and_mark(self.runner, self.entity, found, self.force)
        result.rows = found.listed
        if orphans := self.runner.dataset.remove_orphans(self.entity):
            are = "is" if orphans == 1 else "are"
            result.notes.append(f"{plural(orphans, 'child row')} without a parent row {are} removed")
        if confirmed.stop is not None:
            raise confirmed.stop
        key = self.entity.key[0]
        newer = {row[key] for row in found.unknown if is_newer(row, result.watermark)}
        changed = {row[key] for row in found.unknown} - newer
        if self.tags and self.entity.tagged:
            changed |= self._differently_tagged(result)
        if changed:
            result.notes.append(f"{plural(len(changed), 'record is', 'records are')} read again")
            request = self._cheapest(changed, found)
            if newer and not request.full:
                count = plural(len(newer), "record is", "records are")
                result.notes.append(f"{count} newer than the last sync: the next one reads them")
            return request
        if newer:
            # One search finds them all, as a sync would.
            result.notes.append(f"{plural(len(newer), 'record is', 'records are')} newer than the last sync: read now")
            return self.context.request
        return None

    def _cheapest(self, changed: set[int], found: Differences) -> ReadRequest:
        """Reads the records by the fewest calls: one per record, or the whole list."""
        request, pages = self.context.request, len(grid(found.known + len(changed), top_of(self.context)))
        if self.entity.get is not None and len(changed) <= max(READ_EACH, pages):
            return replace(request, ids=tuple(sorted(changed)))
        return replace(request, full=True)

    def _differently_tagged(self, result: EntityResult) -> set[int]:
        """The ids of live records whose tags differ between API and destination."""
        if self.context.settings.tags == "off":
            result.notes.append("its tags are not compared: sources.insightly.tags is 'off'")
            return set()
        mask, table = self.context.settings.privacy.mask(self.entity), child_table(self.entity, "TAGS")
        if mask.drops(table, "TAG_NAME"):
            result.notes.append(f"its tags are not compared: {table}.tag_name is in sources.insightly.drop")
            return set()
        key, column = self.entity.key[0], self.runner.dataset.normalize(self.entity.key[0])
        loaded = defaultdict[str, set[int]](set)
        for row in self.runner.dataset.rows(table):
            loaded[row["tag_name"]].add(row[column])
        try:
            pages = read_pages(page_reader(self.context, ENTITIES["tags"], record_type=self.entity.name), "TAG_NAME")
            tags = sorted({str(row["TAG_NAME"]) for rows in pages for row in rows})
        except NotAvailable as error:
            result.notes.append(f"its tags cannot be listed: {error}")
            return set()
        stored = {tag: mask.masked_value(table, "TAG_NAME", tag) for tag in tags}
        different = {id_ for tag in loaded.keys() - stored.values() for id_ in loaded[tag]}
        for batch in chunks(tags, self.context.settings.max_connections):
            readers = {tag: tagged_with(self.context, self.entity, tag) for tag in batch}
            for reader in readers.values():
                reader.prime(0)
            for tag, reader in readers.items():
                listed = {row[key] for rows in read_pages(reader, key) for row in rows}
                different |= listed ^ loaded.get(stored[tag], set())
        return different & set(self.runner.dataset.live_ids(self.entity))


def _read_again(runner: Runner, requests: dict[str, ReadRequest]) -> None:
    """Reads records again; their results continue those of the sweep, whose rows are the listed ids."""
    if not requests:
        return
    results = {name: runner.context.result(name) for name in requests}
    listed = {name: result.rows for name, result in results.items()}
    for result in results.values():
        result.reopen()
    try:
        runner.read(requests)
        runner.dataset.record_restored()
    finally:
        for name, result in results.items():
            result.rows = listed[name]


def is_newer(record: Record, watermark: str | None) -> bool:
    """True where the next sync reads the record anyway."""
    updated = parse_api(record.get(DATE_UPDATED))
    return bool(watermark and updated is not None and updated > parse(watermark))
