"""One record, or a few: read again by id, or found by a field's value, without moving a watermark."""

from collections.abc import Sequence
from dataclasses import dataclass

from dlt.common.normalizers.naming.snake_case import NamingConvention

from pipelines.destinations.target import Target
from pipelines.engine import deletions, history
from pipelines.engine.report import EntityReport, Report
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.api.search import Search, SearchFilter, parse_filter
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext, choose
from sources.insightly.entities import RECORDS, Entity
from sources.insightly.errors import BadSetting, MalformedResponse, NotAvailable, Stop
from sources.insightly.resources.discovery import find
from sources.insightly.resources.fetch import first_of, read_definitions, top_of, total_of
from sources.insightly.rows.naming import DELETED_AT
from sources.insightly.state.request import ReadRequest

from .plan import add_estimate, pages_of

NAMED = 20
"""Ids that a message names."""


@dataclass(frozen=True)
class Request:
    """Records of one entity, named `name`: by `ids`, or by `where` (`FIELD=VALUE`)."""

    name: str
    ids: tuple[int, ...] = ()
    where: str | None = None


def selection(
    settings: InsightlySettings,
    names: Sequence[str],
    ids: Sequence[str] | None,
    where: Sequence[str] | None,
    request: ReadRequest,
) -> Request:
    """What the command's arguments ask for.

    Args:
        settings: validated settings.
        names: the entities named.
        ids, where: what `--id` and `--where` were given.
        request: what else is asked for.

    Raises:
        BadSetting: it cannot be had; nothing was sent.
    """
    option, given = ("--id", " ".join(ids)) if ids is not None else ("--where", " ".join(where or ()))
    if ids is not None and where is not None:
        raise BadSetting("--id", given, "cannot go with --where: give one of them")
    if request.full or request.since is not None:
        raise BadSetting(option, given, "cannot go with --full or --since: it reads these records alone")
    chosen = choose(settings, names)
    if len(names) != 1 or len(chosen) != 1 or chosen[0] == RECORDS:
        raise BadSetting(option, given, f"needs one entity by name, as: insightly sync contacts {option} ...")
    entity = SyncContext(settings).entity(chosen[0])
    if entity.read == "per_parent":
        again = "--since DATE or --full reads them again"
        raise BadSetting(option, given, f"{entity.name} are read under other records, not by themselves: {again}")
    if ids is not None:
        return Request(entity.name, _ids(entity, ids, given))
    if entity.search_path is None:
        raise BadSetting(option, given, f"the API has no search for {entity.name}")
    if where is None or len(where) != 1:
        raise BadSetting(option, given, "can be given once: the API searches by one field")
    return Request(entity.name, where=where[0])


def refresh(settings: InsightlySettings, target: Target, asked: Request, watch: Watch | None = None) -> Report:
    """Reads the records, merges them with their child rows, and marks those that are gone.

    Args:
        settings: validated settings; `deletions` says whether rows are marked or removed.
        target: where to write.
        asked: which records.
        watch: called with the context whenever there is progress.

    Returns:
        The report of a sync. Its entity also has `gone` (404: marked now), `not_held` (404: no live row here),
        `hidden` (403) and `not_read` (the calls did not suffice), all of them ids.

    Raises:
        ConfigurationError, Busy: nothing was written.
    """
    name = asked.name
    # In `_sync_runs` it is no sync: that would tell of a freshness that is not there.
    with opened("refresh", settings, target, None, watch) as runner:
        told: dict[str, list[int]] = {"gone": [], "not_held": [], "hidden": [], "not_read": []}

        def work() -> None:
            find(runner.context, [name])
            entity = runner.context.entity(name)
            if asked.where is None:
                runner.context.wanted[name] = list(asked.ids)
            elif runner.context.result(name).open:
                runner.context.searches[name] = Search(_match(entity, asked.where, runner.context))
            with history.maintained(runner):
                runner.read([name])
                runner.dataset.record_restored()
                _settle(runner, entity, told)

        error = runner.attempt(work)
        runner.discard_uncommitted([name])
        if error is not None:
            told["not_read"] = list(asked.ids)
        if told["not_read"]:
            runner.context.result(name).notes.append(f"not read yet: {_some(told['not_read'])}")
        report = runner.report([name], [name], error, lambda report: report.entities[name].facts.update(told))
    report.command = "sync"
    return report


def plan(settings: InsightlySettings, asked: Request) -> Report:
    """Pages, calls and seconds of the refresh; ids cost nothing to plan, a search one call or two.

    Returns:
        A report as that of a sync's plan.
    """
    context, name, report = SyncContext(settings, tolerant=True), asked.name, Report("sync")
    try:
        find(context, [name])
        result = context.result(name)
        if result.open:
            with context.reading(name):
                report.entities[name] = _price(asked, context.entity(name), context)
                result.state = "ok"
        if result.error is not None:
            facts = {"pages": 0, "total": None}
            report.entities[name] = EntityReport(result.state or "failed", result.reason, facts=facts)
        report.conclude(None, [result.error] if isinstance(result.error, Stop) else [], {name})
        add_estimate(report, context)
        return report
    finally:
        context.close()


def _ids(entity: Entity, ids: Sequence[str], given: str) -> tuple[int, ...]:
    key = entity.fields.get(entity.key[0])
    if entity.get is None or not entity.get.endswith("/{id}") or key is None or key.type != "integer":
        raise BadSetting("--id", given, f"the API gives no single record of {entity.name}")
    for id_ in ids:
        if not (id_.isascii() and id_.isdigit() and 0 < int(id_) < 2**63):
            raise BadSetting("--id", id_, f"must be the {key.name} of a record, a whole number")
    return tuple(dict.fromkeys(map(int, ids)))


def _match(entity: Entity, where: str, context: SyncContext) -> SearchFilter:
    return parse_filter(entity, where, NamingConvention().normalize_path, lambda: read_definitions(context, entity))


def _settle(runner: Runner, entity: Entity, told: dict[str, list[int]]) -> None:
    """Marks what answered with 404, and tells what answered with 403."""
    context, result, name = runner.context, runner.context.result(entity.name), entity.name
    told["hidden"], told["not_read"] = result.hidden, context.wanted.get(name, [])
    live = _live(runner, entity, result.gone)
    before, result.state = result.state, None
    with context.reading(name):
        if live:
            try:
                total_of(context, entity, None)  # a plan without these records answers with 404 to each of them
            except (Stop, NotAvailable):
                told["not_read"] = sorted([*told["not_read"], *result.gone])
                raise
            deletions.mark(runner, entity, dict.fromkeys(live, "deleted"))
        result.deleted, told["gone"] = len(live), live
        told["not_held"] = [id_ for id_ in result.gone if id_ not in live]
        result.state = before
    if told["not_held"]:
        result.notes.append(f"not at the API (404), and no live row here: {_some(told['not_held'])}")
    if result.hidden and result.state == "ok":
        result.state = "failed"
        ids = f"{entity.key[0]} {_some(result.hidden)}"
        result.reason = f"this key may not read (403) {ids}: their rows stay as they are"


def _live(runner: Runner, entity: Entity, ids: Sequence[int]) -> list[int]:
    if not ids or not runner.dataset.table_exists(entity.name):
        return []
    key = runner.dataset.normalize(entity.key[0])
    held = {row[key] for row in runner.dataset.rows_by_id(entity, entity.name, ids) if row.get(DELETED_AT) is None}
    return [id_ for id_ in ids if id_ in held]


def _price(asked: Request, entity: Entity, context: SyncContext) -> EntityReport:
    total, pages = len(asked.ids), 0
    calls = total
    if asked.where is not None:
        match = _match(entity, asked.where, context)
        total, first = first_of(context, entity, match)
        if not all(map(match.matches, first)):
            raise MalformedResponse(f"GET /{entity.search_path}: the API did not filter by {match.field}")
        calls = pages = pages_of(total, top_of(context))
    calls += 1 if entity.custom_fields and total else 0
    calls += total if entity.tagged and context.settings.tags == "endpoint" else 0
    return EntityReport("ok", calls=calls, facts={"pages": pages, "total": total})


def _some(ids: Sequence[int]) -> str:
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(map(str, ids[:NAMED])) + more
