"""After a push: what was written is read again, and what was deleted is marked, so that tables and CRM agree."""

from collections.abc import Sequence

from pipelines.engine import deletions
from pipelines.engine.runner import Runner
from sources.insightly.entities import ENTITIES, Entity
from sources.insightly.paging.probe import Differences

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
    changed, gone = ledger.not_loaded("create", "update"), ledger.not_loaded("delete")
    _records(runner, ledger, entity, changed)
    if gone:
        _mark(runner, entity, set(gone.values()))
        ledger.record_loaded(gone)
    return []


def _records(runner: Runner, ledger: Ledger, entity: Entity, changed: dict[int, int]) -> None:
    """Reads the records of some rows (row number -> id), as many at a time as there are calls for."""
    while changed:
        some = dict(list(changed.items())[: _affordable(runner, entity)])
        runner.context.wanted[entity.name] = sorted(set(some.values()))
        _read(runner, entity.name)
        ledger.record_loaded(some)
        changed = {number: id_ for number, id_ in changed.items() if number not in some}


def _affordable(runner: Runner, entity: Entity) -> int | None:
    """How many records the calls left are enough for, the definitions and a call each for tags included.

    Without that bound a small budget would end in the midst of a reading, and each run would begin it anew.
    """
    left = runner.context.budget.left()
    return None if left is None else max((left - 1) // (1 + entity.tagged), 1)


def _tagged(runner: Runner, ledger: Ledger, rows: Sequence[Row]) -> list[str]:
    changed = ledger.not_loaded("create", "update", "delete")
    by_type: dict[str, dict[int, int]] = {}
    for row in rows:
        if row.number in changed and row.parent is not None:
            by_type.setdefault(row.parent[0], {})[row.number] = row.parent[1]
    if changed:
        _read(runner, "tags")
    read = [name for name in by_type if ENTITIES[name].swept]
    for name in read:
        _records(runner, ledger, ENTITIES[name], by_type.pop(name))
    for numbers in by_type.values():
        ledger.record_loaded(numbers)
    return read


def _read(runner: Runner, name: str) -> None:
    context = runner.context
    before = context.results.pop(name, None)
    runner.read([name])
    after = context.result(name)
    after.merged += before.merged if before is not None else 0
    if after.error is not None:
        raise after.error
    runner.dataset.record_restored()


def _mark(runner: Runner, entity: Entity, ids: set[int]) -> None:
    """Marks deleted records as a sweep does, each confirmed at the API; the user asked for them, however many."""
    result = runner.context.result(entity.name)
    known = runner.dataset.live_ids(entity)
    found = Differences(len(known), missing_ids=[id_ for id_ in known if id_ in ids])
    confirmed = deletions.confirm_and_mark(runner, entity, found, force=True)
    result.deleted += len(confirmed.gone)
    result.notes += confirmed.notes
    if confirmed.stop is not None:
        raise confirmed.stop
