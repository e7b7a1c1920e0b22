"""How one entity fares in a run."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .errors import InsightlyError
from .state.missing import MissingIds


@dataclass
class EntityResult:
    """How one entity fares in a run; `state` is None while it is under way.

    `missing_ids` is set where everything is read again, and tells what was held and did not come; `gone` and `hidden`
    are ids asked for and answered with 404 or 403; `counted` is told like the `notes`, each text after its number.
    """

    state: str | None = None
    reason: str | None = None
    rows: int = 0
    merged: int = 0
    deleted: int = 0
    total: int | None = None
    seconds: float = 0.0
    watermark: str | None = None
    watermark_before: str | None = None
    missing_ids: MissingIds | None = None
    gone: list[Any] = field(default_factory=list)
    hidden: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    error: InsightlyError | None = None

    @property
    def open(self) -> bool:
        return self.state is None
