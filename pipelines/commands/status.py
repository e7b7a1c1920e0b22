"""The last runs, the age of the data and the calls left, read from the destination without a call to the API."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dlt

from pipelines.destinations.dataset import Dataset, Row
from pipelines.destinations.pipeline_state import custom_objects, source_state
from pipelines.destinations.target import NothingSynced, Target
from pipelines.engine.report import EntityReport, Report, listed
from pipelines.engine.run_log import is_stale, last_failure, last_runs, last_success
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext, choose, named_entities
from sources.insightly.resources.discovery import find_objects
from sources.insightly.state.times import iso

Runs = Mapping[tuple[str, str], Row]
"""The last run of each entity and command."""


def status(
    settings: InsightlySettings, target: Target, names: Sequence[str] = (), max_age: timedelta | None = None
) -> Report:
    """Reports the rows of each entity's table, and its last sync, sweep and verification.

    Args:
        settings: validated settings; no key is needed.
        target: the destination to look at.
        names: entities or presets; none for the setting `entities`.
        max_age: how old the last complete sync of an entity may be.

    Returns:
        A report; its exit code is 1 if an entity is older than `max_age`. `rows` are the live rows of the table and
        `deleted` those that are marked; what the last sync received is `received`.

    Raises:
        NothingSynced: no run has written to the destination.
        Busy: another run is using the destination.
        Unreachable: the destination does not answer, or lacks the table of runs.
    """
    started = time.monotonic()
    chosen, context = choose(settings, names), SyncContext(settings)
    report = Report("status")
    target.require_exists()
    with target.reading() as pipeline, target.open_dataset(pipeline) as dataset:
        context.catalog.add(custom_objects(pipeline))
        find_objects(context, chosen, request=False)
        runs, selected, named = last_runs(pipeline), context.catalog.with_objects(chosen), named_entities(names)
        synced = _synced(pipeline, dataset, runs, selected, max_age)
        shown = [name for name in selected if name in synced or (runs and name in named)]
        report.entities = {name: synced.get(name) or _never_synced(max_age) for name in shown}
        if not report.entities:
            raise NothingSynced(target)
        last = max(runs.values(), key=lambda run: run["started"])
        report.calls_left_today = last["calls_left_today"]
        report.facts = {
            "account": source_state(pipeline).get("account", {}).get("name"),
            "destination": str(target),
            "working_folder": str(target.working_folder),
            "last_run": _iso(last["started"]),
            "last_failure": _failure(last_failure(pipeline), runs),
            "max_age_seconds": None if max_age is None else round(max_age.total_seconds()),
        }
    if stale := [name for name, entity in report.entities.items() if entity.facts["stale"]]:
        report.fail(f"no complete sync within --max-age: {listed(stale, len(report.entities))}")
    elif max_age is not None and not any(each.facts["last_complete_sync"] for each in report.entities.values()):
        report.fail("no entity was ever synced completely: run insightly check")
    report.seconds = time.monotonic() - started
    return report


def _synced(
    pipeline: dlt.Pipeline, dataset: Dataset, runs: Runs, names: Sequence[str], max_age: timedelta | None
) -> dict[str, EntityReport]:
    """The entities of `names` that a run has synced."""
    now, rows = datetime.now(UTC), {name: runs[name, "sync"] for name in names if (name, "sync") in runs}
    counts = dataset.row_counts(rows)
    synced, swept, verified = (last_success(pipeline, command) for command in ("sync", "sweep", "verify"))
    ages = {name: round((now - started).total_seconds()) for name, started in synced.items()}
    return {
        name: EntityReport(
            state=run["state"],
            reason=run["reason"],
            rows=counts.get(name, (0, 0))[0],
            merged=run["inserted_or_updated"],
            deleted=counts.get(name, (0, 0))[1],
            calls=run["calls"],
            seconds=run["seconds"],
            watermark=_iso(run["watermark_after"]),
            schema_changes=run["schema_changes"].split("\n") if run["schema_changes"] else [],
            facts={
                "received": run["rows"],
                "last_run": _iso(run["started"]),
                "last_complete_sync": _iso(synced.get(name)),
                "last_sweep": _iso(swept.get(name)),
                "last_verify": _iso(verified.get(name)),
                "age_seconds": ages.get(name),
                "stale": max_age is not None and is_stale(run["state"], synced.get(name), now - max_age),
            },
            lost=run["state"] == "skipped" and name in synced,
        )
        for name, run in rows.items()
    }


def _never_synced(max_age: timedelta | None) -> EntityReport:
    """An entity that the user named and that no run has synced."""
    times = dict.fromkeys(("last_run", "last_complete_sync", "last_sweep", "last_verify", "age_seconds"))
    facts = {"received": 0, **times, "stale": max_age is not None}
    return EntityReport("skipped", "never synced: run insightly sync", facts=facts)


def _failure(row: Row | None, runs: Runs) -> Row | None:
    """The last failure; `open` if a failed entity has not been done by this command since."""
    if row is None:
        return None
    later = (runs.get((name, row["command"]), row) for name in row["entities"])
    is_open = any(each.get("state", "failed") == "failed" for each in later)
    return {"at": _iso(row["started"]), **{key: row[key] for key in ("command", "entities", "reason")}, "open": is_open}


def _iso(timestamp: datetime | None) -> str | None:
    return None if timestamp is None else iso(timestamp)
