"""The sync that the command, a scheduler and the tests all call."""

from collections.abc import Sequence

from sources.insightly.cursor import Wish
from sources.insightly.entities import ENTITIES
from sources.insightly.probe import Differences
from sources.insightly.session import choose
from sources.insightly.settings import InsightlySettings

from . import deletions
from .report import Report
from .runner import Runner, Watch, opened
from .target import Target


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
    chosen = choose(settings, names)
    with opened("sync", settings, target, wish, watch) as runner:

        def work() -> None:
            runner.read(chosen)
            runner.dataset.restore()
            for name in chosen:
                _mark_what_a_full_walk_missed(runner, name)

        error = runner.attempt(work)
        runner.take_back(chosen)
        return runner.report(chosen, names, error)


def _mark_what_a_full_walk_missed(runner: Runner, name: str) -> None:
    """What is held and was not listed by a walk over everything is a candidate, as it is for a thorough sweep."""
    entity, outcome = ENTITIES[name], runner.session.outcome(name)
    if outcome.state != "ok" or not outcome.reread:
        return
    outcome.state = None
    with runner.session.reading(name):
        if outcome.listed is None:
            found = deletions.differences(runner, entity, runner.states()[name]["start_date"], thorough=True)
        else:
            known = runner.dataset.live_ids(entity)
            found = Differences(len(known), absent=[id_ for id_ in known if id_ not in outcome.listed])
        settled = deletions.settle(runner, entity, found, force=False)
        outcome.deleted += settled.deleted
        outcome.notes += settled.notes
        if settled.stop is not None:
            raise settled.stop
        outcome.state = "ok"
