"""What a run did with one entity."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .entities import Entity
from .errors import InsightlyError
from .state.checkpoint import State
from .state.missing import MissingIds
from .state.times import iso

MAX_CHANGED_KEYS = 5000
"""Changed records whose keys are kept; for more, the history compares the whole table."""


@dataclass
class EntityResult:
    """What a run did with one entity.

    Attributes:
        state: ok, partial, skipped or failed; None until the entity has ended.
        reason: why it is not ok; `error` is the error behind it.
        lost: True if it was available before and is refused now.
        rows: records received.
        merged: parent rows written.
        deleted: records marked deleted, or removed.
        seconds: time spent on the entity.
        watermark: the watermark after the run; `watermark_before` the one before it.
        changed_keys: the keys of records loaded since the entity's history was last compared with its table, or more
            than `MAX_CHANGED_KEYS` of them; None where they are not known.
        tags_cost_calls: whether records came without their tags, so that each of these costs a call.
        missing_ids: in a full read, the loaded ids that it has not met.
        gone: requested ids that were answered with 404; `hidden` those with 403.
        not_read: requested ids without an answer yet; None where no ids were requested.
        notes: sentences for the report; `counted` are further ones, each with a number behind it.
        progress: what the reader keeps from one round of the run to the next.
    """

    state: str | None = None
    reason: str | None = None
    lost: bool = False
    rows: int = 0
    merged: int = 0
    deleted: int = 0
    seconds: float = 0.0
    watermark: str | None = None
    watermark_before: str | None = None
    changed_keys: set[Any] | None = None
    tags_cost_calls: bool = False
    missing_ids: MissingIds | None = None
    gone: list[Any] = field(default_factory=list)
    hidden: list[Any] = field(default_factory=list)
    not_read: list[Any] | None = None
    notes: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    error: InsightlyError | None = None
    progress: Any = None

    @property
    def open(self) -> bool:
        """True until the entity has ended."""
        return self.state is None

    def end(self, state: State) -> None:
        """Records that the entity was read to its end; the entity with the oldest such record is next."""
        state["ended"] = iso(datetime.now(UTC))
        self.state = "ok"

    def record_changed_keys(self, entity: Entity, records: Iterable[Mapping[str, Any]]) -> None:
        """Records which rows of the entity's table change, for its history."""
        if self.changed_keys is not None and len(self.changed_keys) <= MAX_CHANGED_KEYS:
            self.changed_keys.update(record[entity.key[0]] for record in records)

    def reopen(self) -> None:
        """Prepares for one more read in the same run; all counts but `rows` continue."""
        self.rows, self.lost = 0, False
        self.state = self.reason = self.error = self.not_read = self.progress = None
