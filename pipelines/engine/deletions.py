"""Deleted records: found by comparing ids, confirmed at the API, then marked."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.destinations.system_tables import ensure_table
from sources.insightly.entities import Entity
from sources.insightly.errors import ImplausibleDeletion, NotAvailable, NotFound, Stop, Unsorted, plural
from sources.insightly.paging.probe import Differences, compare, probe
from sources.insightly.resources.fetch import page_reader, pages_at, read_pages, records_of, top_of
from sources.insightly.state.missing import is_plausible

from .runner import Runner

CONFIRM_EACH = 100
"""Up to this many missing records, each is confirmed by a call."""
SAMPLE = 20
"""Of more missing records, this many are confirmed."""


@dataclass
class DeletionResult:
    """What the API said about missing records.

    Attributes:
        gone: ids of deleted records, and why: `deleted`, `hidden` or `unlisted`.
        readable: ids that are not listed but can be read.
        notes: what the report says about them.
        stop: set if the calls did not suffice.
    """

    gone: dict[int, str] = field(default_factory=dict)
    readable: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    stop: Stop | None = None


def differences(runner: Runner, entity: Entity, since: str | None, thorough: bool) -> Differences:
    """Compares the ids of the live rows with the ids that the API lists.

    Args:
        runner: the command's runner.
        entity: one with a cursor.
        since: the lower bound of the records that syncs read, None for all.
        thorough: read every page, not only the pages that show a change.
    """
    known, context = runner.dataset.live_ids(entity), runner.context
    if not thorough:
        try:
            top = top_of(context)
            return probe(pages_at(context, entity, since, top, brief=True), entity.key[0], known, top)
        except Unsorted as error:
            context.result(entity.name).notes.append(f"every page of the list was read: {error}")
    reader = page_reader(context, entity, since, brief=True)
    notes = context.result(entity.name).notes
    return compare(read_pages(reader, entity.key[0], notes), entity.key[0], known)


def confirm_and_mark(runner: Runner, entity: Entity, found: Differences, force: bool) -> DeletionResult:
    """Confirms missing records at the API, marks those that are gone, and reports it. If it raises, none is marked.

    Raises:
        ImplausibleDeletion: too many are missing, or one of a sample can be read.
    """
    confirmed = confirm(runner, entity, found, force)
    mark(runner, entity, confirmed.gone)
    result = runner.context.result(entity.name)
    result.deleted += len(confirmed.gone)
    result.notes += confirmed.notes
    return confirmed


def confirm(runner: Runner, entity: Entity, found: Differences, force: bool) -> DeletionResult:
    """Requests the missing records from the API: each, or a sample if there are many.

    Where the API does not return single records of an entity, those that are not listed count as gone.

    A sample confirms all of them. If the calls do not suffice for the sample, only the ids that were read count: the
    next run has fewer left.

    Args:
        runner: the command's runner.
        entity: whose records.
        found: the missing records, and how many records there were.
        force: accept any number of missing records.

    Raises:
        ImplausibleDeletion: too many are missing, or one of a sample can be read.
    """
    ids, result = found.missing_ids, DeletionResult()
    if not ids:
        return result
    max_share = runner.context.settings.max_deleted_share
    if not (force or is_plausible(len(ids), found.known, max_share)):
        raise ImplausibleDeletion(
            f"{len(ids):,} of {found.known:,} records are no longer listed, more than "
            f"sources.insightly.max_deleted_share ({max_share:g}) allows; if they are really deleted, run "
            f"insightly sweep {entity.name} --force"
        )
    if entity.get is None:
        return DeletionResult(gone=dict.fromkeys(ids, "unlisted"))
    sampled = len(ids) > CONFIRM_EACH
    requested = random.sample(ids, SAMPLE) if sampled else ids
    for id_, answer in zip(requested, records_of(runner.context, entity, requested), strict=True):
        if isinstance(answer, NotAvailable):
            # 404 means deleted, 403 that this key may not see the record any more (api.md 7.2).
            result.gone[id_] = "deleted" if isinstance(answer, NotFound) else "hidden"
        elif isinstance(answer, Stop):
            result.stop = answer
        elif sampled:
            raise ImplausibleDeletion(
                f"{len(ids):,} records are no longer listed, but {entity.key[0]} {id_} can be read; nothing is marked. "
                "Run again later, or run insightly sync --full to read everything again"
            )
        else:
            result.readable.add(id_)
    if result.readable:
        result.notes.append(f"{plural(len(result.readable), 'record is', 'records are')} not listed but readable: kept")
    if sampled and result.stop is None:
        reasons = set(result.gone.values())
        result.gone = dict.fromkeys(ids, reasons.pop() if len(reasons) == 1 else "unlisted")
    return result


def mark(runner: Runner, entity: Entity, gone: Mapping[int, str]) -> None:
    """Marks records deleted, or removes them, by the setting `deletions`. A list that each sync replaces has no marks.

    Args:
        runner: the command's runner.
        entity: whose records.
        gone: id -> why.
    """
    if gone:
        ensure_table(runner.pipeline)
        remove = runner.context.settings.deletions == "remove" or not entity.swept
        versions = entity.name in (runner.context.settings.history or ())
        runner.dataset.mark_deleted(entity, gone, remove=remove, versions=versions)
