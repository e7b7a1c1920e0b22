"""A run as OpenMetrics in a file, as the textfile collector of Prometheus' node exporter takes it."""

import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.exposition import generate_latest

from pipelines.engine.report import EntityReport, Report
from sources.insightly.errors import BadSetting

STATES = ("ok", "skipped", "partial", "failed")
STATUSES = ("done", "failed", "stopped")
OF_AN_ENTITY = {
    "rows": "Records received.",
    "inserted_or_updated": "Rows merged into the entity's table.",
    "deleted": "Records found deleted.",
    "calls": "Calls sent.",
    "seconds": "Time taken.",
}


def write(report: Report, path: Path) -> None:
    """Replaces the file in one step, so that a collector never reads half of it.

    Args:
        report: any command's.
        path: where to; its folder must be there.

    Raises:
        BadSetting: it cannot be written.
    """
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        waiting.write_bytes(exposition(report, time.time()))
        waiting.replace(path)
    except OSError as error:
        waiting.unlink(missing_ok=True)
        raise BadSetting("--metrics", str(path), f"cannot be written: {error.strerror}") from None


def exposition(report: Report, finished: float) -> bytes:
    """The run's figures in the OpenMetrics text format.

    Args:
        report: any command's.
        finished: when it ended, in seconds since 1970.
    """
    registry, command = CollectorRegistry(), report.command

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"insightly_{name}", text, ("command", *labels), registry=registry)

    gauge("run_finished_timestamp_seconds", "When the run ended.").labels(command).set(finished)
    gauge("run_seconds", "Time the run took.").labels(command).set(report.seconds)
    gauge(
        "run_exit_code", "0 done, 1 failed, 2 configuration, 3 stopped at a budget, 4 verify found a difference."
    ).labels(command).set(report.exit_code)
    gauge("run_calls", "Calls the run sent.").labels(command).set(report.calls)
    status = gauge("run_status", "1 for how the run ended.", "status")
    for each in STATUSES:
        status.labels(command, each).set(report.status == each)
    if report.calls_left_today is not None:
        gauge("calls_left_today", "Calls left of the day's allowance.").labels(command).set(report.calls_left_today)
    if report.entities:
        _entities(report.entities, command, gauge)
    return bytes(generate_latest(registry))  # type: ignore[no-untyped-call]


def _entities(entities: dict[str, EntityReport], command: str, gauge: Callable[..., Gauge]) -> None:
    figures = {name: gauge(f"entity_{name}", text, "entity") for name, text in OF_AN_ENTITY.items()}
    state = gauge("entity_state", "1 for the state the entity is in.", "entity", "state")
    watermark = gauge("entity_watermark_timestamp_seconds", "Up to when its changes are loaded.", "entity")
    changes = gauge("entity_schema_changes", "Columns that came, and other notes.", "entity")
    for name, entity in entities.items():
        facts = entity.to_dict()
        for figure, of in figures.items():
            of.labels(command, name).set(facts[figure])
        for each in STATES:
            state.labels(command, name, each).set(entity.state == each)
        changes.labels(command, name).set(len(entity.schema_changes))
        if entity.watermark is not None:
            watermark.labels(command, name).set(datetime.fromisoformat(entity.watermark).timestamp())
