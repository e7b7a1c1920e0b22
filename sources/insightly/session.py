"""What the resources of one run share: the client, its budget, the reads under way, and how each entity fared."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import uuid4

import dlt

from .budget import Budget
from .client import Client
from .cursor import Absent, State, Wish, iso
from .entities import ENTITIES, Entity, select
from .errors import BadCredentials, ConfigurationError, InsightlyError, NotAvailable, Stop
from .lookahead import Ahead, Lookahead
from .match import Search
from .pacer import Pacer
from .privacy import Mask
from .records import Shaper
from .settings import InsightlySettings

logger = logging.getLogger(__name__)

CHUNK_SECONDS = 30.0
CHUNK_BYTES = 64_000_000
"""Of the answers behind one load package: the memory that loading takes grows with them, however wide the records."""
ROOMY = 1000
"""Calls left from which on pages are asked for ahead; fewer are not to be wasted on pages that no one may read."""
Record = dict[str, Any]
Params = Mapping[str, str | int]


@dataclass
class Outcome:
    """How one entity fares in a run; `state` is None while it is under way.

    `absent` is set where everything is read again, and tells what was held and did not come; `gone` and `hidden` are
    ids asked for and answered with 404 or 403; `counted` is told like the `notes`, each text after its number.
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
    absent: Absent | None = None
    gone: list[Any] = field(default_factory=list)
    hidden: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    error: InsightlyError | None = None

    @property
    def open(self) -> bool:
        return self.state is None


class Session:
    """One run over one account.

    Args:
        settings: validated settings.
        wish: what the run asks of every entity beyond the settings (`full`, `since`).
        chunked: whether resources stop after `chunk_calls` so that the runner can commit; alone, a source reads on.
        tolerant: whether an entity's error is noted and ends that entity alone; else it is raised.

    Attributes:
        account: what identifies the account, kept in the source's state.
        wishes: what is asked of single entities, in place of the run's wish.
        wanted: ids of the records to read of an entity, in place of what changed.
        searches: by which field's value to find the records to read of an entity, in place of what changed.
        under_way: of each entity that costs a call a record, how far this run came.
        live_ids: tells the ids that the destination holds as live; None where nobody asks for deletions.
    """

    def __init__(
        self,
        settings: InsightlySettings,
        wish: Wish | None = None,
        *,
        chunked: bool = False,
        tolerant: bool = False,
    ) -> None:
        self.settings = settings
        self.wish = with_settings(wish or Wish(), settings)
        self.chunked = chunked
        self.tolerant = tolerant
        self.budget = Budget(settings.max_calls, settings.quota_reserve)
        self.account: dict[str, str] | None = None
        self.wishes: dict[str, Wish] = {}
        self.wanted: dict[str, list[Any]] = {}
        self.searches: dict[str, Search] = {}
        self.live_ids: Callable[[Entity], list[int]] | None = None
        self.outcomes: dict[str, Outcome] = {}
        self.shapers: dict[str, Shaper] = {}
        self.definitions: dict[str, list[Record] | None] = {}
        self.started_at: dict[Entity, datetime] = {}
        self.begun: set[str] = set()
        self.under_way: dict[str, Any] = {}
        self.tags_cost_calls: set[str] = set()
        self.skew = 0.0
        self.on_progress: Callable[[], None] = lambda: None
        self.lookaheads: dict[tuple[str, ...], Lookahead] = {}
        self._chunk_calls = self._chunk_bytes = 0
        self._chunk_until = 0.0
        self.began = time.monotonic()
        self.begin_chunk()

    @cached_property
    def client(self) -> Client:
        """Made at the first request, so that building a source needs no key."""
        self.settings.require_key()
        return Client(self.settings, self.budget, Pacer(self.settings.requests_per_second))

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.settings.max_connections, thread_name_prefix="insightly")

    @cached_property
    def ahead(self) -> Ahead:
        return Ahead(self.pool, self.settings.max_connections)

    def close(self) -> None:
        for lookahead in self.lookaheads.values():
            lookahead.close()
        if "pool" in self.__dict__:
            self.pool.shutdown(wait=True, cancel_futures=True)
        if "client" in self.__dict__:
            self.client.close()

    def outcome(self, entity: str) -> Outcome:
        return self.outcomes.setdefault(entity, Outcome())

    def wish_of(self, entity: str) -> Wish:
        facts, wish = ENTITIES[entity], self.wishes.get(entity, self.wish)
        if facts.walked:
            wish = replace(wish, whole=True, start_date=None, since=None)
        return replace(wish, mask=self.mask(facts).fingerprint)

    def mask(self, entity: Entity) -> Mask:
        """What is done to the entity's records before they are written anywhere."""
        return self.settings.privacy.mask(entity)

    def narrowed(self, entity: str) -> bool:
        """True where single records are to be read, in place of what changed."""
        return entity in self.wanted or entity in self.searches

    def begin_chunk(self) -> None:
        self._chunk_calls = self._chunk_bytes = 0
        self._chunk_until = time.monotonic() + CHUNK_SECONDS

    def count_calls(self, calls: int, size: int = 0) -> None:
        """Counts calls of which the answers, of `size` bytes, were taken over, towards the end of the chunk."""
        self._chunk_calls += calls
        self._chunk_bytes += size

    def chunk_spent(self) -> bool:
        """True when what was read since `begin_chunk` is to be committed before more is read."""
        if not self.chunked:
            return False
        full = self._chunk_calls >= self.settings.chunk_calls or self._chunk_bytes >= CHUNK_BYTES
        return full or time.monotonic() > self._chunk_until

    @contextmanager
    def reading(self, entity: str) -> Iterator[Outcome]:
        """Times an entity's turn, and notes what ended it early instead of letting it end the others."""
        outcome, begun = self.outcome(entity), time.monotonic()
        try:
            yield outcome
        except NotAvailable as error:
            outcome.state, outcome.reason, outcome.error = "skipped", str(error), error
            logger.info("%s skipped: %s", entity, error)
        except Stop as stop:
            outcome.state, outcome.reason, outcome.error = "partial", str(stop), stop
        except InsightlyError as error:
            outcome.state, outcome.reason, outcome.error = "failed", str(error), error
            if isinstance(error, BadCredentials | ConfigurationError) or not self.tolerant:
                raise
            logger.error("%s failed: %s", entity, error)
        finally:
            outcome.seconds += time.monotonic() - begun
            if not outcome.open:
                self._stop_reading_ahead(entity)
            self.on_progress()

    def _stop_reading_ahead(self, entity: str) -> None:
        for (name, *_), lookahead in self.lookaheads.items():
            if name == entity:
                lookahead.close()

    def end(self, outcome: Outcome, state: State) -> None:
        """Notes that an entity was read to its end; the oldest such note decides whose turn is next."""
        state["ended"] = iso(datetime.now(UTC))
        outcome.state = "ok"

    def remember_account(self) -> None:
        """Puts the account into the source's state, so that the destination tells whose records it holds."""
        if self.account is not None:
            dlt.current.source_state()["account"] = self.account


def choose(settings: InsightlySettings, names: Sequence[str] = ()) -> tuple[str, ...]:
    """The entities to work on: those named, or those of the setting `entities`; without tags, `tags` only by name.

    Raises:
        BadSetting: a name is not known, or is declared but not loaded yet.
    """
    return select(names or settings.entities, tags=settings.tags != "off")


def with_settings(wish: Wish, settings: InsightlySettings) -> Wish:
    days = settings.full_every
    full_before = None if days is None else iso(datetime.now(UTC) - timedelta(days=days))
    return replace(wish, start_date=settings.start_date_iso, full_before=full_before, run=uuid4().hex[:8])
