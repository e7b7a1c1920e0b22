"""The sync that the command, a scheduler and the tests all call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pipelines.destinations.target import Target
from pipelines.engine import deletions, history
from pipelines.engine.report import Report
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.context import choose
from sources.insightly.errors import ImplausibleDeletion, plural
from sources.insightly.paging.probe import Differences
from sources.insightly.resources.discovery import find_objects
from sources.insightly.rows.naming import history_table
from sources.insightly.state.checkpoint import needs_confirmation, resume_full
from sources.insightly.state.request import ReadRequest


def sync(
    settings: InsightlySettings,
    target: Target,
    names: Sequence[str] = (),
    request: ReadRequest | None = None,
    watch: Watch | None = None,
) -> Report:
    """Brings the tables up to date; the first run reads everything.

    Args:
        settings: validated settings; `max_calls` bounds this run.
        target: where to write.
        names: entities or presets; none for the setting `entities`. It is a failure if a named one is not available.
        request: what to read again, if anything.
        watch: called with the context whenever there is progress.

    Returns:
        What was done; an error of one entity does not stop the others.

    Raises:
        ConfigurationError, Busy: nothing was read or written.
    """
    chosen = choose(settings, names)
    with opened("sync", settings, target, request, watch, reads=chosen) as runner:
        context = runner.context
        context.chosen = chosen
        with runner.attempt():
            runner.check_account()
            find_objects(context, chosen)
            _mask_loaded_rows(runner, context.catalog.with_objects(chosen))
            with history.maintained(runner):
                requests = _resume_full(runner, context.catalog.with_objects(chosen))
                repeated = _reread_repeated(runner, requests)
                runner.read(requests)
                runner.dataset.record_restored()
                _mark_missing(runner, context.catalog.with_objects(chosen))
                _report_repeated(runner, repeated)
        return runner.report(chosen, names)


def _resume_full(runner: Runner, chosen: Sequence[str]) -> dict[str, ReadRequest]:
    """The requests for the entities; a full read that an earlier run left unfinished is finished first."""
    context = runner.context
    requests = dict.fromkeys(chosen, context.request) | resume_full(context.request, runner.states(), chosen)
    _mark_missing(runner, requests)
    for name, request in requests.items():
        result = context.result(name)
        if not result.open:
            result.watermark = result.watermark_before = runner.watermark(context.catalog.entity(name))
        if request.rest:
            result.notes.append("Earlier runs of this --full have read everything; the next --full starts a new one.")
    return requests


def _reread_repeated(runner: Runner, requests: dict[str, ReadRequest]) -> dict[str, int]:
    """Requests a full read of the entities with keys that more than one row has, as after two runs at once.

    To look through a large table takes seconds: this is done once a day, and in each run while such keys are left.

    Returns:
        How many such keys each of these entities has.
    """
    if not runner.target.adapter.sql:
        return {}
    context, states, today = runner.context, runner.states(), datetime.now(UTC).date().isoformat()
    due = [
        entity
        for entity in map(context.catalog.entity, requests)
        if entity.read != "per_parent"
        and context.result(entity.name).open
        and runner.dataset.table_exists(entity.name)
        and states.get(entity.name, {}).get("keys_checked") != today
    ]
    found = runner.dataset.count_repeated_keys(due)
    runner.record_unique([entity.name for entity in due if entity.name not in found], today)
    for name, count in found.items():
        if count > states.get(name, {}).get("repeated_keys", 0):
            requests[name] = replace(requests[name], full=True, rest=False)
    return found


def _report_repeated(runner: Runner, found: Mapping[str, int]) -> None:
    left = runner.dataset.count_repeated_keys(map(runner.context.catalog.entity, found))
    for name, count in found.items():
        result, remaining = runner.context.result(name), left.get(name, 0)
        if remaining < count:
            repaired = plural(count - remaining, "key was", "keys were")
            result.notes.append(f"{repaired} in more than one row, as after two runs at once: repaired")
        if remaining and result.state == "ok":
            fix = "the API does not list their records, so delete the surplus rows yourself"
            result.notes.append(f"{plural(remaining, 'key is', 'keys are')} in more than one row: {fix}")
            runner.record_repeated(name, remaining)


def _mask_loaded_rows(runner: Runner, chosen: Sequence[str]) -> None:
    """Clears columns that were loaded before they were masked, since no walk reads deleted records again."""
    for entity in (each for each in map(runner.context.catalog.entity, chosen) if each.swept):
        mask = runner.context.settings.privacy.mask(entity)
        loaded = runner.dataset.table_exists(entity.name)
        if loaded and mask.rules and runner.states().get(entity.name, {}).get("mask", "") != mask.fingerprint:
            own = mask.rules.get(entity.name, {})
            runner.dataset.clear_columns({**mask.rules, history_table(entity): own})


def _mark_missing(runner: Runner, names: Iterable[str]) -> None:
    """Confirms and marks the records that full reads have not met, as a thorough sweep does."""
    states = runner.states()
    for name in names:
        state = states.get(name, {})
        if runner.context.result(name).state in (None, "ok") and needs_confirmation(state):
            _confirm_missing(runner, name, set(state["missing_ids"]))


def _confirm_missing(runner: Runner, name: str, missing_ids: set[int]) -> None:
    entity, result = runner.context.catalog.entity(name), runner.context.result(name)
    before, result.state = result.state, None
    with runner.context.reading(name):
        known = runner.dataset.live_ids(entity)
        found = Differences(len(known), missing_ids=[id_ for id_ in known if id_ in missing_ids])
        try:
            confirmed = deletions.confirm_and_mark(runner, entity, found, force=False)
        except ImplausibleDeletion:
            runner.finish_full(name)
            raise
        if confirmed.stop is not None:
            runner.finish_full(name, missing_ids - confirmed.readable)
            raise confirmed.stop
        runner.finish_full(name)
        result.state = before
