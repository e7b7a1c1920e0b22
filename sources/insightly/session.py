"""What the resources of one run share: the client, its budget, the reads under way, and how each entity fared."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import dlt

from .budget import Budget
from .client import Answer, Client
from .cursor import State, Wish, iso
from .entities import ENTITIES, Entity
from .errors import BadCredentials, Gone, InsightlyError, NotAvailable, Stop
from .lookahead import Lookahead, Read
from .pacer import Pacer
from .records import Shaper
from .settings import InsightlySettings
from .walk import Page

logger = logging.getLogger(__name__)

CHUNK_SECONDS = 30.0
ROOMY = 1000
"""Calls left from which on pages are asked for ahead; fewer are not to be wasted on pages that no one may read."""
Record = dict[str, Any]
Params = Mapping[str, str | int]


@dataclass
class Outcome:
    """How one entity fares in a run; `state` is None while it is under way."""

    state: str | None = None
    reason: str | None = None
    rows: int = 0
    merged: int = 0
    total: int | None = None
    seconds: float = 0.0
    watermark: str | None = None
    notes: list[str] = field(default_factory=list)
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
        account: what identifies the account, kept in the source's state.
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
        self.wish = _with_settings(wish or Wish(), settings)
        self.chunked = chunked
        self.tolerant = tolerant
        self.budget = Budget(settings.max_calls, settings.quota_reserve)
        self.account: dict[str, str] | None = None
        self.outcomes: dict[str, Outcome] = {}
        self.shapers: dict[str, Shaper] = {}
        self.definitions: dict[str, list[Record] | None] = {}
        self.started_at: dict[str, datetime] = {}
        self.begun: set[str] = set()
        self.tags_cost_calls: set[str] = set()
        self.skew = 0.0
        self.on_progress: Callable[[], None] = lambda: None
        self._lookaheads: dict[tuple[str, ...], Lookahead] = {}
        self._chunk_calls = 0
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

    def close(self) -> None:
        for lookahead in self._lookaheads.values():
            lookahead.close()
        if "pool" in self.__dict__:
            self.pool.shutdown(wait=True, cancel_futures=True)
        if "client" in self.__dict__:
            self.client.close()

    def outcome(self, entity: str) -> Outcome:
        return self.outcomes.setdefault(entity, Outcome())

    def begin_chunk(self) -> None:
        self._chunk_calls = 0
        self._chunk_until = time.monotonic() + CHUNK_SECONDS

    def chunk_spent(self) -> bool:
        """True when what was read since `begin_chunk` is to be committed before more is read."""
        if not self.chunked:
            return False
        return self._chunk_calls >= self.settings.chunk_calls or time.monotonic() > self._chunk_until

    @contextmanager
    def reading(self, entity: str) -> Iterator[Outcome]:
        """Times an entity's turn, and notes what ended it early instead of letting it end the others."""
        outcome, begun = self.outcome(entity), time.monotonic()
        try:
            yield outcome
        except NotAvailable as error:
            outcome.state, outcome.reason, outcome.error = "skipped", str(error), error
            logger.warning("%s skipped: %s", entity, error)
        except Stop as stop:
            outcome.state, outcome.reason, outcome.error = "partial", str(stop), stop
        except InsightlyError as error:
            outcome.state, outcome.reason, outcome.error = "failed", str(error), error
            if isinstance(error, BadCredentials) or not self.tolerant:
                raise
            logger.error("%s failed: %s", entity, error)
        finally:
            outcome.seconds += time.monotonic() - begun
            self.on_progress()

    def end(self, outcome: Outcome, state: State) -> None:
        """Notes that an entity was read to its end; the oldest such note decides whose turn is next."""
        state["ended"] = iso(datetime.now(UTC))
        outcome.state = "ok"

    def remember_account(self) -> None:
        """Puts the account into the source's state, so that the destination tells whose records it holds."""
        if self.account is not None:
            dlt.current.source_state()["account"] = self.account

    def lookahead(self, entity: Entity, since: str | None = None, variant: str = "") -> Lookahead:
        """The reader of an entity's list, or of what changed after `since`; it outlives a chunk."""
        key = (entity.name, since or "", variant)
        if key not in self._lookaheads:
            params: dict[str, str | int] = dict(entity.params)
            if variant:
                params["record_type"] = variant
            path = entity.path
            if since is not None:
                assert entity.search_path is not None
                path, params["updated_after_utc"] = entity.search_path, since
            read, top = self._reader(entity, path, params), max(2, self.settings.page_size)
            self._lookaheads[key] = Lookahead(
                read, self.pool, lambda: top, lambda: self._depth(entity), self._count_page
            )
        return self._lookaheads[key]

    def _reader(self, entity: Entity, path: str, params: Params) -> Read:
        begun_at: list[int] = []

        def read(skip: int, top: int) -> Page:
            begun_at.append(skip)
            paging: Params = {"top": top, "skip": skip, "count_total": "true"} if entity.paged else {}
            rows, answer = self.client.get_list(path, {**params, **paging}, label=entity.name)
            self.skew = answer.skew or 0.0
            if skip == 0:
                self.started_at.setdefault(entity.name, _moment(answer, entity.name))
            total = answer.total if entity.paged else len(rows)
            if total is not None:
                self.outcome(entity.name).total = total - begun_at[0]
            return Page(rows, total, top if entity.paged else len(rows) + 1)

        return read

    def _count_page(self) -> None:
        self._chunk_calls += 1

    def _depth(self, entity: Entity) -> int:
        """Pages to read ahead: none where each record costs a call, or where there is no call to waste."""
        left = self.budget.left()
        if entity.name in self.tags_cost_calls or (entity.tagged and self.settings.tags == "endpoint"):
            return 1
        return 1 if left is not None and left < ROOMY else self.settings.max_connections

    def total_of(self, entity: Entity, since: str | None) -> int:
        """How many records a walk would read, for one call."""
        params: dict[str, str | int] = {**dict(entity.params), "top": 1, "count_total": "true"}
        path = entity.path
        if since is not None and entity.search_path is not None:
            path, params["updated_after_utc"] = entity.search_path, since
        rows, answer = self.client.get_list(path, params, label=entity.name)
        return len(rows) if answer.total is None else answer.total

    def tags_of(self, entity: Entity, ids: list[Any]) -> list[list[Record] | None]:
        """The tags of records, one call each; None for a record that went away meanwhile.

        Raises:
            Forbidden, Stop and the other errors of the client.
        """

        def ask(id_: Any) -> list[Record] | None:
            try:
                return self.client.get_list(f"{entity.path}/{id_}/Tags", {}, label=entity.name)[0]
            except Gone:
                return None

        answers = list(self.pool.map(ask, ids))
        self._chunk_calls += len(ids)
        return answers

    def definitions_of(self, entity: Entity) -> list[Record] | None:
        """What `/CustomFields` tells of the entity's object, asked once a run; None where it may not be read."""
        if entity.name not in self.definitions:
            path = ENTITIES["custom_fields"].path.format(objectName=entity.path)
            try:
                self.definitions[entity.name] = self.client.get_list(path, {}, label=entity.name)[0]
            except NotAvailable as error:
                logger.warning("custom fields of %s keep the types their values show: %s", entity.name, error)
                self.definitions[entity.name] = None
        return self.definitions[entity.name]


def _with_settings(wish: Wish, settings: InsightlySettings) -> Wish:
    days = settings.full_every
    full_before = None if days is None else iso(datetime.now(UTC) - timedelta(days=days))
    return replace(wish, start_date=settings.start_date_iso, full_before=full_before)


def _moment(answer: Answer, entity: str) -> datetime:
    """The service's clock when the request left; ours, with a warning, where the answer carries no Date."""
    if answer.asked_at is not None:
        return answer.asked_at
    moment = datetime.now(UTC) - timedelta(seconds=answer.elapsed)
    logger.warning("%s: the answer has no Date header; this machine's clock (%s) is taken instead", entity, iso(moment))
    return moment
