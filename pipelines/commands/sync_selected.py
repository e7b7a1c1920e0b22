"""Reads single records, by id or by the value of a field, without moving a watermark."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from pipelines.destinations.target import Target
from pipelines.engine import deletions, history
from pipelines.engine.report import EntityReport, Report
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.catalog import Catalog
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext, choose
from sources.insightly.entities import RECORDS, Entity
from sources.insightly.errors import BadSetting, MalformedResponse, NotAvailable, Stop, listing
from sources.insightly.resources.discovery import find_objects
from sources.insightly.resources.fetch import first_of, top_of, total_of
from sources.insightly.resources.selected import search_filter
from sources.insightly.result import EntityResult
from sources.insightly.rows.naming import DELETED_AT
from sources.insightly.state.request import ReadRequest

from .plan import add_estimate, pages_of

MAX_LISTED = 20
"""Ids that a message lists."""


@dataclass(frozen=True)
class Selection:
    """Records of the entity `name`: by `ids`, or by `where` (`FIELD=VALUE`)."""

    name: str
    ids: tuple[int, ...] = ()
    where: str | None = None


def selection(
    settings: InsightlySettings,
    names: Sequence[str],
    ids: Sequence[str] | None,
    where: Sequence[str] | None,
    request: ReadRequest,
) -> Selection:
    """The records that the command's arguments select.

    Args:
        settings: validated settings.
        names: the entities named.
        ids, where: the values of `--id` and `--where`.
        request: what else is requested.

    Raises:
        BadSetting: the arguments contradict each other, or the API cannot do it; nothing was sent.
    """
    option, value = ("--id", " ".join(ids)) if ids is not None else ("--where", " ".join(where or ()))
    if ids is not None and where is not None:
        raise BadSetting("--id", value, "cannot go with --where: use one of them")
    if request.full or request.since is not None:
        raise BadSetting(option, value, "cannot go with --full or --since: it reads only these records")
    chosen = choose(settings, names)
    if len(names) != 1 or len(chosen) != 1 or chosen[0] == RECORDS:
        raise BadSetting(option, value, f"needs one entity by name, as: insightly sync contacts {option} ...")
    entity = Catalog().entity(chosen[0])
    if entity.read == "per_parent":
        again = "--since DATE or --full reads them again"
        raise BadSetting(option, value, f"{entity.name} are read under other records, not by themselves: {again}")
    if ids is not None:
        return Selection(entity.name, _parse_ids(entity, ids, value))
    if entity.search_path is None:
        raise BadSetting(option, value, f"the API has no search for {entity.name}")
    if where is None or len(where) != 1:
        raise BadSetting(option, value, "can be given once: the API searches by one field")
    return Selection(entity.name, where=where[0])


def sync_selected(
    settings: InsightlySettings, target: Target, selected: Selection, watch: Watch | None = None
) -> Report:
    """Reads the records, merges them with their child rows, and marks those that are gone.

    Args:
        settings: validated settings; `deletions` says whether rows are marked or removed.
        target: where to write.
        selected: which records.
        watch: called with the context whenever there is progress.

    Returns:
        The report of a sync. Its entity also has lists of ids: `gone` (404, marked now), `not_loaded` (404, no live row
        in the destination), `hidden` (403) and `not_read` (not enough calls).

    Raises:
        ConfigurationError, Busy: nothing was written.
    """
    name, facts = selected.name, dict[str, list[int]](gone=[], not_loaded=[], hidden=[], not_read=[])
    # `_sync_runs` has it as no sync, since the other records of the table are no fresher than before.
    with opened("refresh", settings, target, None, watch) as runner:
        context = runner.context
        with runner.attempt():
            runner.check_account()
            find_objects(context, [name])
            entity, request = context.catalog.entity(name), context.request
            if selected.where is None:
                request = replace(request, ids=selected.ids)
            elif context.result(name).open:
                request = replace(request, search=search_filter(context, entity, selected.where))
            with history.maintained(runner):
                result = runner.read({name: request})[name]
                runner.dataset.record_restored()
                facts["not_read"] = list(selected.ids) if result.not_read is None else result.not_read
                _mark_gone(runner, entity, result, facts)
        if runner.error is not None:
            facts["not_read"] = list(selected.ids)
        if facts["not_read"]:
            context.result(name).notes.append(f"not read yet: {listing(facts['not_read'], MAX_LISTED)}")
        report = runner.report([name], [name], lambda report: report.entities[name].facts.update(facts))
    report.command = "sync"
    return report


def plan(settings: InsightlySettings, selected: Selection) -> Report:
    """Pages, calls and seconds of the read. Planning ids takes no calls; planning a search takes one or two.

    Returns:
        A report like that of a sync's plan.
    """
    name, report = selected.name, Report("sync")
    with closing(SyncContext(settings, tolerant=True)) as context:
        find_objects(context, [name])
        result = context.result(name)
        if result.open:
            with context.reading(name):
                report.entities[name] = _estimate(selected, context.catalog.entity(name), context)
                result.state = "ok"
        if result.error is not None:
            facts = {"pages": 0, "total": None}
            report.entities[name] = EntityReport(result.state or "failed", result.reason, facts=facts)
        report.conclude(None, [result.error] if isinstance(result.error, Stop) else [], {name})
        add_estimate(report, context)
    return report


def _parse_ids(entity: Entity, ids: Sequence[str], value: str) -> tuple[int, ...]:
    key = entity.fields.get(entity.key[0])
    if entity.get is None or not entity.get.endswith("/{id}") or key is None or key.type != "integer":
        raise BadSetting("--id", value, f"the API gives no single record of {entity.name}")
    for id_ in ids:
        if not (id_.isascii() and id_.isdigit() and 0 < int(id_) < 2**63):
            raise BadSetting("--id", id_, f"must be the {key.name} of a record, a whole number")
    return tuple(dict.fromkeys(map(int, ids)))


def _mark_gone(runner: Runner, entity: Entity, result: EntityResult, facts: dict[str, list[int]]) -> None:
    """Marks the records that were answered with 404, and reports those answered with 403."""
    context, facts["hidden"], live = runner.context, result.hidden, _live(runner, entity, result.gone)
    before, result.state = result.state, None
    with context.reading(entity.name):
        if live:
            try:
                total_of(context, entity, None)  # a subscription without these records answers each with 404
            except (Stop, NotAvailable):
                facts["not_read"] = sorted([*facts["not_read"], *result.gone])
                raise
            deletions.mark(runner, entity, dict.fromkeys(live, "deleted"))
        result.deleted, facts["gone"] = len(live), live
        facts["not_loaded"] = [id_ for id_ in result.gone if id_ not in live]
        result.state = before
    if facts["not_loaded"]:
        result.notes.append(
            f"neither in the API (404) nor a live row of the table: {listing(facts['not_loaded'], MAX_LISTED)}"
        )
    if result.hidden and result.state == "ok":
        result.state = "failed"
        ids = f"{entity.key[0]} {listing(result.hidden, MAX_LISTED)}"
        result.reason = f"this key may not read (403) {ids}: their rows stay as they are"


def _live(runner: Runner, entity: Entity, ids: Sequence[int]) -> list[int]:
    if not ids or not runner.dataset.table_exists(entity.name):
        return []
    key = runner.dataset.normalize(entity.key[0])
    rows = runner.dataset.rows_by_id(entity, entity.name, ids)
    live = {row[key] for row in rows if row.get(DELETED_AT) is None}
    return [id_ for id_ in ids if id_ in live]


def _estimate(selected: Selection, entity: Entity, context: SyncContext) -> EntityReport:
    total, pages = len(selected.ids), 0
    calls = total
    if selected.where is not None:
        search = search_filter(context, entity, selected.where)
        total, first = first_of(context, entity, search)
        if not all(map(search.matches, first)):
            raise MalformedResponse(f"GET /{entity.search_path}: the API did not filter by {search.field}")
        calls = pages = pages_of(total, top_of(context))
    calls += 1 if entity.custom_fields and total else 0
    calls += total if entity.tagged and context.settings.tags == "endpoint" else 0
    return EntityReport("ok", calls=calls, facts={"pages": pages, "total": total})
