"""Writes and reads `_sync_runs`, which has one row per entity and run."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import dlt
from dlt.destinations.exceptions import DatabaseException
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.pipeline_state import CLOCK_TOLERANCE
from pipelines.destinations.system_tables import COLUMNS, RUNS, missing_logs, table_exists, table_resource

from .report import Report

logger = logging.getLogger(__name__)


def write_run(
    pipeline: dlt.Pipeline, dataset: Dataset, report: Report, started: datetime, finished: datetime, state_changed: bool
) -> None:
    """Adds one row per entity to `_sync_runs`, unless nothing was ever loaded into the destination.

    Args:
        pipeline, dataset: the destination.
        report: what the run did.
        started, finished: when.
        state_changed: whether dlt's state changed since the last package: only a package takes it to the destination.
    """
    if pipeline.default_schema_name is None or not report.entities:
        return
    if pipeline.has_pending_data:
        logger.error("The rows of this run are saved; the next run loads them. %s gets no rows for this run.", RUNS)
        return
    missing = missing_logs(pipeline)
    try:
        if missing or state_changed:
            pipeline.run(missing or [table_resource(RUNS)])
        dataset.append(RUNS, _rows(report, started, finished))
    except (PipelineStepFailed, DatabaseException) as error:
        logger.error("could not write this run into %s: %s", RUNS, error)


def last_success(pipeline: dlt.Pipeline, command: str) -> dict[str, datetime]:
    """When the last run of a command that ended `ok` started, by entity; one that lies in the future does not count."""
    sql = """select entity, max(started) from {table}
        where command = %s and state = 'ok' and started <= %s group by entity"""
    return {str(entity): started for entity, started in _read(pipeline, sql, command, _latest())}


def is_stale(state: str, synced: datetime | None, oldest: datetime) -> bool:
    """Whether an entity's rows are too old. One that was never available to the key has none, but a lost one ages.

    Args:
        state: the state of its last sync.
        synced: when its last complete sync started, None if there was none.
        oldest: when that sync must have started at the earliest.
    """
    return state != "skipped" if synced is None else synced <= oldest


def last_runs(pipeline: dlt.Pipeline) -> dict[tuple[str, str], dict[str, Any]]:
    """The last row of `_sync_runs` of each entity and command; one in the future only if there is no other."""
    sql = """select {columns} from {table} r join (
            select entity, command, coalesce(max(case when started <= %s then started end), max(started)) as started
            from {table} group by entity, command
        ) l on r.entity = l.entity and r.command = l.command and r.started = l.started"""
    rows = _read(pipeline, sql, _latest(), columns=COLUMNS[RUNS])
    runs = [dict(zip(COLUMNS[RUNS], row, strict=True)) for row in rows]
    return {(run["entity"], run["command"]): run for run in runs}


def last_failure(pipeline: dlt.Pipeline) -> dict[str, Any] | None:
    """The last run with a failed entity: `started`, `command`, its failed `entities`, and the first one's `reason`."""
    failed = "state = 'failed' and started <= %s"
    sql = f"""select started, command, entity, reason from {{table}} where {failed}
        and started = (select max(started) from {{table}} where {failed}) order by entity"""
    rows = _read(pipeline, sql, _latest(), _latest())
    if not rows:
        return None
    started, command, _, reason = rows[0]
    return {"started": started, "command": command, "entities": [row[2] for row in rows], "reason": reason}


def _read(pipeline: dlt.Pipeline, sql: str, *values: Any, columns: Iterable[str] = ()) -> list[Any]:
    """The rows of a query on `_sync_runs`, which is `{table}` in it; `{columns}` are some of its columns.

    Without the table there are none.
    """
    if not table_exists(pipeline, RUNS):
        return []
    with pipeline.sql_client() as client:
        listed = ", ".join(f"r.{client.escape_column_name(name)}" for name in columns)
        sql = sql.format(table=client.make_qualified_table_name(RUNS), columns=listed)
        return list(client.execute_sql(sql, *values) or ())


def _latest() -> datetime:
    return datetime.now(UTC) + CLOCK_TOLERANCE


def _rows(report: Report, started: datetime, finished: datetime) -> list[dict[str, Any]]:
    run_id = uuid4().hex
    return [
        {
            "run_id": run_id,
            "command": report.command,
            "entity": name,
            "started": started,
            "finished": finished,
            "state": entity.state,
            "reason": entity.reason,
            "rows": entity.rows,
            "inserted_or_updated": entity.merged,
            "deleted": entity.deleted,
            "calls": entity.calls,
            "calls_left_today": report.calls_left_today,
            "seconds": entity.seconds,
            "watermark_before": _parse(entity.watermark_before),
            "watermark_after": _parse(entity.watermark),
            "schema_changes": "\n".join(entity.schema_changes) or None,
        }
        for name, entity in report.entities.items()
    ]


def _parse(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
