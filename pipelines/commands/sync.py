"""The sync that the command, a scheduler and the tests all call."""

from collections.abc import Sequence

from pipelines.destinations.target import Target
from pipelines.engine import deletions, history
from pipelines.engine.report import Report
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import choose
from sources.insightly.paging.probe import Differences
from sources.insightly.resources.discovery import find
from sources.insightly.rows.naming import history_table
from sources.insightly.state.checkpoint import needs_confirmation
from sources.insightly.state.request import ReadRequest, resume_full


def sync(
    settings: InsightlySettings,
    target: Target,
    names: Sequence[str] = (),
    request: ReadRequest | None = None,
    watch: Watch | None = None,
) -> Report:
    """Brings entities up to date; the first run reads everything.

    Args:
        settings: validated settings; `max_calls` bounds this run.
        target: where to write.
        names: entities or presets; none for the setting `entities`. One named is a failure when it is not available.
        request: everything again, or from a moment on.
        watch: called with the context whenever there is progress.

    Returns:
        What was done, whatever went wrong on the way to an entity.

    Raises:
        ConfigurationError, Busy: nothing was read or written.
    """
    chosen = choose(settings, names)
    with opened("sync", settings, target, request, watch) as runner:

        def work() -> None:
            find(runner.context, chosen)
            _mask(runner, runner.context.with_objects(chosen))
            with history.maintained(runner):
                _resume_full(runner, runner.context.with_objects(chosen))
                runner.read(chosen)
                runner.dataset.record_restored()
                for name in runner.context.with_objects(chosen):
                    _mark_what_a_full_walk_missed(runner, name)

        error = runner.attempt(work)
        runner.discard_uncommitted(chosen)
        return runner.report(chosen, names, error)


def _resume_full(runner: Runner, chosen: Sequence[str]) -> None:
    """Ends first what a full read of an earlier run left, and takes that read for the one asked for."""
    context = runner.context
    context.requests = resume_full(context.request, runner.states(), chosen)
    for name in chosen:
        result = context.result(name)
        _mark_what_a_full_walk_missed(runner, name)
        if not result.open:
            result.watermark = result.watermark_before = runner.watermark(context.entity(name))
            runner.committed.add(name)
        if context.request_of(name).rest:
            result.notes.append("everything was read again by earlier runs of this --full: one more begins a new one")


def _mask(runner: Runner, chosen: Sequence[str]) -> None:
    """Empties what was loaded before the settings `hash` and `drop` were as they are: no walk reads deleted records."""
    for entity in (each for each in map(runner.context.entity, chosen) if each.swept):
        mask = runner.context.mask(entity)
        loaded = runner.dataset.table_exists(entity.name)
        if loaded and mask.rules and runner.states().get(entity.name, {}).get("mask", "") != mask.fingerprint:
            own = mask.rules.get(entity.name, {})
            runner.dataset.clear_columns({**mask.rules, history_table(entity): own})


def _mark_what_a_full_walk_missed(runner: Runner, name: str) -> None:
    """What is held and was not listed by a walk over everything is a candidate, as it is for a thorough sweep."""
    entity, result, state = runner.context.entity(name), runner.context.result(name), runner.states().get(name, {})
    if result.state not in (None, "ok") or not needs_confirmation(state):
        return
    before, result.state = result.state, None
    with runner.context.reading(name):
        known, missing_ids = runner.dataset.live_ids(entity), set(state["missing_ids"])
        found = Differences(len(known), missing_ids=[id_ for id_ in known if id_ in missing_ids])
        try:
            confirmed = deletions.confirm_and_mark(runner, entity, found, force=False)
        except deletions.Refused:
            runner.settle(name)
            raise
        result.deleted += len(confirmed.gone)
        result.notes += confirmed.notes
        if confirmed.stop is not None:
            runner.settle(name, missing_ids - confirmed.readable)
            raise confirmed.stop
        runner.settle(name)
        result.state = before
