"""Runs one command on one destination: lock, recovery, rounds of chunks, report."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseException
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines.destinations.account import Account, check_account, request_account
from pipelines.destinations.dataset import Dataset
from pipelines.destinations.foreign import refuse_foreign_tables
from pipelines.destinations.pipeline_state import custom_objects, resource_states, source_state
from pipelines.destinations.recovery import cause, recover_pipeline
from pipelines.destinations.system_tables import description_of, missing_logs, restore_tables
from pipelines.destinations.target import LoadingFailed, NothingSynced, Target
from sources.insightly import ENTITIES, InsightlyError, insightly
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import SyncContext, named_entities
from sources.insightly.entities import OBJECTS, RECORDS, Entity
from sources.insightly.errors import Stop
from sources.insightly.resources.build import prime
from sources.insightly.resources.discovery import discover_objects
from sources.insightly.resources.per_parent import watermark_of_parents
from sources.insightly.result import EntityResult
from sources.insightly.state.checkpoint import finish_full
from sources.insightly.state.request import ReadRequest
from sources.insightly.state.watermark import watermark_in

from . import interrupts
from .interpreter import tuned_interpreter
from .report import STOPPED, EntityReport, Report
from .run_log import write_run

logger = logging.getLogger(__name__)

Watch = Callable[[SyncContext], None]


@dataclass
class Runner:
    """A command at work.

    Attributes:
        command: its name in reports.
        context: what its resources share.
        pipeline: the dlt pipeline of the destination.
        dataset: the tables of the destination.
        target: the destination.
        started: when it started.
        error: what ended the command early.
        state_changed: dlt's state differs from what the last package took to the destination.
        advanced: False if reading changed nothing that a later run continues from.
        writes: False if the destination cannot be written, so that this run leaves no row in `_sync_runs`.
        account: the account of the key, if it is already requested.
    """

    command: str
    context: SyncContext
    pipeline: dlt.Pipeline
    dataset: Dataset
    target: Target
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    error: Exception | KeyboardInterrupt | None = None
    state_changed: bool = False
    advanced: bool = True
    writes: bool = True
    account: "Future[Account] | None" = None

    def states(self) -> Mapping[str, Any]:
        """The state of each resource, as of the last load."""
        return resource_states(self.pipeline)

    def watermark(self, entity: Entity) -> str | None:
        """The watermark of an entity, None before its first complete walk."""
        state = self.states().get(entity.name, {})
        return watermark_of_parents(entity, state) if entity.read == "per_parent" else watermark_in(entity, state)

    def require_synced(self) -> None:
        """Raises NothingSynced where nothing was ever loaded."""
        if not self.dataset.has_schema:
            raise NothingSynced(self.target)

    def check_account(self) -> None:
        """Checks that the destination has this account's records, or none."""
        check_account(self.pipeline, self.context, self.target, self.account)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Runs the block of a `with` statement; what ends it early is kept in `error`.

        Raises:
            ConfigurationError: a setting must change first.
        """
        try:
            with interrupts.unwrapped():
                yield
        except KeyboardInterrupt as interrupt:
            self.error = interrupt
            self.context.budget.close()
        except InsightlyError as error:
            if error.exit_code == 2:
                raise
            self.error = error
        except PipelineStepFailed as error:
            self.error = cause(error, self.target)
        except DatabaseException as error:
            self.error = LoadingFailed(
                f"{self.target} failed; what was loaded before stays: {self.target.reason(error)}"
            )

    def read(self, requests: Mapping[str, ReadRequest]) -> dict[str, EntityResult]:
        """Runs the pipeline until every entity has ended; each round is one load package, committed completely.

        With `custom_object_records`, the custom objects that are found on the way are read as well.

        Args:
            requests: what to read of each entity; one that has ended before is not read.

        Returns:
            What became of each entity.
        """
        context, before = self.context, source_state(self.pipeline)
        self.dataset.mark_histories_stale(requests)
        if context.may_prefetch:
            if RECORDS in requests and context.result(RECORDS).open:
                with context.reading(RECORDS):
                    discover_objects(context)
            known = self.states()
            for name, request in self._unfinished(requests).items():
                entity, is_first = context.catalog.entity(name), not context.budget.calls
                prime(entity, known.get(name, {}), request, context, patiently=is_first)
        while unfinished := self._unfinished(requests):
            context.chunk.begin()
            committed = self._results()
            try:
                source = insightly(context=context, requests=unfinished)
                source.resources.add(*missing_logs(self.pipeline))
                self.pipeline.extract(source)
                with interrupts.deferred():
                    started = time.monotonic()
                    self.target.load(self.pipeline)
                    context.chunk.load_seconds = time.monotonic() - started
                    committed = self._results()
            except BaseException:
                self._discard_uncommitted(committed)
                raise
            context.on_progress()
        self.advanced = source_state(self.pipeline) != before
        return {name: context.result(name) for name in context.catalog.with_objects(requests)}

    def _unfinished(self, requests: Mapping[str, ReadRequest]) -> dict[str, ReadRequest]:
        """The requests of entities that have not ended, in the order to read them.

        Unfinished walks come first, then the entity whose last complete walk is oldest: a small budget starves none.
        Per-record collections come last, because they can take every call there is.
        """
        known, position = self.states(), {name: index for index, name in enumerate(ENTITIES)}

        def turn(name: str) -> tuple[bool, bool, str, int]:
            state, per_parent = known.get(name, {}), self.context.catalog.entity(name).read == "per_parent"
            return per_parent, "checkpoint" not in state, state.get("ended", ""), position.get(name, len(position))

        names = self.context.catalog.with_objects(requests)
        unfinished = [name for name in names if self.context.result(name).open]
        return {name: requests.get(name, self.context.request) for name in sorted(unfinished, key=turn)}

    def finish_full(self, name: str, left: Collection[int] = ()) -> None:
        """Records which missing ids of a full read of an entity are left to confirm; without any, the read is done.

        The next load package takes this to the destination.
        """
        self.state_changed = True
        with self._changed_states() as states:
            if left:
                states[name]["missing_ids"] = sorted(left)
            else:
                finish_full(states[name])

    def record_repeated(self, name: str, keys: int) -> None:
        """Records how many keys of an entity more than one row still has, so that it is not read again for these."""
        if self.states().get(name, {}).get("repeated_keys", 0) != keys:
            self.state_changed = True
            with self._changed_states() as states:
                states.setdefault(name, {})["repeated_keys"] = keys

    def record_unique(self, names: Collection[str], day: str) -> None:
        """Records the day on which no key of some entities was in more than one row; goes with the rows of the run."""
        if names:
            with self._changed_states() as states:
                for name in names:
                    state = states.setdefault(name, {})
                    state.pop("repeated_keys", None)
                    state["keys_checked"] = day

    @contextmanager
    def _changed_states(self) -> Iterator[dict[str, Any]]:
        """The state of each resource, to change in the block of a `with` statement."""
        with self.pipeline.managed_state() as state:
            source = state.setdefault("sources", {}).setdefault("insightly", {})
            yield source.setdefault("resources", {})

    def _results(self) -> dict[str, EntityResult]:
        return {name: replace(result) for name, result in self.context.results.items()}

    def _discard_uncommitted(self, committed: Mapping[str, EntityResult]) -> None:
        """Resets the results to those of the last commit: rows that were only read are not reported as written."""
        for name, result in self.context.results.items():
            before = committed.get(name, EntityResult())
            result.merged, result.watermark = before.merged, before.watermark or result.watermark_before
            if result.state in ("ok", "partial"):
                result.state = before.state

    def report(
        self, chosen: Sequence[str], named: Iterable[str], conclude: Callable[[Report], None] | None = None
    ) -> Report:
        """What was done; also written into `_sync_runs`.

        Args:
            chosen: the entities of this run.
            named: the entities that the user named; one of them that is not available is a failure.
            conclude: adds what only the command knows.

        Raises:
            Interrupted: a signal ended the command; it has the report.
        """
        with interrupts.deferred():
            report = self._report(chosen, named, conclude)
        interrupts.check(report)
        if isinstance(self.error, KeyboardInterrupt):
            raise interrupts.Interrupted(report=report) from None
        return report

    def _report(self, chosen: Sequence[str], named: Iterable[str], conclude: Callable[[Report], None] | None) -> Report:
        error, budget, calls = self.error, self.context.budget, self.context.budget.by_label
        budget.close()  # a page that was requested ahead may still be tried again
        if OBJECTS not in chosen:
            calls[RECORDS] += calls[OBJECTS]
        report = Report(self.command)
        report.add_costs(self.context)
        states = self.states()
        for name in self.context.catalog.with_objects(chosen):
            result = self.context.result(name)
            if result.open:
                result.state = "partial" if isinstance(error, Stop | KeyboardInterrupt) else "failed"
                result.reason = str(error)
            report.entities[name] = self._entity(name, result, calls[name], states.get(name, {}).get("ended"))
        errors = [result.error for result in self.context.results.values()]
        stops = [each for each in errors if isinstance(each, Stop)]
        report.conclude(error, stops, named_entities(named))
        if report.status == STOPPED and not self.advanced and budget.calls == self.context.settings.max_calls:
            report.reason = f"sources.insightly.max_calls is {budget.calls}, too few to complete anything; raise it"
        if conclude is not None:
            conclude(report)
        transient = any(each.transient for each in (error, *errors) if isinstance(each, InsightlyError))
        report.transient = transient and report.exit_code == 1
        if self.writes and not (isinstance(error, KeyboardInterrupt) and self.pipeline.has_pending_data):
            write_run(self.pipeline, self.dataset, report, self.started, datetime.now(UTC), self.state_changed)
        return report

    def _entity(self, name: str, result: EntityResult, calls: int, last_read: str | None) -> EntityReport:
        shaper = self.context.shapers.get(name)
        variants = {} if shaper is None else shaper.variants
        changes = [] if shaper is None else shaper.changes
        notes = [f"{count} values of {column} kept as text in {column}__v_text" for column, count in variants.items()]
        counted = [f"{text}: {count:,}" for text, count in result.counted.items()]
        return EntityReport(
            state=result.state or "partial",
            reason=result.reason,
            rows=result.rows,
            merged=result.merged,
            deleted=result.deleted,
            calls=calls,
            seconds=result.seconds,
            watermark=result.watermark,
            watermark_before=result.watermark_before,
            last_read=last_read,
            lost=result.lost,
            schema_changes=[*changes, *result.notes, *counted, *notes],
        )


@contextmanager
def opened(
    command: str,
    settings: InsightlySettings,
    target: Target,
    request: ReadRequest | None = None,
    watch: Watch | None = None,
    writes: bool = True,
    reads: Sequence[str] = (),
) -> Iterator[Runner]:
    """Locks the destination and loads what an interrupted run left.

    Args:
        command: its name in reports.
        settings: validated settings with a key.
        target: where to write.
        request: what to request of every entity.
        watch: called with the context whenever there is progress.
        writes: False to open the destination read-only.
        reads: the entities to read; the first calls are sent while a destination that is new is opened.

    Raises:
        ConfigurationError, Busy: nothing was read or written.
    """
    settings.require_key()
    settings.privacy.require_key()
    context = SyncContext(settings, request, chunked=True, tolerant=True)

    def on_progress() -> None:
        interrupts.check()
        if watch is not None:
            watch(context)

    context.on_progress = on_progress
    try:
        with target.lock(writes=writes) as is_new, tuned_interpreter(), ExitStack() as stack:
            account = _request_first(context, reads) if is_new else None
            restored = None if writes else stack.enter_context(target.stored_pipeline())
            pipeline = restored or recover_pipeline(target)
            target.adapter.limit_memory(pipeline)
            with target.open_dataset(pipeline) as dataset:
                refuse_foreign_tables(pipeline, target)
                if writes:
                    _restore_tables(pipeline, target)
                context.loaded, context.description_of = dataset, description_of
                context.catalog.add(custom_objects(pipeline))
                for name, state in resource_states(pipeline).items():
                    context.record_earlier_read(name, state)
                yield Runner(command, context, pipeline, dataset, target, writes=writes, account=account)
    finally:
        context.close()


def _request_first(context: SyncContext, reads: Sequence[str]) -> "Future[Account] | None":
    """Requests the first page of each entity, and after the first page the account, which is returned.

    Requests nothing if a custom object is named: it may not exist, and then nothing is read. Requests nothing either if
    calls are reserved for other programs: the first response says how many are left.
    """
    if context.settings.quota_reserve or not (reads and context.may_prefetch and ENTITIES.keys() >= set(reads)):
        return None
    first, *others = (entity for name, entity in ENTITIES.items() if name in reads)
    prime(first, {}, context.request, context)
    account = request_account(context)
    for entity in others:
        prime(entity, {}, context.request, context)
    return account


def _restore_tables(pipeline: dlt.Pipeline, target: Target) -> None:
    try:
        restore_tables(pipeline)
    except DatabaseException as error:
        raise LoadingFailed(f"{target} lacks a table, and refuses to create it: {target.reason(error)}") from None
