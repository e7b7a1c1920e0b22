"""Records that went away: found by comparing ids, confirmed at the API, marked."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.destinations.system_tables import ensure_table
from sources.insightly.entities import Entity
from sources.insightly.errors import InsightlyError, NotAvailable, NotFound, Stop, Unsorted
from sources.insightly.paging.prefetch import read_list
from sources.insightly.paging.probe import Differences, compare, probe
from sources.insightly.resources.fetch import page_reader, pages_at, records_of, top_of

from .runner import Runner

SINGLY = 100
"""Candidates up to which each is confirmed by a call of its own."""
SAMPLE = 20
"""Of more candidates, so many are confirmed."""
SMALL = 50
"""Rows up to which a table may lose any share."""


class Refused(InsightlyError):
    """More would be marked deleted than is plausible; nothing was."""


@dataclass
class Settled:
    """What became of an entity's candidates; `there` are readable, `stop` says that the calls did not suffice."""

    deleted: int = 0
    there: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    stop: Stop | None = None


def differences(runner: Runner, entity: Entity, since: str | None, thorough: bool) -> Differences:
    """Compares the ids held as live with those the API lists.

    Args:
        runner: the command at work.
        entity: one with a cursor.
        since: the lower bound of the set that syncs read, None for everything.
        thorough: read every page, not only those that tell of a change.
    """
    known, context = runner.dataset.live_ids(entity), runner.context
    if not thorough:
        try:
            top = top_of(context)
            return probe(pages_at(context, entity, since, top, brief=True), entity.key[0], known, top)
        except Unsorted as error:
            context.result(entity.name).notes.append(f"the list was read whole: {error}")
    fetch = page_reader(context, entity, since, brief=True)
    return compare(read_list(fetch, entity.key[0]), entity.key[0], known)


def settle(runner: Runner, entity: Entity, found: Differences, force: bool) -> Settled:
    """Confirms the candidates at the API and marks those that are gone; where it raises, nothing is marked.

    Raises:
        Refused: they are too many, or one of a sample can be read.
    """
    settled = Settled()
    gone = confirm(runner, entity, found, force, settled)
    mark(runner, entity, gone)
    settled.deleted = len(gone)
    return settled


def confirm(runner: Runner, entity: Entity, found: Differences, force: bool, settled: Settled) -> dict[int, str]:
    """The candidates that are gone, and why; what else was found of them is noted in `settled`.

    Raises:
        Refused: they are too many, or one of a sample can be read.
    """
    if not found.missing_ids:
        return {}
    share, most = len(found.missing_ids) / found.known, runner.context.settings.max_deleted_share
    if share > most and found.known > SMALL and not force:
        raise Refused(
            f"{len(found.missing_ids):,} of {found.known:,} records are no longer listed, more than "
            f"sources.insightly.max_deleted_share ({most:g}) lets a run mark; if they are really gone, run "
            f"insightly sweep {entity.name} --force"
        )
    ask = _by_sample if len(found.missing_ids) > SINGLY else _one_by_one
    return ask(runner, entity, found.missing_ids, settled)


def mark(runner: Runner, entity: Entity, gone: Mapping[int, str]) -> None:
    """Marks records deleted, or removes them, by the setting `deletions`; a list that is written whole has no mark.

    Args:
        runner: the command at work.
        entity: whose records.
        gone: id -> why.
    """
    if gone:
        ensure_table(runner.pipeline)
        remove = runner.context.settings.deletions == "remove" or not entity.swept
        versions = entity.name in (runner.context.settings.history or ())
        runner.dataset.mark_deleted(entity, gone, remove=remove, versions=versions)


def _one_by_one(runner: Runner, entity: Entity, ids: Sequence[int], settled: Settled) -> dict[int, str]:
    gone = dict[int, str]()
    for id_, answer in zip(ids, records_of(runner.context, entity, ids), strict=True):
        if isinstance(answer, NotAvailable):
            gone[id_] = _reason(answer)
        elif isinstance(answer, Stop):
            settled.stop = answer
        else:
            settled.there.add(id_)
    if settled.there:
        settled.notes.append(f"{len(settled.there)} records are not listed and yet can be read: they stay live")
    return gone


def _by_sample(runner: Runner, entity: Entity, ids: Sequence[int], settled: Settled) -> dict[int, str]:
    """Every id, with the reason that all answers give; `unlisted` where they give several.

    Where the calls do not suffice for the sample, only the ids that were confirmed: the next run has fewer left.
    """
    sample, gone = random.sample(ids, SAMPLE), dict[int, str]()
    for id_, answer in zip(sample, records_of(runner.context, entity, sample), strict=True):
        if isinstance(answer, Stop):
            settled.stop = answer
        elif isinstance(answer, NotAvailable):
            gone[id_] = _reason(answer)
        else:
            raise Refused(
                f"{len(ids):,} records are no longer listed, yet {entity.key[0]} {id_} can be read; nothing is marked. "
                "Run again later, or insightly sync --full to read everything again"
            )
    if settled.stop is not None:
        return gone
    reasons = set(gone.values())
    return dict.fromkeys(ids, reasons.pop() if len(reasons) == 1 else "unlisted")


def _reason(answer: NotAvailable) -> str:
    """404 means deleted, 403 that this key may not see the record any more (API.md 7.2)."""
    return "deleted" if isinstance(answer, NotFound) else "hidden"
