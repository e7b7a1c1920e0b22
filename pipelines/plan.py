"""What a sync would cost, asked with one call an entity: nothing is read and nothing is written."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sources.insightly.cursor import Wish
from sources.insightly.entities import ENTITIES, RECORD_TYPES, Entity, select
from sources.insightly.errors import NotAvailable
from sources.insightly.pacer import MARGIN
from sources.insightly.reads import top_of, total_of
from sources.insightly.resources import place_in
from sources.insightly.session import Session
from sources.insightly.settings import InsightlySettings

from .report import EntityReport, Report
from .target import Target


def plan(settings: InsightlySettings, target: Target, names: Sequence[str], wish: Wish) -> Report:
    """Pages, calls and seconds of the sync that `names` and `wish` describe.

    Returns:
        A report whose entities carry `total` (records to read) and `pages`; `calls` are those a sync would send.
    """
    begun = time.monotonic()
    session = Session(settings, wish)
    try:
        states = _states(target)
        report = Report("sync")
        for name in select(names or settings.entities):
            report.entities[name] = _of(ENTITIES[name], session, states.get(name, {}))
        needed = sum(entity.calls for entity in report.entities.values())
        report.calls, report.calls_left_today = session.budget.calls, session.budget.remaining
        report.seconds = time.monotonic() - begun
        report.facts = {"plan": {"calls": needed, "seconds": round(needed * MARGIN / settings.requests_per_second, 1)}}
        return report
    finally:
        session.close()


def _states(target: Target) -> Mapping[str, dict[str, object]]:
    if target.destination == "duckdb" and not target.path.exists():
        return {}
    with target.lock():
        state: Mapping[str, Any] = target.pipeline().state
    resources: Mapping[str, dict[str, object]] = state.get("sources", {}).get("insightly", {}).get("resources", {})
    return resources


def pages_of(total: int, top: int) -> int:
    """Pages of a walk over `total` rows: each overlaps the one before by one row, and the last is a short one.

    >>> pages_of(10_000, 500), pages_of(500, 500), pages_of(0, 500)
    (21, 2, 1)
    """
    return 1 if total < top else (total - top) // (top - 1) + 2


def _of(entity: Entity, session: Session, state: dict[str, object]) -> EntityReport:
    top = top_of(session)
    if entity.name == "tags":
        return EntityReport("ok", calls=len(RECORD_TYPES), plan={"pages": len(RECORD_TYPES), "total": None})
    if not entity.paged:
        return EntityReport("ok", calls=1, plan={"pages": 1, "total": None})
    since, done = None, 0
    if entity.incremental:
        place = place_in(entity, state, session)
        since, done = place.since, place.skip
    try:
        total = total_of(session, entity, since)
    except NotAvailable as error:
        return EntityReport("skipped", str(error), plan={"pages": 0, "total": None})
    left = max(total - done, 0)
    pages = pages_of(left, top)
    tag_calls = left if session.settings.tags == "endpoint" and entity.tagged else 0
    definitions = 1 if entity.custom_fields and left else 0
    return EntityReport("ok", calls=pages + tag_calls + definitions, plan={"pages": pages, "total": total})
