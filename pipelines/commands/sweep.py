"""The sweep: what went away at the API is marked here, what came back is read again, and tags are made true."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice

from pipelines.destinations.target import Target
from pipelines.engine import deletions, history
from pipelines.engine.report import Report
from pipelines.engine.run_log import last_success
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import choose, with_settings
from sources.insightly.entities import DATE_UPDATED, ENTITIES, RECORDS, Entity
from sources.insightly.errors import NotAvailable
from sources.insightly.paging.prefetch import read_list
from sources.insightly.paging.probe import Differences, grid
from sources.insightly.paging.walk import Row
from sources.insightly.resources.discovery import find
from sources.insightly.resources.fetch import page_reader, tagged_with, top_of
from sources.insightly.result import EntityResult
from sources.insightly.rows.naming import child_table
from sources.insightly.state.request import ReadRequest
from sources.insightly.state.times import earlier, parse

from .sweep_children import sweep_children

NEVER = datetime.min.replace(tzinfo=UTC)
FEW = 20
"""Records up to which reading each by a call of its own is not weighed against reading the list."""


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
    """Finds deleted records by comparing ids, over the set that syncs read.

    Args:
        settings: validated settings; `deletions` says whether rows are marked or removed.
        target: what to sweep.
        names: entities or presets; none for the setting `entities`.
        thorough: read every id, not only the pages that tell of a change.
        tags: also compare the records of each tag, and read again those that differ.
        force: mark however many are gone.
        watch: called with the context whenever there is progress.

    Raises:
        ConfigurationError, NothingSynced, Busy: nothing was read or written.
    """
    chosen = choose(settings, names)
    target.require_exists()
    with opened("sweep", settings, target, None, watch) as runner:
        runner.require_synced()

        def work() -> None:
            find(runner.context, chosen, ask=False)
            done = last_success(runner.pipeline, "sweep")
            with history.maintained(runner):
                for name in sorted(runner.context.with_objects(chosen), key=lambda name: done.get(name, NEVER)):
                    _Sweep(runner, runner.context.entity(name), thorough, tags, force).run()
                _read_again(runner)

        return runner.report(chosen, names, runner.attempt(work))


def not_verifiable(runner: Runner, entity: Entity) -> str | None:
    """Why an entity's table is not to be compared with the API; None where it is."""
    state, until_done = runner.states().get(entity.name, {}), "run insightly sync until it is done"
    if entity.read == "per_parent":
        until_done = f"run insightly sync {entity.name} until it is done"
    complete = "ended" in state if entity.read == "per_parent" else "start_date" in state or not entity.swept
    if not runner.dataset.table_exists(entity.name) or not complete:
        return f"not loaded completely yet: {until_done}"
    if entity.swept and state.get("mask", "") != runner.context.request_of(entity.name).mask:
        return f"loaded before sources.insightly.hash or drop changed: {until_done}"
    parts = (part for part in (state, *state.get("under", {}).values()) if "again" in part and "start_date" in part)
    if any(earlier(part["again"]["since"], part["start_date"]) for part in parts):
        return f"being loaded from an earlier start_date: {until_done}"
    return None


class _Sweep:
    """The sweep of one entity; what is to be read again is left in the session."""

    def __init__(self, runner: Runner, entity: Entity, thorough: bool, tags: bool, force: bool) -> None:
        self.runner, self.entity = runner, entity
        self.context = runner.context
        self.thorough, self.tags, self.force = thorough, tags, force

    def run(self) -> None:
        with self.context.reading(self.entity.name) as result:
            if self.entity.name == RECORDS:
                result.state, result.reason = "ok", "each custom object has a sweep of its own"
                return
            if not self.entity.swept:
                result.state, result.reason = "ok", "each sync writes the whole list: nothing is left to sweep"
                return
            result.watermark = result.watermark_before = self.runner.watermark(self.entity)
            if (reason := not_verifiable(self.runner, self.entity)) is not None:
                result.state, result.reason = "skipped", reason
                return
            if self.entity.read == "per_parent":
                sweep_children(self.runner, self.entity, result, self.force)
            else:
                self._compare(result)
            result.state = "ok"

    def _compare(self, result: EntityResult) -> None:
        since = self.runner.states()[self.entity.name]["start_date"]
        found = deletions.differences(self.runner, self.entity, since, self.thorough)
        confirmed = deletions.confirm_and_mark(self.runner, self.entity, found, self.force)
        result.rows, result.deleted = found.listed, len(confirmed.gone)
        result.notes += confirmed.notes
        if orphans := self.runner.dataset.remove_orphans(self.entity):
            result.notes.append(f"{orphans:,} child rows of records that are not held are removed")
        if confirmed.stop is not None:
            raise confirmed.stop
        again = {row[self.entity.key[0]] for row in found.unknown}
        if self.tags and self.entity.tagged:
            again |= self._differently_tagged(result)
        self._ask_for(again, found, result)

    def _ask_for(self, again: set[int], found: Differences, result: EntityResult) -> None:
        """Has records read again by the fewest calls: one a record, or what changed, or the whole list."""
        if not again:
            return
        result.notes.append(f"{len(again):,} records are read again")
        name, pages = self.entity.name, len(grid(found.known + len(again), top_of(self.context)))
        if len(again) <= max(FEW, pages):
            self.context.wanted[name] = sorted(again)
        elif len(again) == len(found.unknown) and all(_is_newer(row, result.watermark) for row in found.unknown):
            self.context.requests[name] = with_settings(ReadRequest(), self.context.settings)
        else:
            self.context.requests[name] = with_settings(ReadRequest(full=True), self.context.settings)

    def _differently_tagged(self, result: EntityResult) -> set[int]:
        """The ids of live records that carry other tags at the API than here."""
        if self.context.settings.tags == "off":
            result.notes.append("its tags are not compared: sources.insightly.tags is 'off'")
            return set()
        mask, table = self.context.mask(self.entity), child_table(self.entity, "TAGS")
        if mask.drops(table, "TAG_NAME"):
            result.notes.append(f"its tags are not compared: {table}.tag_name is in sources.insightly.drop")
            return set()
        here, key = self._tagged_here(), self.entity.key[0]
        live = set(self.runner.dataset.live_ids(self.entity))
        try:
            told = read_list(page_reader(self.context, ENTITIES["tags"], variant=self.entity.name), "TAG_NAME")
            names = {str(row["TAG_NAME"]) for step in told for row in step.rows}
        except NotAvailable as error:
            result.notes.append(f"its tags may not be listed: {error}")
            return set()
        stored = {tag: mask.masked_value(table, "TAG_NAME", tag) for tag in names}
        different = {id_ for tag in here.keys() - stored.values() for id_ in here[tag]}
        for some in _batches(sorted(names), self.context.settings.max_connections):
            readers = {tag: tagged_with(self.context, self.entity, tag) for tag in some}
            for reader in readers.values():
                reader.prime(0)
            for tag, reader in readers.items():
                there = {row[key] for step in read_list(reader, key) for row in step.rows}
                different |= there ^ here.get(stored[tag], set())
        return different & live

    def _tagged_here(self) -> dict[str, set[int]]:
        key, here = self.runner.dataset.normalize(self.entity.key[0]), dict[str, set[int]]()
        for row in self.runner.dataset.all_rows(child_table(self.entity, "TAGS")):
            here.setdefault(row["tag_name"], set()).add(row[key])
        return here


def _read_again(runner: Runner) -> None:
    """Reads what the sweeps left in the session; the outcomes of both are told as one."""
    context = runner.context
    names = [*context.wanted, *context.requests]
    if not names:
        return
    swept = {name: context.results.pop(name) for name in names}
    try:
        runner.read(names)
        runner.dataset.record_restored()
    finally:
        for name, before in swept.items():
            after = context.result(name)
            after.deleted, after.notes = before.deleted, [*before.notes, *after.notes]
            after.seconds += before.seconds
            after.rows = before.rows


def _is_newer(row: Row, watermark: str | None) -> bool:
    """True where the next sync would read the record anyway."""
    stamp = row.get(DATE_UPDATED)
    return bool(watermark and isinstance(stamp, str) and parse(stamp) > parse(watermark))


def _batches(names: Iterable[str], size: int) -> Iterable[list[str]]:
    rest = iter(names)
    while some := list(islice(rest, size)):
        yield some
