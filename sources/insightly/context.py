"""What the resources of one run share: client, call budget, thread pool, definitions, results."""

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import dlt
from dlt.common.exceptions import DltException
from dlt.common.normalizers.naming.snake_case import NamingConvention

from .api.client import Client
from .api.quota import CallBudget
from .api.rate_limit import RateLimiter
from .catalog import Catalog
from .chunk import Chunk
from .config.settings import InsightlySettings
from .entities import OBJECTS, Entity
from .errors import BadCredentials, ConfigurationError, InsightlyError, NotAvailable, Stop
from .paging.prefetch import PageReader, PrefetchWindow
from .result import EntityResult
from .rows.descriptions import description_of
from .selection import PRESETS, canonical, select
from .state.checkpoint import was_read
from .state.request import ReadRequest
from .state.times import iso

if TYPE_CHECKING:
    from .rows.shaper import RowShaper

logger = logging.getLogger(__name__)

PREFETCH_MIN_CALLS = 1000
"""Pages are requested ahead only while this many calls are left, since a prefetched page may be wasted."""
Record = dict[str, Any]

normalize = NamingConvention().normalize_path


class LoadedRows(Protocol):
    """Reads rows that are loaded in the destination."""

    def live_ids(self, entity: Entity) -> Sequence[int]:
        """The ids of the records not marked deleted, ascending."""

    def values_by_id(
        self, entity: Entity, columns: Sequence[str], ids: Sequence[Any]
    ) -> Mapping[Any, Mapping[str, Any]]:
        """The values of some columns of records: id -> column -> value."""


class SyncContext:
    """One run over one account.

    Args:
        settings: validated settings.
        request: what the run requests of every entity beyond the settings (`full`, `since`).
        chunked: whether resources stop at the end of a chunk, so that the runner can commit; alone, a source reads on.
        tolerant: whether the error of an entity ends only that entity; otherwise it is raised.

    Attributes:
        request: the request of every entity that has none of its own, with the settings applied.
        budget, rate_limiter, chunk: how many calls may be made, how fast, and how many before a commit.
        catalog: the entities, custom objects included.
        chosen: the entities of the run; `current` is the one at work.
        page_readers: the readers of the lists; they live as long as the run.
        definitions: per entity, the definitions of its custom fields, as far as they were read; None if not readable.
        prefetched_definitions: the requests for those that were sent before they were needed; None once used.
        shapers: per entity, what makes tables of its records.
        results: per entity, what the run did.
        on_progress: called when there is progress; it may raise an interruption.
        account: what identifies the account; kept in the source's state.
        earlier_reads: when the last complete read ended of each entity that was read in earlier runs; None if in part.
        loaded: the rows of the destination; None without a runner.
        dataset_checked: whether the dataset is known to belong to the pipeline; a runner knows it.
        description_of: what a table is, or one of its columns; a runner has tables of its own.
        described: the columns of the schema when its tables were last described, and the definitions known then.
    """

    def __init__(
        self,
        settings: InsightlySettings,
        request: ReadRequest | None = None,
        *,
        chunked: bool = False,
        tolerant: bool = False,
    ) -> None:
        self.settings, self.tolerant, self.started = settings, tolerant, time.monotonic()
        days = settings.full_every
        self.request = replace(
            request or ReadRequest(),
            start_date=settings.start_date_iso,
            full_before=None if days is None else iso(datetime.now(UTC) - timedelta(days=days)),
            run=uuid4().hex[:8],
        )
        self.budget = CallBudget(settings.max_calls, settings.quota_reserve)
        self.rate_limiter = RateLimiter(settings.requests_per_second)
        self.chunk = Chunk(self.budget, settings.chunk_calls, settings.requests_per_second, endless=not chunked)
        self.catalog = Catalog()
        self.chosen: Sequence[str] = ()
        self.current: str | None = None
        self.page_readers: dict[tuple[str, ...], PageReader] = {}
        self.definitions: dict[str, list[Record] | None] = {}
        self.prefetched_definitions: dict[str, Future[list[Record]] | None] = {}
        self.shapers: dict[str, RowShaper] = {}
        self.results: dict[str, EntityResult] = {}
        self.on_progress: Callable[[], None] = lambda: None
        self.account: dict[str, str] | None = None
        self.earlier_reads: dict[str, str | None] = {}
        self.loaded: LoadedRows | None = None
        self.dataset_checked = chunked
        self.description_of: Callable[[str, str], str] = description_of
        self.described = (0, 0)

    @cached_property
    def client(self) -> Client:
        """Created at the first request, so that building a source needs no key."""
        return Client(self.settings, self.budget, self.rate_limiter)

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.settings.max_connections, thread_name_prefix="insightly")

    @cached_property
    def prefetch_window(self) -> PrefetchWindow:
        return PrefetchWindow(self.pool, self.settings.max_connections)

    def close(self) -> None:
        """Closes the connections, after the responses to the requests in flight unless an error is being raised."""
        raised = sys.exception()
        self.budget.close()  # what was requested ahead is not tried again
        for page_reader in self.page_readers.values():
            page_reader.close()
        if "pool" in self.__dict__:
            self.pool.shutdown(wait=raised is None, cancel_futures=True)
        if "client" in self.__dict__:
            self.client.close()

    @property
    def may_prefetch(self) -> bool:
        """Whether pages may be requested before it is certain that they are needed."""
        left = self.budget.left()
        return left is None or left >= PREFETCH_MIN_CALLS

    def result(self, entity: str) -> EntityResult:
        return self.results.setdefault(entity, EntityResult())

    def request_for(self, entity: Entity, request: ReadRequest) -> ReadRequest:
        """A request as it applies to an entity; `start_date` applies only where every record has a date."""
        if entity.read == "full":
            request = replace(request, always_full=True, since=None, start_date=None)
        elif not (entity.cursor_documented or entity.read == "per_parent"):
            request = replace(request, start_date=None)
        skew = self.client.clock_skew or 0.0 if "client" in self.__dict__ else 0.0
        now, ahead = datetime.now(UTC), timedelta(seconds=self.settings.lookback_seconds + max(skew, 0.0))
        ahead = min(ahead, datetime.max.replace(tzinfo=UTC) - now)  # a Date header can be of the last day there is
        return replace(request, mask=self.settings.privacy.mask(entity).fingerprint, latest=iso(now + ahead))

    @contextmanager
    def reading(self, entity: str) -> Iterator[EntityResult]:
        """Times the work on an entity and keeps its error in the result, so that the other entities continue.

        Raises:
            BadCredentials, ConfigurationError, DltException: always; others only if the context is not tolerant.
            NotAvailable: every chosen entity was refused, and the context is not tolerant.
        """
        self.current = entity
        self.on_progress()
        result, started = self.result(entity), time.monotonic()
        try:
            yield result
        except NotAvailable as error:
            self._skip(entity, result, error)
            if not self.tolerant and all(self.result(name).state == "skipped" for name in self.chosen):
                raise
        except Stop as stop:
            result.state, result.reason, result.error = "partial", str(stop), stop
        except InsightlyError as error:
            result.state, result.reason, result.error = "failed", str(error), error
            if isinstance(error, BadCredentials | ConfigurationError) or not self.tolerant:
                raise
            logger.error("%s failed: %s", entity, error)
        except DltException:
            raise
        except Exception as error:
            if not self.tolerant:
                raise
            # Its text may quote a record.
            unexpected = InsightlyError(f"unexpected {type(error).__name__}: please report it with the log of the run")
            result.state, result.reason, result.error = "failed", str(unexpected), unexpected
            frames = "".join(traceback.format_tb(error.__traceback__, limit=-10))
            logger.error("%s failed: %s\n%s", entity, unexpected, frames)
        finally:
            result.seconds += time.monotonic() - started
            if not result.open:
                for (name, *_), page_reader in self.page_readers.items():
                    if name == entity:
                        page_reader.close()
            self.on_progress()

    def record_earlier_read(self, name: str, state: Mapping[str, Any]) -> None:
        """Records, by the state of its resource before the run, whether an entity was read in earlier runs."""
        if name not in self.earlier_reads and was_read(state):
            self.earlier_reads[name] = state.get("ended")

    def _skip(self, entity: str, result: EntityResult, error: NotAvailable) -> None:
        result.state, result.reason, result.error = "skipped", str(error), error
        result.lost = entity in self.earlier_reads
        if result.lost:
            ended = self.earlier_reads[entity]
            last = f"last read at {ended}" if ended else "partly read before"
            result.reason = f"no longer available, {last}; its rows stay as they are: {error}"
            logger.warning("%s %s", entity, result.reason)
        else:
            logger.info("%s skipped: %s", entity, error)

    def save_account(self) -> None:
        """Saves account and custom objects in the source's state, from which the destination gets them."""
        state = dlt.current.source_state()
        if self.account is not None:
            state["account"] = self.account
        if self.catalog.objects:
            state[OBJECTS] = self.catalog.object_names()


def choose(settings: InsightlySettings, names: Sequence[str] = ()) -> tuple[str, ...]:
    """The entities to work on: `names`, or those of the setting `entities`.

    `tags` is included only by name where the setting `tags` is off. A custom object is named like its table; whether
    it exists is checked later.

    Raises:
        BadSetting: a name is unknown, or the entity cannot be loaded by itself.
    """
    source = "ENTITY" if names else "sources.insightly.entities"
    chosen = select(names or settings.entities, tags=settings.tags != "off", setting=source)
    return tuple(dict.fromkeys(map(normalize, chosen)))


def named_entities(names: Iterable[str]) -> set[str]:
    """The entities among names of entities and presets, named like their tables."""
    return {normalize(canonical(name)) for name in names} - PRESETS.keys()
