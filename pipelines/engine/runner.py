"""One command at work on one destination: its context, its pipeline, rounds of chunks, and what is told of it."""

import gc
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseException
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines.destinations.account import check_account
from pipelines.destinations.dataset import Dataset
from pipelines.destinations.pipeline_state import custom_objects, resource_states
from pipelines.destinations.recovery import cause, recover_pipeline
from pipelines.destinations.target import LoadingFailed, NothingSynced, Target
from sources.insightly import ENTITIES, InsightlyError, insightly
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import PREFETCH_MIN_CALLS, SyncContext, normalize
from sources.insightly.entities import OBJECTS, PRESETS, RECORDS, Entity
from sources.insightly.errors import Stop
from sources.insightly.resources.build import prime
from sources.insightly.resources.discovery import discover
from sources.insightly.resources.per_parent import reached
from sources.insightly.result import EntityResult
from sources.insightly.state.checkpoint import settle
from sources.insightly.state.request import ReadRequest
from sources.insightly.state.watermark import watermark_in

from .report import EntityReport, Report
from .run_log import write_run

logger = logging.getLogger(__name__)

Watch = Callable[[SyncContext], None]


@dataclass
class Runner:
    """What a command works with; `committed` are the entities whose reading ended and is loaded."""

    command: str
    context: SyncContext
    pipeline: dlt.Pipeline
    dataset: Dataset
    target: Target
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    committed: set[str] = field(default_factory=set)

    def states(self) -> Mapping[str, Any]:
        """The state of each resource, as of the last load."""
        return resource_states(self.pipeline)

    def watermark(self, entity: Entity) -> str | None:
        """The watermark of an entity, None before its first complete walk."""
        state = self.states().get(entity.name, {})
        return reached(entity, state) if entity.read == "per_parent" else watermark_in(entity, state)

    def require_synced(self) -> None:
        """Raises NothingSynced where nothing was ever loaded."""
        if not self.dataset.has_schema:
            raise NothingSynced(self.target)

    def attempt(self, work: Callable[[], None]) -> Exception | None:
        """Binds the account and does `work`; returns what ended it early.

        Raises:
            ConfigurationError: a setting must change first.
        """
        try:
            check_account(self.pipeline, self.context, self.target)
            work()
        except InsightlyError as raised:
            if raised.exit_code == 2:
                raise
            return raised
        except PipelineStepFailed as raised:
            return cause(raised)
        except DatabaseException as raised:
            return LoadingFailed(f"{self.target} failed; what was loaded before stays: {str(raised).strip()}")
        return None

    def read(self, chosen: Sequence[str]) -> None:
        """Runs the pipeline until no entity is under way; each round is one load package, committed whole.

        Custom objects that are found on the way are read as well, where all are to be.
        """
        self.dataset.mark_histories_stale(chosen)
        all_ = self.context.with_objects
        self.committed.update(name for name in all_(chosen) if not self.context.result(name).open)
        left = self.context.budget.left()
        if left is None or left >= PREFETCH_MIN_CALLS:
            if RECORDS in chosen and self.context.result(RECORDS).open:
                with self.context.reading(RECORDS):
                    discover(self.context)
            known = self.states()
            for name in self._in_turn(all_(chosen)):
                if not self.context.is_selected(name) and self.context.result(name).open:
                    prime(self.context.entity(name), self.context, known.get(name, {}))
        while unfinished := [name for name in all_(chosen) if self.context.result(name).open]:
            self.context.begin_chunk()
            self.target.load(self.pipeline, insightly(context=self.context, order=self._in_turn(unfinished)))
            self.committed.update(name for name in all_(chosen) if not self.context.result(name).open)
            self.context.on_progress()

    def settle(self, name: str, left: Collection[int] = ()) -> None:
        """Notes which ids a full read of an entity leaves to be confirmed; without any, it is done with.

        The next package takes the note to the destination.
        """
        with self.pipeline.managed_state() as state:
            resource = state["sources"]["insightly"]["resources"][name]
            if left:
                resource["missing_ids"] = sorted(left)
            else:
                settle(resource)

    def discard_uncommitted(self, chosen: Sequence[str]) -> None:
        """What was read but never committed is not told as done."""
        for name in set(self.context.with_objects(chosen)) - self.committed:
            result: EntityResult = self.context.result(name)
            if result.state in ("ok", "partial"):
                result.state, result.merged, result.watermark = None, 0, result.watermark_before

    def report(
        self,
        chosen: Sequence[str],
        asked: Sequence[str],
        error: Exception | None,
        conclude: Callable[[Report], None] | None = None,
    ) -> Report:
        """What was done, also written into `_sync_runs`.

        Args:
            chosen: the entities of this run.
            asked: what was named; an entity among it that is not available is a failure.
            error: what ended the run early.
            conclude: adds what the command alone knows.
        """
        budget, calls = self.context.budget, self.context.budget.by_label
        if OBJECTS not in chosen:
            calls[RECORDS] += calls[OBJECTS]
        report = Report(self.command, calls=budget.calls, calls_left_today=budget.remaining)
        for name in self.context.with_objects(chosen):
            result = self.context.result(name)
            if result.open:
                result.state = "partial" if isinstance(error, Stop) else "failed"
                result.reason = str(error)
            report.entities[name] = self._entity(name, result, calls[name])
        errors = [result.error for result in self.context.results.values()]
        stops = [each for each in errors if isinstance(each, Stop)]
        report.conclude(error, stops, {normalize(name) for name in asked if name not in PRESETS})
        if conclude is not None:
            conclude(report)
        passing = any(each.transient for each in (error, *errors) if isinstance(each, InsightlyError))
        report.transient = passing and report.exit_code == 1
        report.seconds = time.monotonic() - self.context.began
        write_run(self.pipeline, report, self.started, datetime.now(UTC))
        return report

    def _entity(self, name: str, result: EntityResult, calls: int) -> EntityReport:
        shaper = self.context.shapers.get(name)
        variants = {} if shaper is None else shaper.variants
        changes = [] if shaper is None else shaper.changes
        notes = [f"{count} values of {column} kept as text in {column}__v_text" for column, count in variants.items()]
        counted = [f"{count:,} {text}" for text, count in result.counted.items()]
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
            schema_changes=[*changes, *result.notes, *counted, *notes],
        )

    def _in_turn(self, names: Sequence[str]) -> list[str]:
        """Unfinished walks first, then the entity whose last complete walk is oldest: a small budget starves nobody.

        What costs a call a record comes last, for it can take every call there is.
        """
        known = self.states()
        position = {name: index for index, name in enumerate(ENTITIES)}

        def turn(name: str) -> tuple[bool, bool, str, int]:
            state = known.get(name, {})
            order = position.get(name, len(position))
            return (
                self.context.entity(name).read == "per_parent",
                "checkpoint" not in state,
                state.get("ended", ""),
                order,
            )

        return sorted(names, key=turn)


@contextmanager
def opened(
    command: str,
    settings: InsightlySettings,
    target: Target,
    request: ReadRequest | None = None,
    watch: Watch | None = None,
) -> Iterator[Runner]:
    """Holds the destination and loads what an interrupted run left there.

    Args:
        command: what is at work, for its report.
        settings: validated settings with a key.
        target: where to write.
        request: what to ask of every entity.
        watch: called with the context whenever there is progress.

    Raises:
        ConfigurationError, Busy: nothing was read or written.
    """
    settings.require_key()
    settings.privacy.require_key()
    context = SyncContext(settings, request, chunked=True, tolerant=True)
    if watch is not None:
        context.on_progress = lambda: watch(context)
    try:
        with target.lock(), _fewer_collections():
            pipeline = recover_pipeline(target)
            with target.adapter.keep_open(pipeline), target.open_dataset(pipeline) as dataset:
                context.live_ids = dataset.live_ids
                context.know(custom_objects(pipeline))
                yield Runner(command, context, pipeline, dataset, target)
    finally:
        context.close()


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Parsing makes millions of objects that live on; the collector's default rhythm doubles its time."""
    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
