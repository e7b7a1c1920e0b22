"""What the resources of one run share: the client, its budget, the reads under way, and how each entity fared."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import uuid4

import dlt
from dlt.common.normalizers.naming.snake_case import NamingConvention

from .api.client import Client
from .api.quota import CallBudget
from .api.rate_limit import RateLimiter
from .api.search import Search
from .config.settings import InsightlySettings
from .entities import ENTITIES, OBJECTS, RECORDS, Entity, custom_object, select
from .errors import BadCredentials, ConfigurationError, InsightlyError, NotAvailable, Stop
from .paging.prefetch import PageReader, PrefetchWindow
from .result import EntityResult
from .rows.masking import Mask
from .rows.shaper import RowShaper
from .state.checkpoint import State
from .state.request import ReadRequest
from .state.times import iso

logger = logging.getLogger(__name__)

CHUNK_SECONDS = 30.0
CHUNK_BYTES = 64_000_000
"""Of the answers behind one load package: the memory that loading takes grows with them, however wide the records."""
PREFETCH_MIN_CALLS = 1000
"""Calls left from which on pages are asked for ahead; fewer are not to be wasted on pages that no one may read."""
FEW = 5000
"""Records loaded up to which each is remembered, so that only their versions are compared."""
Record = dict[str, Any]
Params = Mapping[str, str | int]

normalize = NamingConvention().normalize_path


class SyncContext:
    """One run over one account.

    Args:
        settings: validated settings.
        request: what the run asks of every entity beyond the settings (`full`, `since`).
        chunked: whether resources stop after `chunk_calls` so that the runner can commit; alone, a source reads on.
        tolerant: whether an entity's error is noted and ends that entity alone; else it is raised.

    Attributes:
        account: what identifies the account, kept in the source's state.
        objects: the custom objects that are known, by their tables' names.
        told: the definitions of custom objects, or why they may not be read; None before they were asked for.
        requests: what is asked of single entities, in place of the run's request.
        wanted: ids of the records to read of an entity, in place of what changed.
        searches: by which field's value to find the records to read of an entity, in place of what changed.
        changed_keys: for each entity, the keys of records loaded since its history was level with its table, or more
            than `FEW` of them; an entity is absent where that is not known.
        under_way: of each entity that costs a call a record, how far this run came.
        live_ids: tells the ids that the destination holds as live; None where nobody asks for deletions.
    """

    def __init__(
        self,
        settings: InsightlySettings,
        request: ReadRequest | None = None,
        *,
        chunked: bool = False,
        tolerant: bool = False,
    ) -> None:
        self.settings = settings
        self.request = with_settings(request or ReadRequest(), settings)
        self.chunked = chunked
        self.tolerant = tolerant
        self.budget = CallBudget(settings.max_calls, settings.quota_reserve)
        self.account: dict[str, str] | None = None
        self.objects: dict[str, Entity] = {}
        self.told: list[Record] | NotAvailable | None = None
        self.requests: dict[str, ReadRequest] = {}
        self.wanted: dict[str, list[Any]] = {}
        self.searches: dict[str, Search] = {}
        self.changed_keys: dict[str, set[Any]] = {}
        self.live_ids: Callable[[Entity], list[int]] | None = None
        self.results: dict[str, EntityResult] = {}
        self.shapers: dict[str, RowShaper] = {}
        self.definitions: dict[str, list[Record] | None] = {}
        self.started_at: dict[Entity, datetime] = {}
        self.begun: set[str] = set()
        self.under_way: dict[str, Any] = {}
        self.tags_cost_calls: set[str] = set()
        self.clock_skew = 0.0
        self.on_progress: Callable[[], None] = lambda: None
        self.page_readers: dict[tuple[str, ...], PageReader] = {}
        self._chunk_calls = self._chunk_bytes = 0
        self._chunk_until = 0.0
        self.began = time.monotonic()
        self.begin_chunk()

    @cached_property
    def client(self) -> Client:
        """Made at the first request, so that building a source needs no key."""
        self.settings.require_key()
        return Client(self.settings, self.budget, RateLimiter(self.settings.requests_per_second))

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.settings.max_connections, thread_name_prefix="insightly")

    @cached_property
    def prefetch_window(self) -> PrefetchWindow:
        return PrefetchWindow(self.pool, self.settings.max_connections)

    def close(self) -> None:
        for page_reader in self.page_readers.values():
            page_reader.close()
        if "pool" in self.__dict__:
            self.pool.shutdown(wait=True, cancel_futures=True)
        if "client" in self.__dict__:
            self.client.close()

    def result(self, entity: str) -> EntityResult:
        return self.results.setdefault(entity, EntityResult())

    def know(self, objects: Mapping[str, str]) -> None:
        """Makes the custom objects of the destination known: table -> OBJECT_NAME."""
        self.objects.update({name: custom_object(object_name, name) for name, object_name in objects.items()})

    def entity(self, name: str) -> Entity:
        """The entity of a name; that of a custom object is the one defined, as far as that is known."""
        return self.objects.get(name) or ENTITIES.get(name) or custom_object(name, name)

    def with_objects(self, names: Sequence[str]) -> list[str]:
        """Names, and those of all known custom objects where the entity that stands for them is among them."""
        return list(dict.fromkeys([*names, *(self.objects if RECORDS in names else ())]))

    def request_of(self, name: str) -> ReadRequest:
        """What is asked of an entity; `start_date` bounds only those whose records are sure to have dates."""
        entity, request = self.entity(name), self.requests.get(name, self.request)
        if entity.read == "full":
            request = replace(request, whole=True, since=None)
        bounded = (entity.cursor_documented or entity.read == "per_parent") and entity.read != "full"
        start_date = request.start_date if bounded else None
        return replace(request, mask=self.mask(entity).fingerprint, start_date=start_date)

    def mask(self, entity: Entity) -> Mask:
        """What is done to the entity's records before they are written anywhere."""
        return self.settings.privacy.mask(entity)

    def is_selected(self, entity: str) -> bool:
        """True where single records are to be read, in checkpoint of what changed."""
        return entity in self.wanted or entity in self.searches

    def record_changed_keys(self, entity: Entity, records: Iterable[Record]) -> None:
        """Notes records that go into the entity's table, and that its history is to be compared with."""
        fresh = self.changed_keys.get(entity.name)
        if fresh is not None and len(fresh) <= FEW:
            fresh.update(record[entity.key[0]] for record in records)

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
    def reading(self, entity: str) -> Iterator[EntityResult]:
        """Times an entity's turn, and notes what ended it early instead of letting it end the others."""
        result, begun = self.result(entity), time.monotonic()
        try:
            yield result
        except NotAvailable as error:
            result.state, result.reason, result.error = "skipped", str(error), error
            logger.info("%s skipped: %s", entity, error)
        except Stop as stop:
            result.state, result.reason, result.error = "partial", str(stop), stop
        except InsightlyError as error:
            result.state, result.reason, result.error = "failed", str(error), error
            if isinstance(error, BadCredentials | ConfigurationError) or not self.tolerant:
                raise
            logger.error("%s failed: %s", entity, error)
        finally:
            result.seconds += time.monotonic() - begun
            if not result.open:
                self._stop_reading_ahead(entity)
            self.on_progress()

    def _stop_reading_ahead(self, entity: str) -> None:
        for (name, *_), page_reader in self.page_readers.items():
            if name == entity:
                page_reader.close()

    def end(self, result: EntityResult, state: State) -> None:
        """Notes that an entity was read to its end; the oldest such note decides whose turn is next."""
        state["ended"] = iso(datetime.now(UTC))
        result.state = "ok"

    def save_account(self) -> None:
        """Puts account and custom objects into the source's state: the destination tells whose records it holds."""
        state = dlt.current.source_state()
        if self.account is not None:
            state["account"] = self.account
        if self.objects:
            state[OBJECTS] = {name: entity.object_name for name, entity in self.objects.items()}


def choose(settings: InsightlySettings, names: Sequence[str] = ()) -> tuple[str, ...]:
    """The entities to work on: those named, or those of the setting `entities`; without tags, `tags` only by name.

    A custom object is named as its table; whether there is such a one is still to be found out.

    Raises:
        BadSetting: a name is not known, or is declared but not loaded yet.
    """
    return tuple(dict.fromkeys(map(normalize, select(names or settings.entities, tags=settings.tags != "off"))))


def with_settings(request: ReadRequest, settings: InsightlySettings) -> ReadRequest:
    days = settings.full_every
    full_before = None if days is None else iso(datetime.now(UTC) - timedelta(days=days))
    return replace(request, start_date=settings.start_date_iso, full_before=full_before, run=uuid4().hex[:8])
