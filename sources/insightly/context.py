"""What the resources of one run share: client, call budget, thread pool, definitions, results."""

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dlt
from dlt.common.exceptions import DltException
from dlt.common.normalizers.naming.snake_case import NamingConvention

from .api.client import Client
from .api.quota import CallBudget
from .api.rate_limit import RateLimiter
from .chunk import Chunk
from .config.settings import InsightlySettings
from .entities import ENTITIES, OBJECTS, RECORDS, Entity, custom_object
from .errors import BadCredentials, ConfigurationError, InsightlyError, NotAvailable, Stop
from .paging.prefetch import PageReader, PrefetchWindow
from .result import EntityResult
from .rows.descriptions import description_of
from .rows.masking import Mask
from .selection import PRESETS, canonical, select
from .state.checkpoint import State, was_read
from .state.request import ReadRequest
from .state.times import iso

if TYPE_CHECKING:
    from .rows.shaper import RowShaper

logger = logging.getLogger(__name__)

PREFETCH_MIN_CALLS = 1000
"""Pages are requested ahead only while this many calls are left, since a prefetched page may be wasted."""
MAX_CHANGED_KEYS = 5000
"""Changed records whose keys are kept; for more, the history compares the whole table."""
Record = dict[str, Any]
Params = Mapping[str, str | int]
Stored = Mapping[Any, Mapping[str, Any]]

normalize = NamingConvention().normalize_path


class SyncContext:
    """One run over one account.

    Args:
        settings: validated settings.
        request: what the run requests of every entity beyond the settings (`full`, `since`).
        chunked: whether resources stop at the end of a chunk, so that the runner can commit; alone, a source reads on.
        tolerant: whether the error of an entity ends only that entity; otherwise it is raised.

    Attributes:
        request: the request of every entity that has none of its own, with the settings applied.
        account: what identifies the account; kept in the source's state.
        objects: the known custom objects, by table name.
        object_definitions: the definitions of custom objects, or why they are not readable; None before they were read.
        changed_keys: per entity, the keys of records loaded since its history was last compared with its table, or more
            than `MAX_CHANGED_KEYS` of them; an entity is missing where they are not known.
        earlier_reads: when the last complete read ended of each entity that was read in earlier runs; None if in part.
        required: the entities of which one must be available; else the error of the last one is raised.
        live_ids: reads the ids that are live in the destination; None where deletions do not matter.
        stored_values: reads columns of the records with some ids in the destination; None without a runner.
        description_of: what a table is, or one of its columns; a runner has tables of its own.
        described: the columns of the schema when its tables were last described, and the definitions known then.
        results: per entity, what the run did.
        chosen: the entities of the run; `current` is the one at work.
        calls_done: the calls whose responses are processed.
        dataset_checked: whether the dataset is known to belong to the pipeline; a runner knows it.
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
        days = settings.full_every
        self.request = replace(
            request or ReadRequest(),
            start_date=settings.start_date_iso,
            full_before=None if days is None else iso(datetime.now(UTC) - timedelta(days=days)),
            run=uuid4().hex[:8],
        )
        self.dataset_checked = chunked
        self.tolerant = tolerant
        self.budget = CallBudget(settings.max_calls, settings.quota_reserve)
        self.chunk = Chunk(self.budget, settings.chunk_calls, settings.requests_per_second, endless=not chunked)
        self.account: dict[str, str] | None = None
        self.objects: dict[str, Entity] = {}
        self.object_definitions: list[Record] | NotAvailable | None = None
        self.changed_keys: dict[str, set[Any]] = {}
        self.earlier_reads: dict[str, str | None] = {}
        self.required: frozenset[str] = frozenset()
        self.live_ids: Callable[[Entity], Sequence[int]] | None = None
        self.stored_values: Callable[[Entity, Sequence[str], Sequence[Any]], Stored] | None = None
        self.results: dict[str, EntityResult] = {}
        self.shapers: dict[str, RowShaper] = {}
        self.definitions: dict[str, list[Record] | None] = {}
        self.tags_cost_calls: set[str] = set()
        self.description_of: Callable[[str, str], str] = description_of
        self.described = (0, 0)
        self.on_progress: Callable[[], None] = lambda: None
        self.chosen: Sequence[str] = ()
        self.current: str | None = None
        self.calls_done = 0
        self.page_readers: dict[tuple[str, ...], PageReader] = {}
        self.started = time.monotonic()

    @cached_property
    def client(self) -> Client:
        """Created at the first request, so that building a source needs no key."""
        self.settings.require_key()
        return Client(self.settings, self.budget, RateLimiter(self.settings.requests_per_second))

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

    @property
    def slowed_to(self) -> float | None:
        """Requests per second that this run has come down to, because the service refused more; None if it did not."""
        return self.client.rate_limiter.slowest_rate if "client" in self.__dict__ else None

    def result(self, entity: str) -> EntityResult:
        return self.results.setdefault(entity, EntityResult())

    def add_objects(self, objects: Mapping[str, str]) -> None:
        """Adds the custom objects that the destination has: table -> OBJECT_NAME."""
        self.objects.update({name: custom_object(object_name, name) for name, object_name in objects.items()})

    def entity(self, name: str) -> Entity:
        """The entity of a name; for a custom object, the defined one if it is known."""
        return self.objects.get(name) or ENTITIES.get(name) or custom_object(name, name)

    def with_objects(self, names: Iterable[str]) -> list[str]:
        """The names, and with `custom_object_records` those of all known custom objects."""
        names = list(names)
        return list(dict.fromkeys([*names, *(self.objects if RECORDS in names else ())]))

    def request_for(self, entity: Entity, request: ReadRequest) -> ReadRequest:
        """A request as it applies to an entity; `start_date` applies only where every record has a date."""
        if entity.read == "full":
            request = replace(request, always_full=True, since=None, start_date=None)
        elif not (entity.cursor_documented or entity.read == "per_parent"):
            request = replace(request, start_date=None)
        now, ahead = datetime.now(UTC), timedelta(seconds=self.settings.lookback_seconds + max(self._clock_skew, 0.0))
        ahead = min(ahead, datetime.max.replace(tzinfo=UTC) - now)  # a Date header can be of the last day there is
        return replace(request, mask=self.mask(entity).fingerprint, latest=iso(now + ahead))

    @property
    def _clock_skew(self) -> float:
        return self.client.clock_skew or 0.0 if "client" in self.__dict__ else 0.0

    def mask(self, entity: Entity) -> Mask:
        """What is hashed or dropped of the entity's records before they are written anywhere."""
        return self.settings.privacy.mask(entity)

    def record_changed_keys(self, entity: Entity, records: Iterable[Record]) -> None:
        """Records which rows of the entity's table change, for its history."""
        changed = self.changed_keys.get(entity.name)
        if changed is not None and len(changed) <= MAX_CHANGED_KEYS:
            changed.update(record[entity.key[0]] for record in records)

    def begin(self, entity: str) -> None:
        """Records which entity is at work."""
        self.current = entity
        self.on_progress()

    def count_calls(self, calls: int, size: int = 0) -> None:
        """Counts calls whose responses are processed, and the `size` of these in bytes."""
        self.chunk.add(calls, size)
        self.calls_done += calls

    @contextmanager
    def reading(self, entity: str) -> Iterator[EntityResult]:
        """Times the work on an entity and keeps its error in the result, so that the other entities go on.

        Raises:
            BadCredentials, ConfigurationError, DltException: always; others only if the context is not tolerant.
            NotAvailable: every entity of `required` was refused.
        """
        result, started = self.result(entity), time.monotonic()
        try:
            yield result
        except NotAvailable as error:
            self._skip(entity, result, error)
            if self.required and all(self.result(name).state == "skipped" for name in self.required):
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

    def end(self, result: EntityResult, state: State) -> None:
        """Records that an entity was read to its end; the entity with the oldest such record is next."""
        state["ended"] = iso(datetime.now(UTC))
        result.state = "ok"

    def save_account(self) -> None:
        """Saves account and custom objects in the source's state, from which the destination gets them."""
        state = dlt.current.source_state()
        if self.account is not None:
            state["account"] = self.account
        if self.objects:
            state[OBJECTS] = {name: entity.object_name for name, entity in self.objects.items()}


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
