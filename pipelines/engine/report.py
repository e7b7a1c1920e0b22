"""The report of a command: entities, calls, exit code."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sources.insightly.errors import Stop, clean, listing, plural

if TYPE_CHECKING:
    from sources.insightly.context import SyncContext

logger = logging.getLogger("insightly")

DONE, FAILED, STOPPED = "done", "failed", "stopped"
INTERRUPTED = (130, 143)
NAMED = 6
"""How many entities a message names."""
WORST_FIRST = (*INTERRUPTED, 2, 1, 4, 3, 0)
"""Exit codes, the worst one first: with several accounts, the worst one counts. After 3 the next run continues."""


@dataclass
class EntityReport:
    """One entity: `rows` received, `merged` into its table, `deleted` found, `calls` to the API.

    `last_read` is when it was last read to its end. It is `lost` if it was available before and is refused now.
    """

    state: str
    reason: str | None = None
    rows: int = 0
    merged: int = 0
    deleted: int = 0
    calls: int = 0
    seconds: float = 0.0
    watermark: str | None = None
    watermark_before: str | None = None
    last_read: str | None = None
    lost: bool = False
    schema_changes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "reason": self.reason,
            "rows": self.rows,
            "inserted_or_updated": self.merged,
            "deleted": self.deleted,
            "calls": self.calls,
            "seconds": round(self.seconds, 3),
            "watermark": self.watermark,
            "schema_changes": self.schema_changes,
            **({"lost": True} if self.lost else {}),
            **self.facts,
        }


@dataclass
class Report:
    """One run of a command.

    `retries` counts the calls that were made again, by the kind of failure. `slowed_to` is the number of requests per
    second that the run has come down to, None if it kept its pace.
    `transient` says that what failed may work a little later. `committed` says in words what an interrupted run has
    done; by default, it counts rows and deletions.
    """

    command: str
    status: str = DONE
    reason: str | None = None
    entities: dict[str, EntityReport] = field(default_factory=dict)
    calls: int = 0
    calls_left_today: int | None = None
    retries: dict[str, int] = field(default_factory=dict)
    slowed_to: float | None = None
    seconds: float = 0.0
    exit_code: int = 0
    transient: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    committed: str = ""

    def fail(self, reason: str | None, exit_code: int = 1) -> None:
        self.status, self.exit_code, self.reason = FAILED, exit_code, reason

    def add_costs(self, context: "SyncContext") -> None:
        """Adds the seconds and calls of a run, how many of them were retries, and how many calls are left."""
        budget, pace = context.budget, context.rate_limiter.slowest_rate
        self.seconds = time.monotonic() - context.started
        self.calls, self.calls_left_today = budget.calls, budget.remaining
        self.retries = {kind.replace(" ", "_"): count for kind, count in budget.retries.items()}
        self.slowed_to = None if pace is None else round(pace, 1)

    def conclude(
        self,
        error: BaseException | None,
        stops: Sequence[Stop],
        named: set[str],
        calls: Mapping[str, int] | None = None,
    ) -> None:
        """Sets status, reason and exit code. A run also fails if all entities but those without a call are skipped.

        Args:
            error: what ended the run early.
            stops: what ended single entities early.
            named: entities requested by name: the run fails if one of them is skipped.
            calls: the calls of each entity, if they are not those of its report.
        """
        failed = [(name, entity.reason) for name, entity in self.entities.items() if entity.state == "failed"]
        failed += [(n, e.reason) for n, e in self.entities.items() if e.state == "skipped" and n in named]
        reasons = [f"{listed(names, len(self.entities))}: {reason}" for reason, names in by_reason(failed).items()]
        calls = calls or {name: entity.calls for name, entity in self.entities.items()}
        skipped = [(name, entity.reason) for name, entity in self.entities.items() if entity.state == "skipped"]
        if isinstance(error, Stop):
            stops = [*stops, error]
        elif error is not None:
            reasons = [str(error)]
        if reasons:
            self.fail("; ".join(reasons))
        elif stops:
            self.status, self.exit_code, self.reason = STOPPED, 3, str(stops[0])
        elif skipped and not any(calls.get(name) for name, each in self.entities.items() if each.state != "skipped"):
            names = listing([name for name, _ in skipped], 1)
            self.fail(f"nothing is available: {names} skipped, {skipped[0][1]}")

    def interrupt(self, exit_code: int) -> None:
        """Makes this the report of a run that a signal ended."""
        written = sum(entity.merged for entity in self.entities.values())
        deleted = sum(entity.deleted for entity in self.entities.values())
        counts = [plural(written, "row") if written else "", plural(deleted, "deletion") if deleted else ""]
        counted = " and ".join(filter(None, counts))
        committed = self.committed or (counted and f"{counted} {'is' if written + deleted == 1 else 'are'} committed")
        parts = ["interrupted", committed, "run the same command again to continue"]
        self.fail("; ".join(filter(None, parts)), exit_code)

    def to_dict(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "status": self.status,
            "reason": self.reason,
            "entities": {name: entity.to_dict() for name, entity in self.entities.items()},
            "calls": self.calls,
            "calls_left_today": self.calls_left_today,
            "seconds": round(self.seconds, 3),
            **({"retries": self.retries} if self.retries else {}),
            **({"slowed_to": self.slowed_to} if self.slowed_to else {}),
            **self.facts,
        }


def by_reason(reasons: Iterable[tuple[str, str | None]]) -> dict[str, list[str]]:
    """Each reason with the names that have it."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons:
        if reason is not None:
            names.setdefault(reason, []).append(name)
    return names


def listed(names: Sequence[str], total: int) -> str:
    """Names for a message: `contacts, leads`, or `contacts, leads, ... and 9 more`, or, of `total` ones, `all 49`."""
    if len(names) == total > NAMED:
        return f"all {total}"
    return listing(names, NAMED)


def failure_report(command: str, reason: str, exit_code: int) -> Report:
    """The report of a command that did nothing."""
    return Report(command, FAILED, reason, exit_code=exit_code)


def error_report(command: str, error: BaseException) -> Report:
    """The report of a command that an exception ended."""
    if isinstance(error, KeyboardInterrupt):
        report = getattr(error, "report", None) or Report(command)
        report.command = command
        report.interrupt(getattr(error, "exit_code", INTERRUPTED[0]))
        return report
    from pipelines.destinations.dlt_options import wrong_option

    error = wrong_option(error) or error
    exit_code = getattr(error, "exit_code", None)
    if exit_code is None and not isinstance(error, OSError):  # a full disk or a read-only folder is not a bug
        logger.error("unexpected error: please report it with the traceback below", exc_info=error)
    return failure_report(command, clean(str(error)) or type(error).__name__, 1 if exit_code is None else exit_code)
