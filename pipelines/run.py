"""The runner that the command, a scheduler and the tests all call: rounds of chunks until every entity is read."""

import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed

from sources.insightly import ENTITIES, InsightlyError, insightly
from sources.insightly.cursor import Wish
from sources.insightly.entities import PRESETS, select
from sources.insightly.errors import Stop
from sources.insightly.resources import prime
from sources.insightly.session import ROOMY, Outcome, Session
from sources.insightly.settings import InsightlySettings

from .account import bind
from .report import FAILED, STOPPED, EntityReport, Report
from .target import Target

logger = logging.getLogger(__name__)

Watch = Callable[[Session], None]


def sync(
    settings: InsightlySettings,
    target: Target,
    names: Sequence[str] = (),
    wish: Wish | None = None,
    watch: Watch | None = None,
) -> Report:
    """Brings entities up to date; the first run reads everything.

    Args:
        settings: validated settings; `max_calls` bounds this run.
        target: where to write.
        names: entities or presets; none for the setting `entities`. One named is a failure when it is not available.
        wish: everything again, or from a moment on.
        watch: called with the session whenever there is progress.

    Returns:
        What was done, whatever went wrong on the way to an entity.

    Raises:
        ConfigurationError, Busy: nothing was read or written.
    """
    begun = time.monotonic()
    chosen = select(names or settings.entities)
    named = {name for name in names if name not in PRESETS}
    session = Session(settings, wish, chunked=True, tolerant=True)
    settings.require_key()
    with target.lock(), _open(session), _fewer_collections():
        pipeline = target.pipeline()
        _load_pending(pipeline)
        if watch is not None:
            session.on_progress = lambda: watch(session)
        error: Exception | None = None
        committed: set[str] = set()
        try:
            bind(pipeline, session, target)
            _rounds(pipeline, session, chosen, committed)
        except InsightlyError as raised:
            if raised.exit_code == 2:
                raise
            error = raised
        except PipelineStepFailed as raised:
            error = _cause(raised)
            for name in set(chosen) - committed:
                _take_back(session.outcome(name))
        return _report(session, chosen, named, error, time.monotonic() - begun)


def _rounds(pipeline: dlt.Pipeline, session: Session, chosen: Sequence[str], committed: set[str]) -> None:
    """Runs the pipeline until no entity is under way; each round is one load package, committed whole."""
    if (session.budget.left() or ROOMY) >= ROOMY:
        states = _states(pipeline)
        for name in _in_turn(pipeline, chosen):
            prime(ENTITIES[name], session, states.get(name, {}))
    while unfinished := [name for name in chosen if session.outcome(name).open]:
        session.begin_chunk()
        pipeline.run(insightly(session=session, order=_in_turn(pipeline, unfinished)))
        committed.update(name for name in chosen if not session.outcome(name).open)
        session.on_progress()


def _take_back(outcome: Outcome) -> None:
    """What was read but never committed is not told as done."""
    if outcome.state in ("ok", "partial"):
        outcome.state, outcome.merged, outcome.watermark = None, 0, None


def _in_turn(pipeline: dlt.Pipeline, names: Sequence[str]) -> list[str]:
    """Unfinished walks first, then the entity whose last complete walk is oldest, so a small budget starves nobody."""
    states = _states(pipeline)
    position = {name: index for index, name in enumerate(ENTITIES)}

    def turn(name: str) -> tuple[bool, str, int]:
        state = states.get(name, {})
        return "place" not in state, state.get("ended", ""), position[name]

    return sorted(names, key=turn)


def _states(pipeline: dlt.Pipeline) -> Mapping[str, Any]:
    resources: Mapping[str, Any] = pipeline.state.get("sources", {}).get("insightly", {}).get("resources", {})
    return resources


def _load_pending(pipeline: dlt.Pipeline) -> None:
    # With a package pending, `run(data)` loads it and extracts nothing (dlt-hub/dlt#3227).
    if pipeline.has_pending_data:
        logger.warning("an interrupted run left packages; they are loaded first")
        pipeline.run()


def _report(
    session: Session, chosen: Sequence[str], named: set[str], error: Exception | None, seconds: float
) -> Report:
    calls = session.budget.by_label
    report = Report("sync", calls=session.budget.calls, calls_left_today=session.budget.remaining, seconds=seconds)
    for name in chosen:
        outcome = session.outcome(name)
        if outcome.open:
            outcome.state = "partial" if isinstance(error, Stop) else "failed"
            outcome.reason = str(error)
        report.entities[name] = _entity_report(outcome, session, name, calls[name])
    reasons = [f"{name}: {entity.reason}" for name, entity in report.entities.items() if entity.state == "failed"]
    reasons += [f"{n}: {e.reason}" for n, e in report.entities.items() if e.state == "skipped" and n in named]
    stops = [outcome.error for outcome in session.outcomes.values() if isinstance(outcome.error, Stop)]
    if isinstance(error, Stop):
        stops.append(error)
        error = None
    if error is not None or reasons:
        report.status, report.exit_code = FAILED, 1
        report.reason = str(error) if error is not None else "; ".join(reasons)
    elif stops:
        report.status, report.exit_code, report.reason = STOPPED, 3, str(stops[0])
    return report


def _entity_report(outcome: Outcome, session: Session, name: str, calls: int) -> EntityReport:
    shaper = session.shapers.get(name)
    misfits = {} if shaper is None else shaper.misfits
    changes = [] if shaper is None else shaper.changes
    notes = [f"{count} values of {column} kept as text in {column}__v_text" for column, count in misfits.items()]
    return EntityReport(
        state=outcome.state or "partial",
        reason=outcome.reason,
        rows=outcome.rows,
        merged=outcome.merged,
        calls=calls,
        seconds=outcome.seconds,
        watermark=outcome.watermark,
        schema_changes=[*changes, *outcome.notes, *notes],
    )


def _cause(raised: BaseException) -> Exception:
    """The error of ours behind dlt's, or dlt's own."""
    seen: BaseException | None = raised
    while seen is not None:
        if isinstance(seen, InsightlyError):
            if seen.exit_code == 2:
                raise seen
            return seen
        seen = seen.__cause__ or seen.__context__
    return InsightlyError(f"loading failed; what was loaded before stays: {raised}")


@contextmanager
def _open(session: Session) -> Iterator[None]:
    try:
        yield
    finally:
        session.close()


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Parsing makes millions of objects that live on; the collector's default rhythm doubles its time."""
    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
