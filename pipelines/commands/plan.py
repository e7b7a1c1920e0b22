"""Estimates the calls of a sync or a sweep, with about one call per entity. Nothing is loaded."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from pipelines.destinations.pipeline_state import custom_objects, resource_states
from pipelines.destinations.target import Target
from pipelines.engine.report import EntityReport, Report
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext, choose, named_entities
from sources.insightly.entities import ENTITIES, OBJECTS, RECORDS, Entity
from sources.insightly.errors import BadCredentials, NotAvailable, Stop
from sources.insightly.paging.probe import grid
from sources.insightly.resources.build import checkpoint_in
from sources.insightly.resources.discovery import find_objects, refresh_catalog
from sources.insightly.resources.fetch import page_reader, pages_at, parent_of, read_pages, top_of, total_of
from sources.insightly.resources.hints import GROUPS
from sources.insightly.resources.per_parent import parent_checkpoint
from sources.insightly.resources.reference import calls_of
from sources.insightly.state.checkpoint import Checkpoint, resume_full
from sources.insightly.state.request import ReadRequest

State = dict[str, Any]
Cost = Callable[[Entity, SyncContext, State, ReadRequest], EntityReport]


def plan(settings: InsightlySettings, target: Target, names: Sequence[str], request: ReadRequest) -> Report:
    """Estimates the pages, calls and seconds of a sync.

    Args:
        settings: validated settings.
        target: where the sync would write.
        names: entities or presets; none for the setting `entities`.
        request: the request of the sync.

    Returns:
        A report whose entities have `total` (records to read), `pages`, and `calls` that the sync would send.
    """
    return _plan("sync", settings, target, names, request, _sync_cost)


def plan_sweep(settings: InsightlySettings, target: Target, names: Sequence[str], tags: bool) -> Report:
    """Estimates the most pages, calls and seconds of a sweep, without the calls that confirm or reload records.

    Args:
        settings: validated settings.
        target: what to sweep.
        names: entities or presets; none for the setting `entities`.
        tags: whether the sweep compares tags.

    Returns:
        A report whose entities have `total` (records listed), `pages` and `calls`.
    """
    return _plan("sweep", settings, target, names, ReadRequest(), _tag_sweep_cost if tags else _sweep_cost)


def add_estimate(report: Report, context: SyncContext) -> None:
    """Adds the calls and seconds that the command would take, and the calls that the plan itself took."""
    calls = sum(entity.calls for entity in report.entities.values())
    report.add_costs(context)
    report.facts = {"plan": {"calls": calls, "seconds": context.settings.seconds_for(calls)}}


def _plan(
    command: str, settings: InsightlySettings, target: Target, names: Sequence[str], request: ReadRequest, cost: Cost
) -> Report:
    with closing(SyncContext(settings, request, tolerant=True)) as context:
        chosen, states = choose(settings, names), _states(target, context)
        for name, state in states.items():
            context.record_earlier_read(name, state)
        report, refused = Report(command), None
        with suppress(BadCredentials):  # the first entity reports it
            find_objects(context, chosen, request=command == "sync")
            if command == "sync" and RECORDS in chosen:
                refresh_catalog(context)
        every = context.catalog.with_objects(chosen)
        requests = dict.fromkeys(every, context.request) | resume_full(context.request, states, every)
        for name, entity_request in requests.items():
            result = context.result(name)
            try:
                if result.open:
                    with context.reading(name):
                        report.entities[name] = cost(
                            context.catalog.entity(name), context, states.get(name, {}), entity_request
                        )
                        result.state = "ok"
            except BadCredentials as error:
                refused = error
            if result.error is not None or name not in report.entities:
                calls = int(name == RECORDS and OBJECTS not in chosen and result.error is None)
                facts = {"pages": 0, "total": None}
                report.entities[name] = EntityReport(
                    result.state or "failed", result.reason, calls=calls, lost=result.lost, facts=facts
                )
            if refused is not None:
                break
        stops = [result.error for result in context.results.values() if isinstance(result.error, Stop)]
        report.conclude(refused, stops, named_entities(names), context.budget.by_label)
        add_estimate(report, context)
    return report


def _states(target: Target, context: SyncContext) -> Mapping[str, State]:
    """The state of each entity in the destination; its custom objects are added to the context."""
    if not target.exists():
        return {}
    with target.reading() as pipeline:
        context.catalog.add(custom_objects(pipeline))
        return resource_states(pipeline)


def pages_of(total: int, top: int) -> int:
    """The number of pages of a walk over `total` rows: pages overlap by one row, and the last page is short.

    >>> pages_of(10_000, 500), pages_of(500, 500), pages_of(0, 500)
    (21, 2, 1)
    """
    return 1 if total < top else (total - top) // (top - 1) + 2


def _sync_cost(entity: Entity, context: SyncContext, state: State, request: ReadRequest) -> EntityReport:
    if entity.read == "per_parent":
        return _child_sync_cost(entity, context, state, context.request_for(entity, request))
    top = top_of(context)
    if entity.name in GROUPS or not entity.paged:
        pages = calls_of(entity, context)
        return EntityReport("ok", calls=pages, facts={"pages": pages, "total": None})
    since, skip = None, 0
    if entity.swept:
        checkpoint = checkpoint_in(entity, state, request, context)
        since, skip = checkpoint.since, checkpoint.skip
    total = total_of(context, entity, since)
    remaining = max(total - skip, 0)
    pages = pages_of(remaining, top)
    tag_calls = remaining if context.settings.tags == "endpoint" and entity.tagged else 0
    definition_calls = 1 if entity.custom_fields and remaining else 0
    return EntityReport("ok", calls=pages + tag_calls + definition_calls, facts={"pages": pages, "total": total})


def _child_sync_cost(entity: Entity, context: SyncContext, state: State, request: ReadRequest) -> EntityReport:
    """The pages of the parents to read, and a call for each of these parents."""
    parts = state.get("parents", {})
    remaining: dict[str, int] = {}
    refused: list[NotAvailable] = []
    for parent in entity.read_parents:
        checkpoint = parent_checkpoint(parent, parts.get(parent, {}), request)
        try:
            remaining[parent] = _remaining_parents(parent_of(entity, parent), context, checkpoint)
        except NotAvailable as error:
            refused.append(error)
    if not remaining:
        raise refused[0]
    pages, total = sum(pages_of(count, top_of(context)) for count in remaining.values()), sum(remaining.values())
    notes = ["a call for each record: " + ", ".join(f"{count:,} {parent}" for parent, count in remaining.items())]
    notes += [f"not available: {error}" for error in refused]
    facts = {"pages": pages, "total": total, "parents": remaining}
    return EntityReport("ok", calls=pages + total, schema_changes=notes, facts=facts)


def _remaining_parents(parent: Entity, context: SyncContext, checkpoint: Checkpoint) -> int:
    """How many records a walk from a checkpoint on will read; takes one call."""
    if checkpoint.last_id is None:
        return total_of(context, parent, checkpoint.since)
    (page,) = pages_at(context, parent, checkpoint.since, top_of(context), brief=True)([checkpoint.skip])
    on_page = len([row for row in page.rows if row[parent.key[0]] > checkpoint.last_id])
    return on_page + max((page.total or 0) - checkpoint.skip - len(page.rows), 0)


def _sweep_cost(entity: Entity, context: SyncContext, state: State, _: ReadRequest) -> EntityReport:
    if entity.read == "per_parent":
        parts = {name: part for name, part in state.get("parents", {}).items() if "start_date" in part}
        totals = [total_of(context, parent_of(entity, name), part["start_date"]) for name, part in parts.items()]
        pages = sum(pages_of(total, top_of(context)) for total in totals)
        return EntityReport("ok", calls=pages, facts={"pages": pages, "total": sum(totals)})
    if not entity.swept or "start_date" not in state:
        return EntityReport("ok", facts={"pages": 0, "total": None})
    total = total_of(context, entity, state["start_date"])
    pages = len(grid(total, top_of(context)))
    return EntityReport("ok", calls=pages, facts={"pages": pages, "total": total})


def _tag_sweep_cost(entity: Entity, context: SyncContext, state: State, request: ReadRequest) -> EntityReport:
    report = _sweep_cost(entity, context, state, request)
    if entity.tagged and report.calls and context.settings.tags != "off":
        reader = page_reader(context, ENTITIES["tags"], record_type=entity.name)
        report.calls += 1 + sum(map(len, read_pages(reader, "TAG_NAME")))
    return report
