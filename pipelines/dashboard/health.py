"""The health of the sync: freshness, rows, runs, calls, failures, deletions and schema changes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dlt

from pipelines.destinations.dataset import Dataset, Row
from pipelines.destinations.pipeline_state import source_state
from pipelines.destinations.system_tables import DELETIONS, RUNS
from pipelines.engine.report import by_reason, listed
from pipelines.engine.run_log import is_stale, last_runs, last_success

DAYS = 30
"""How far back runs and deletions are read."""
SHOWN = 20
"""The rows of a list of events."""
WORST = ("failed", "partial", "ok", "skipped")
"""The states of a run's entities, the one that counts first: skipped only counts if all are."""


@dataclass(frozen=True)
class Freshness:
    """One entity: live and deleted rows, and when each command last completed."""

    entity: str
    state: str
    reason: str | None
    live: int
    deleted: int
    synced: datetime | None
    swept: datetime | None
    verified: datetime | None
    watermark: datetime | None
    stale: bool


@dataclass(frozen=True)
class Run:
    """One run of a command; `state` is the worst of its entities."""

    command: str
    started: datetime
    seconds: float
    entities: int
    rows: int
    deleted: int
    calls: int
    state: str
    reason: str | None


@dataclass(frozen=True)
class Event:
    """A failure of an entity, or of several for one reason, or a change of a table."""

    at: datetime
    entity: str
    text: str


@dataclass(frozen=True)
class Deletions:
    """The records of an entity found deleted in the last days, and how many of them were restored."""

    entity: str
    found: int
    restored: int
    last: datetime


@dataclass(frozen=True)
class Health:
    """The health at the time `at`; `calls` are per day, the oldest first."""

    at: datetime
    account: str | None
    last_run: datetime
    calls_left: int | None
    entities: list[Freshness]
    runs: list[Run]
    failures: list[Event]
    changes: list[Event]
    deletions: list[Deletions]
    calls: list[tuple[str, int]]

    @property
    def shared_reasons(self) -> dict[str, str]:
        """Reasons that several entities have, each with these entities."""
        reasons = by_reason((each.entity, each.reason) for each in self.entities)
        return {reason: listed(names, len(self.entities)) for reason, names in reasons.items() if len(names) > 1}

    @property
    def verdict(self) -> str:
        """`failed`, `stale` or `fresh`: the worst of the entities; `failed` too if none was ever synced."""
        if any(each.state == "failed" for each in self.entities) or not any(each.synced for each in self.entities):
            return "failed"
        return "stale" if any(each.stale for each in self.entities) else "fresh"

    @property
    def behind(self) -> str:
        """The entities that failed or are stale, as words."""
        names = [each.entity for each in self.entities if each.state == "failed" or each.stale]
        found = listed(names, len(self.entities))
        return f"{found} tables" if found.startswith("all ") else found or "nothing was ever synced"

    @property
    def deals_synced(self) -> datetime | None:
        """When the deals were last synced."""
        return next((each.synced for each in self.entities if each.entity == "opportunities"), None)


def read_health(pipeline: dlt.Pipeline, dataset: Dataset, max_age: timedelta, at: datetime) -> Health | None:
    """Reads the health from the destination; None if nothing was ever synced.

    Args:
        pipeline: the pipeline over the destination.
        dataset: its tables.
        max_age: how old an entity's last complete sync may be before it is stale.
        at: now.
    """
    last = last_runs(pipeline)
    if not last:
        return None
    since = at - timedelta(days=DAYS)
    sql = f"select * from {dataset.table_name(RUNS)} where started >= %s order by started desc"
    runs = dataset.query(sql, since)
    newest = max(last.values(), key=lambda row: row["started"])
    return Health(
        at=at,
        account=source_state(pipeline).get("account", {}).get("name"),
        last_run=newest["started"],
        calls_left=newest["calls_left_today"],
        entities=_freshness(pipeline, dataset, last, at - max_age),
        runs=_grouped(runs)[:SHOWN],
        failures=_failures(runs)[:SHOWN],
        changes=[
            Event(row["started"], row["entity"], text)
            for row in runs
            for text in (row["schema_changes"] or "").split("\n")
            if text.startswith("new column")
        ][:SHOWN],
        deletions=_deletions(dataset, since),
        calls=_calls(runs, at),
    )


def _freshness(
    pipeline: dlt.Pipeline, dataset: Dataset, last: Mapping[tuple[str, str], Row], oldest: datetime
) -> list[Freshness]:
    done = {command: last_success(pipeline, command) for command in ("sync", "sweep", "verify")}
    synced = {entity: row for (entity, command), row in last.items() if command == "sync"}
    counts = dataset.row_counts(synced)
    return [
        Freshness(
            entity=name,
            state=row["state"],
            reason=row["reason"],
            live=counts.get(name, (0, 0))[0],
            deleted=counts.get(name, (0, 0))[1],
            synced=done["sync"].get(name),
            swept=done["sweep"].get(name),
            verified=done["verify"].get(name),
            watermark=row["watermark_after"],
            stale=is_stale(row["state"], done["sync"].get(name), oldest),
        )
        for name, row in sorted(synced.items())
    ]


def _by_run(rows: Iterable[Row]) -> Iterable[list[Row]]:
    by_run: dict[str, list[Row]] = {}
    for row in rows:
        by_run.setdefault(row["run_id"], []).append(row)
    return by_run.values()


def _failures(rows: Iterable[Row]) -> list[Event]:
    """One event for each cause, whatever the number of entities and runs, at its last time."""
    times: dict[tuple[str, str], list[datetime]] = {}
    for run in _by_run(rows):
        causes = by_reason((row["entity"], row["reason"]) for row in run if row["state"] == "failed")
        for reason, names in causes.items():
            text = f"{run[0]['command']} failed: {reason}"
            times.setdefault((listed(names, len(run)), text), []).append(run[0]["started"])
    return [
        Event(at[0], names, text if len(at) == 1 else f"{text} ({len(at)} times)")
        for (names, text), at in times.items()
    ]


def _grouped(rows: Iterable[Row]) -> list[Run]:
    return [
        Run(
            command=run[0]["command"],
            started=run[0]["started"],
            seconds=(run[0]["finished"] - run[0]["started"]).total_seconds(),
            entities=len(run),
            rows=sum(row["rows"] for row in run),
            deleted=sum(row["deleted"] for row in run),
            calls=sum(row["calls"] for row in run),
            state=(worst := min(run, key=lambda row: WORST.index(row["state"])))["state"],
            reason=None if worst["state"] == "ok" else _reason(run, worst["reason"]),
        )
        for run in _by_run(rows)
    ]


def _reason(run: list[Row], reason: str | None) -> str:
    return f"{listed([row['entity'] for row in run if row['reason'] == reason], len(run))}: {reason}"


def _deletions(dataset: Dataset, since: datetime) -> list[Deletions]:
    if not dataset.table_exists(DELETIONS):
        return []
    sql = (
        f"select entity, count(*) as found, count(restored_at) as restored, max(found_at) as last from "
        f"{dataset.table_name(DELETIONS)} where found_at >= %s group by entity order by entity"
    )
    return [Deletions(**row) for row in dataset.query(sql, since)]


def _calls(rows: Iterable[Row], at: datetime) -> list[tuple[str, int]]:
    per_day = Counter[str]()
    for row in rows:
        per_day[row["started"].astimezone(UTC).date().isoformat()] += row["calls"]
    days = [(at - timedelta(days=back)).date().isoformat() for back in range(13, -1, -1)]
    first = min((*per_day, days[-1]))  # runs can lie in the future: clocks are set back
    return [(day, per_day[day]) for day in days if day >= first]
