"""How the destination is: last runs, freshness, calls left; asked of the destination alone."""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt

from pipelines.destinations.pipeline_state import custom_objects, source_state
from pipelines.destinations.target import NothingSynced, Target
from pipelines.engine.report import FAILED, EntityReport, Report
from pipelines.engine.run_log import last_done, latest
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext, choose
from sources.insightly.errors import BadSetting
from sources.insightly.resources.discovery import find

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def status(
    settings: InsightlySettings, target: Target, names: Sequence[str] = (), max_age: str | None = None
) -> Report:
    """Tells of each entity's last sync, sweep and verification.

    Args:
        settings: validated settings; no key is needed.
        target: whose status.
        names: entities or presets; none for the setting `entities`.
        max_age: how old an entity's last complete sync may be, as `90m`, `2h`, `1d` or `1h30m`.

    Returns:
        A report; its exit code is 1 where an entity is older than `max_age`.

    Raises:
        BadSetting: `max_age` is no duration.
        NothingSynced: there is nothing to tell of.
        Busy: another run holds the destination.
    """
    begun = time.monotonic()
    limit = None if max_age is None else duration(max_age)
    chosen, context = choose(settings, names), SyncContext(settings)
    report = Report("status")
    target.require()
    with target.lock():
        pipeline = target.pipeline()
        context.know(custom_objects(pipeline))
        find(context, chosen, ask=False)
        _tell(report, target, pipeline, context.with_objects(chosen), limit)
    if not report.entities:
        raise NothingSynced(target)
    report.seconds = time.monotonic() - begun
    return report


def duration(text: str) -> timedelta:
    """The time that `90m`, `2h`, `1d` or `1h30m` means.

    Raises:
        BadSetting: it is none.
    """
    if not re.fullmatch(r"(\d+(\.\d+)?[dhms])+", text):
        raise BadSetting("--max-age", text, "must be a duration, as 90m, 2h, 1d or 1h30m")
    parts = re.findall(r"([\d.]+)([dhms])", text)
    return timedelta(seconds=sum(float(number) * UNITS[unit] for number, unit in parts))


def _tell(
    report: Report, target: Target, pipeline: dlt.Pipeline, chosen: Sequence[str], limit: timedelta | None
) -> None:
    now = datetime.now(UTC)
    runs = latest(pipeline)
    complete, swept, verified = (last_done(pipeline, command) for command in ("sync", "sweep", "verify"))
    for name in chosen:
        run = runs.get((name, "sync"))
        if run is None:
            continue
        synced = complete.get(name)
        stale = limit is not None and run["state"] != "skipped" and (synced is None or now - synced > limit)
        report.entities[name] = EntityReport(
            state=run["state"],
            reason=run["reason"],
            rows=run["rows"],
            merged=run["inserted_or_updated"],
            deleted=run["deleted"],
            calls=run["calls"],
            seconds=run["seconds"],
            watermark=_iso(run["watermark_after"]),
            schema_changes=(run["schema_changes"] or "").split("\n") if run["schema_changes"] else [],
            facts={
                "last_run": _iso(run["started"]),
                "last_complete_sync": _iso(synced),
                "last_sweep": _iso(swept.get(name)),
                "last_verify": _iso(verified.get(name)),
                "age_seconds": None if synced is None else round((now - synced).total_seconds()),
                "stale": stale,
            },
        )
    if report.entities:
        last = max(runs.values(), key=lambda run: run["started"])
        report.calls_left_today = last["calls_left_today"]
        account: dict[str, Any] = source_state(pipeline).get("account", {})
        report.facts = {"account": account.get("name"), "destination": str(target), "last_run": _iso(last["started"])}
    stale = [name for name, entity in report.entities.items() if entity.facts["stale"]]
    if stale:
        report.status, report.exit_code = FAILED, 1
        report.reason = f"no complete sync within --max-age: {', '.join(stale)}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
