"""After a push: what was written is read again, and what was deleted is marked, so that tables and CRM agree."""

from collections.abc import Sequence

from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.probe import Differences

from .. import deletions
from ..runner import Runner
from .ledger import Ledger
from .validate import Row


def read_again(runner: Runner, ledger: Ledger, entity: Entity, rows: Sequence[Row]) -> list[str]:
    """Brings the tables of the written records up to date, and notes that in the ledger.

    Returns:
        The entities, beside that of the push, whose records were read.

    Raises:
        Stop, InsightlyError: not all of it could be done; the next run of the same push does the rest.
    """
    if entity.name == "tags":
        return _tagged(runner, ledger, rows)
    changed, gone = ledger.to_load("create", "update"), ledger.to_load("delete")
    if changed:
        _read(runner, {entity.name: sorted(set(changed.values()))}, [entity.name])
        ledger.loaded(changed)
    if gone:
        _mark(runner, entity, set(gone.values()))
        ledger.loaded(gone)
    return []


def _tagged(runner: Runner, ledger: Ledger, rows: Sequence[Row]) -> list[str]:
    changed = ledger.to_load("create", "update", "delete")
    wanted: dict[str, set[int]] = {}
    for row in rows:
        if row.number in changed and row.parent is not None:
            wanted.setdefault(row.parent[0], set()).add(row.parent[1])
    loaded = {name: sorted(ids) for name, ids in wanted.items() if ENTITIES[name].loaded and ENTITIES[name].incremental}
    if changed:
        _read(runner, loaded, [*loaded, "tags"])
        ledger.loaded(changed)
    return list(loaded)


def _read(runner: Runner, wanted: dict[str, list[int]], names: list[str]) -> None:
    session = runner.session
    session.wanted.update(wanted)
    for name in names:
        session.outcomes.pop(name, None)
    runner.read(names)
    for name in names:
        if (error := session.outcome(name).error) is not None:
            raise error
    runner.dataset.restore()


def _mark(runner: Runner, entity: Entity, ids: set[int]) -> None:
    """Marks deleted records as a sweep does, each confirmed at the API; the user asked for them, however many."""
    outcome = runner.session.outcome(entity.name)
    known = runner.dataset.live_ids(entity)
    found = Differences(len(known), absent=[id_ for id_ in known if id_ in ids])
    settled = deletions.settle(runner, entity, found, force=True)
    outcome.deleted += settled.deleted
    outcome.notes += settled.notes
    if settled.stop is not None:
        raise settled.stop
