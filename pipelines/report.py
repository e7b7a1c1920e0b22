"""What a command did, as an object for programs and a table for people."""

from dataclasses import dataclass, field
from typing import Any

DONE, FAILED, STOPPED = "done", "failed", "stopped"


@dataclass
class EntityReport:
    """One entity's part: `rows` received, `merged` into its table, `deleted` found, `calls` to the API."""

    state: str
    reason: str | None = None
    rows: int = 0
    merged: int = 0
    deleted: int = 0
    calls: int = 0
    seconds: float = 0.0
    watermark: str | None = None
    schema_changes: list[str] = field(default_factory=list)
    plan: dict[str, int | None] = field(default_factory=dict)

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
            **self.plan,
        }


@dataclass
class Report:
    """One command's run; `exit_code` follows from it."""

    command: str
    status: str = DONE
    reason: str | None = None
    entities: dict[str, EntityReport] = field(default_factory=dict)
    calls: int = 0
    calls_left_today: int | None = None
    seconds: float = 0.0
    exit_code: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "status": self.status,
            "reason": self.reason,
            "entities": {name: entity.to_dict() for name, entity in self.entities.items()},
            "calls": self.calls,
            "calls_left_today": self.calls_left_today,
            "seconds": round(self.seconds, 3),
            **self.facts,
        }
