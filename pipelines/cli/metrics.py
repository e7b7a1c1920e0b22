"""The figures of a run as an OpenMetrics file, for the textfile collector of Prometheus' node exporter."""

import os
import time
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.exposition import generate_latest

from pipelines.engine.report import Report
from sources.insightly.errors import BadSetting

STATES = ("ok", "skipped", "partial", "failed")
STATUSES = ("done", "failed", "stopped")
ENTITY_FIGURES = {
    "rows": "Records received.",
    "inserted_or_updated": "Rows merged into the entity's table.",
    "deleted": "Records found deleted.",
    "calls": "Calls sent.",
    "seconds": "Time taken.",
}


def write(report: Report, path: Path) -> None:
    """Replaces the file in one step, so that a collector never reads half of it.

    Args:
        report: of any command.
        path: the file; its folder must exist.

    Raises:
        BadSetting: the file cannot be written.
    """
    try:
        # The name cannot be guessed, so nobody can put a link to another file there.
        descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with open(descriptor, "wb") as file:
                file.write(exposition(report, time.time()))
            os.umask(umask := os.umask(0o077))
            temporary.chmod(0o666 & ~umask)  # the collector is another user
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadSetting("--metrics", str(path), f"cannot be written: {error.strerror}") from None


def exposition(report: Report, finished: float) -> bytes:
    """Returns the figures of a run in the OpenMetrics text format.

    Args:
        report: of any command.
        finished: when the run ended, in seconds since 1970.
    """
    registry, command = CollectorRegistry(), report.command

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"insightly_{name}", text, ("command", *labels), registry=registry)

    gauge("run_finished_timestamp_seconds", "When the run ended.").labels(command).set(finished)
    gauge("run_seconds", "Time the run took.").labels(command).set(report.seconds)
    codes = (
        "0 done, 1 failed, 2 configuration, 3 stopped at a budget, 4 verify found a difference, 130 or 143 interrupted."
    )
    gauge("run_exit_code", codes).labels(command).set(report.exit_code)
    gauge("run_calls", "Calls the run sent.").labels(command).set(report.calls)
    gauge("run_retries", "Calls of the run that were retries.").labels(command).set(sum(report.retries.values()))
    status = gauge("run_status", "1 for how the run ended.", "status")
    for each in STATUSES:
        status.labels(command, each).set(report.status == each)
    if report.calls_left_today is not None:
        gauge("calls_left_today", "Calls left of the day's allowance.").labels(command).set(report.calls_left_today)
    if report.entities:
        figures = {name: gauge(f"entity_{name}", text, "entity") for name, text in ENTITY_FIGURES.items()}
        state = gauge("entity_state", "1 for the state of the entity.", "entity", "state")
        lost = gauge("entity_lost", "1 if the entity was available before and is refused now.", "entity")
        read = gauge("entity_last_read_timestamp_seconds", "When the entity was last read to its end.", "entity")
        watermark = gauge("entity_watermark_timestamp_seconds", "Up to when changes are loaded.", "entity")
        changes = gauge("entity_schema_changes", "New columns and other notes.", "entity")
        for name, entity in report.entities.items():
            values = entity.to_dict()
            for figure, of in figures.items():
                of.labels(command, name).set(values[figure])
            for each in STATES:
                state.labels(command, name, each).set(entity.state == each)
            changes.labels(command, name).set(len(entity.schema_changes))
            lost.labels(command, name).set(entity.lost)
            if entity.last_read is not None:
                read.labels(command, name).set(datetime.fromisoformat(entity.last_read).timestamp())
            if entity.watermark is not None:
                watermark.labels(command, name).set(datetime.fromisoformat(entity.watermark).timestamp())
    return bytes(generate_latest(registry))  # type: ignore[no-untyped-call]
